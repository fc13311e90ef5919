"""Lists for screens: positions, orders, leader trades, days, leaders."""

from collections import Counter
from typing import Any

from bot.ledger.positions import HELD, OWED
from bot.ledger.tally import COPIED, REALIZED, SEEN
from bot.model.intent import mirror
from bot.model.units import MICRO, utc_day
from bot.report.reader import Report

DAY_US = 86_400 * MICRO


def _named(row: str) -> str:
    """Return the columns that name the market of a row with a token, as some leader trade did."""
    of_token = f"FROM leader_trade n WHERE n.token = {row}.token LIMIT 1"
    return f"(SELECT n.title {of_token}) AS title, (SELECT n.outcome {of_token}) AS outcome"


def positions(found: Report) -> list[dict[str, Any]]:
    """Return what we hold, one row per leader and token."""
    return found.rows(
        "SELECT p.portfolio, l.wallet AS leader, l.label, p.token, p.condition,"
        f" {_named('p')}, p.shares AS shares_micros, p.cost AS cost_usdc_micros,"
        " p.realized AS realized_usdc_micros,"
        " CASE WHEN p.shares > 0 THEN p.cost * 1000000 / p.shares ELSE 0 END"
        " AS average_price_micros, p.updated_us"
        " FROM position p LEFT JOIN leader l ON 'mirror/' || l.wallet = p.portfolio"
        " WHERE p.shares <> 0 ORDER BY p.cost DESC"
    )


def receivables(found: Report) -> list[dict[str, Any]]:
    """Return what ended markets owe that nobody has redeemed yet, by portfolio and token."""
    return found.rows(
        "SELECT s.portfolio, MAX(l.label) AS label, s.token, MAX(s.condition) AS condition,"
        f" {_named('s')}, SUM(s.shares) AS shares_micros, SUM(s.usdc) AS payout_usdc_micros,"
        " MAX(s.at_us) AS settled_us"
        " FROM settlement s LEFT JOIN leader l ON 'mirror/' || l.wallet = s.portfolio"
        f" WHERE {OWED} GROUP BY s.portfolio, s.token ORDER BY payout_usdc_micros DESC"
    )


def orders(found: Report, limit: int, *, unknown: bool = False) -> list[dict[str, Any]]:
    """Return the newest orders, or only those without a proven outcome."""
    where = "WHERE o.state = 'unknown'" if unknown else ""
    return found.rows(
        "SELECT o.id, o.state, o.side, o.kind, o.price AS price_micros,"
        " o.maker_amount AS offered_micros, o.token, o.condition, o.portfolio,"
        " l.wallet AS leader, o.intent_id, o.attempt, o.created_us, o.deadline_us,"
        " o.sent_us, o.sends, o.cancel_us, o.cancelled_us, o.reason,"
        # What a leader's trade has not begun, an operator's close, is named by any trade.
        " COALESCE(t.title, (SELECT n.title FROM leader_trade n WHERE n.token = o.token LIMIT 1))"
        " AS title, COALESCE(t.outcome,"
        "  (SELECT n.outcome FROM leader_trade n WHERE n.token = o.token LIMIT 1)) AS outcome,"
        " (SELECT COALESCE(SUM(f.shares), 0) FROM fill f"
        " WHERE f.order_id = o.id AND f.settlement <> 'failed')"
        " AS filled_shares_micros FROM orders o"
        " LEFT JOIN leader l ON 'mirror/' || l.wallet = o.portfolio"
        " LEFT JOIN intent i ON i.id = o.intent_id LEFT JOIN signal s ON s.id = i.signal_id"
        f" LEFT JOIN leader_trade t ON t.id = s.trade_id {where}"
        " ORDER BY o.created_us DESC LIMIT ?",
        limit,
    )


