"""What must be true of every ledger, in plain SQL. It believes nothing that the bot concluded."""

from bot.model.units import decimal_text
from bot.report.reader import Report

#: Less than a sellable unit is nothing: 0.01 shares.
UNIT = 10_000
#: A budget may be exceeded by what rounding to whole micro-dollars makes of its fills.
ROUNDING = 100

#: (law, query of the rows that break it: a subject and two numbers).
_ALWAYS: tuple[tuple[str, str], ...] = (
    (
        "entry {} spent {} of a budget of {}",
        "SELECT 'intent ' || i.id, SUM(f.usdc), i.budget FROM intent i"
        " JOIN orders o ON o.intent_id = i.id JOIN fill f ON f.order_id = o.id"
        " WHERE i.kind = 'entry' AND f.settlement <> 'failed'"
        f" GROUP BY i.id HAVING SUM(f.usdc) > i.budget + {ROUNDING}",
    ),
    (
        "{} was attempted again after an attempt that was in doubt (attempts {} and {})",
        "SELECT 'entry ' || i.id, a.attempt, b.attempt FROM intent i"
        " JOIN orders a ON a.intent_id = i.id JOIN orders b ON b.intent_id = i.id"
        " WHERE i.kind = 'entry' AND b.attempt > a.attempt AND a.doubted = 1",
    ),
    (
        "{}: attempt made at {}, and the one before ended at {}",
        "SELECT 'intent ' || b.intent_id, b.created_us, COALESCE(a.ended_us, 0) FROM orders a"
        " JOIN orders b ON b.intent_id = a.intent_id AND b.attempt > a.attempt"
        " WHERE a.ended_us IS NULL OR b.created_us < a.ended_us",
    ),
    (
        "the gains of {} are tallied as {}, and are {} by its positions",
        "SELECT portfolio, SUM(n), SUM(realized) FROM ("
        " SELECT portfolio, 0 AS n, realized FROM position"
        " UNION ALL SELECT key, n, 0 FROM tally WHERE kind = 'realized')"
        " GROUP BY portfolio HAVING SUM(n) <> SUM(realized)",
    ),
    (
        "order {} belongs to no intent",
        "SELECT id, 0, 0 FROM orders WHERE intent_id IS NULL AND COALESCE(reason, '') <> 'foreign'",
    ),
    (
        "{} belongs to no decision",
        "SELECT 'intent ' || i.id, 0, 0 FROM intent i JOIN signal s ON s.id = i.signal_id"
        " WHERE NOT EXISTS (SELECT 1 FROM decision d WHERE d.intent_id = i.id)",
    ),
    (
        "a fill of {} is booked for another portfolio or side than its order",
        "SELECT f.order_id, 0, 0 FROM fill f JOIN orders o ON o.id = f.order_id"
        " WHERE f.portfolio <> o.portfolio OR f.token <> o.token OR f.side <> o.side",
    ),
    (
        "order {} sold at {} a share, its limit is {}",
        "SELECT f.order_id, SUM(f.usdc) * 1000000 / SUM(f.shares), o.price FROM fill f"
        " JOIN orders o ON o.id = f.order_id WHERE o.side = 'SELL' AND o.price > 0"
        " GROUP BY f.order_id HAVING SUM(f.usdc + 2) * 1000000 < o.price * SUM(f.shares)",
    ),
)
_AT_REST: tuple[tuple[str, str], ...] = (
    (
        "{} sold {} shares more than it held (of {})",
        "SELECT portfolio || ' ' || token, -MIN(held), MAX(held)"
        " FROM (SELECT portfolio, token, SUM("
        "  CASE side WHEN 'BUY' THEN shares ELSE -shares END) OVER (PARTITION BY portfolio, token"
        "  ORDER BY rowid) AS held FROM fill"  # as booked: clocks leap, ours and the exchange's
        "  WHERE settlement <> 'failed' AND portfolio LIKE 'mirror/%')"
        f" GROUP BY portfolio, token HAVING MIN(held) <= -{UNIT}",
    ),
    (
        "{} stands: {} shares held, at most {} wanted",
        "SELECT 'exit ' || i.id, COALESCE(p.shares, 0), i.target FROM intent i"
        " LEFT JOIN position p ON p.portfolio = i.portfolio AND p.token = i.token"
        " WHERE i.kind = 'exit' AND i.state IN ('open', 'reached')"
        " AND i.id = (SELECT MAX(id) FROM intent l"
        " WHERE l.portfolio = i.portfolio AND l.token = i.token)"
        f" AND COALESCE(p.shares, 0) - i.target >= {UNIT}",
    ),
)


def broken(found: Report, *, at_rest: bool = True) -> list[str]:
    """Return every law that a ledger breaks, with the numbers; some hold `at_rest` alone."""
    return [
        law.format(str(subject)[:60], decimal_text(first), decimal_text(second))
        for law, query in (*_ALWAYS, *(_AT_REST if at_rest else ()))
        for subject, first, second in found.execute(query)
    ]