def trades(found: Report, limit: int) -> list[dict[str, Any]]:
    """Return the newest leader trades, each with what became of it.

    A copy, if any signal was copied.
    """
    return found.rows(
        "SELECT t.seen_us, t.wallet AS leader, l.label, t.side, t.shares AS shares_micros,"
        " t.usdc AS usdc_micros, t.outcome, t.title, t.tx, t.token,"
        " COALESCE(d.verdict, 'pending') AS verdict, d.reason, t.signals"
        " FROM leader_trade t LEFT JOIN leader l ON l.wallet = t.wallet"
        " LEFT JOIN decision d ON d.signal_id = (SELECT s.id FROM signal s"
        "  LEFT JOIN decision e ON e.signal_id = s.id WHERE s.trade_id = t.id"
        "  ORDER BY COALESCE(e.verdict, '') = 'copied' DESC, s.seq DESC LIMIT 1)"
        " ORDER BY t.seen_us DESC, t.id DESC LIMIT ?",
        limit,
    )


def intents(found: Report, limit: int, *, ended: bool = False) -> list[dict[str, Any]]:
    """Return what stands, longest first, or what has ended, newest first."""
    where = (
        "i.state <> 'open' ORDER BY i.id DESC"
        if ended
        else "i.state = 'open' ORDER BY i.opened_us, i.id"
    )
    return found.rows(
        "SELECT i.id, i.kind, i.state, i.portfolio, l.label, i.condition, i.token,"
        " i.target AS target_shares_micros, COALESCE(p.shares, 0) AS held_shares_micros,"
        " i.price AS price_micros, i.waits, i.opened_us, i.due_us,"
        " i.ended_us, (SELECT COUNT(*) FROM orders o WHERE o.intent_id = i.id) AS attempts,"
        " (SELECT o.state FROM orders o WHERE o.intent_id = i.id"
        " ORDER BY o.attempt DESC LIMIT 1) AS last_order,"
        f" {_named('i')}"
        " FROM intent i LEFT JOIN leader l ON 'mirror/' || l.wallet = i.portfolio"
        " LEFT JOIN position p ON p.portfolio = i.portfolio AND p.token = i.token"
        f" WHERE {where} LIMIT ?",
        limit,
    )


def daily(found: Report, days: int) -> list[dict[str, Any]]:
    """Return the last UTC days, newest first, those without trades too."""
    rows = []
    start = found.now_us // DAY_US * DAY_US
    for i in range(days):
        low = start - i * DAY_US
        day = utc_day(low)
        pnl = (found.rows("SELECT * FROM daily_pnl WHERE day = ?", day) or [{}])[0]
        decided = dict(
            found.execute("SELECT key, n FROM tally WHERE day = ? AND kind = 'decision'", day)
        )
        copied = decided.get("copied", 0)
        rows.append({
            "day": day, "in_progress": i == 0, "copied": copied,
            "skipped": sum(decided.values()) - copied - decided.get("done", 0),
            "volume_usdc_micros": pnl.get("bought", 0) + pnl.get("sold", 0),
            "fees_usdc_micros": pnl.get("fees", 0), "realized_usdc_micros": pnl.get("realized", 0),
        })  # fmt: skip
    return rows


_MIRRORS = "'mirror/' || l.wallet"


def leaders(found: Report) -> list[dict[str, Any]]:
    """Return each leader with what following it has brought."""
    counted = "(SELECT COALESCE(SUM(n), 0) FROM tally WHERE kind = '{0}' AND key = {1})"
    rows = found.rows(
        "SELECT l.wallet AS leader, l.label, l.active, l.muted, l.listed,"
        " l.watch_start_s * 1000000 AS watched_since_us,"
        f" {counted.format(SEEN, 'l.wallet')} AS trades,"
        f" {counted.format(COPIED, 'l.wallet')} AS copied, 0 AS stake_usdc_micros,"
        f" {counted.format(REALIZED, _MIRRORS)} AS realized_usdc_micros"
        " FROM leader l ORDER BY l.active DESC, realized_usdc_micros DESC, l.wallet"
    )
    stakes: Counter[str] = Counter()
    for portfolio, cost in found.execute(f"SELECT portfolio, cost FROM position WHERE {HELD}"):
        stakes[portfolio] += cost
    return [row | {"stake_usdc_micros": stakes[mirror(row["leader"])]} for row in rows]
