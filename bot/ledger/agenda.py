"""What there is to do: signals nobody has decided, by what they ask for. Read in one look.

Whatever has to wait (an order of its position in flight, a market whose answer is awaited) is left
out by the query: ten thousand signals that wait keep nobody behind them from being read.
"""

from collections.abc import Collection

from bot.ledger.db import Tx, one, rows
from bot.ledger.leaders import outdated
from bot.ledger.orders import FLYING
from bot.ledger.signals import SIGNAL, to_signal
from bot.model.amounts import CENT
from bot.model.signal import Signal, SignalKind

Position = tuple[str, str]  #: (portfolio, condition)
_MOVING = (
    "EXISTS (SELECT 1 FROM orders o WHERE o.portfolio = s.portfolio"
    f" AND o.condition = s.condition AND o.{FLYING})"
)


def leaving(tx: Tx, limit: int) -> list[Signal]:
    """Return undecided signals that may ask for an exit, in the order they were seen.

    Decreases, wishes and corrections; purchases of what its portfolio holds the other side of, or
    may be buying it, come last. A correction asks whether its leader is still there: after a
    restore it waits until he was read again.
    """
    found = rows(
        tx,
        f"{SIGNAL} WHERE s.decided = 0 AND (s.kind <> 'increase'"
        " OR EXISTS (SELECT 1 FROM position p WHERE p.portfolio = s.portfolio"
        f"  AND p.condition = s.condition AND p.token <> s.token AND p.shares >= {CENT})"
        " OR EXISTS (SELECT 1 FROM orders o WHERE o.portfolio = s.portfolio"
        "  AND o.condition = s.condition AND o.token <> s.token AND o.side = 'BUY'"
        f"  AND o.{FLYING})) ORDER BY s.kind = 'increase', s.seen_us, s.id LIMIT {limit:d}",
    )
    signals = [to_signal(row) for row in found]
    return [
        signal
        for signal in signals
        if signal.kind is not SignalKind.CORRECTION or not outdated(tx, signal.wallet)
    ]


def entering(tx: Tx, busy: Collection[Position], limit: int) -> list[Signal]:
    """Return undecided purchases of leaders that can be decided, in the order they were seen.

    None of a position that is `busy`, or that has an order in flight.
    """
    marks = ", ".join(f"(:p{n}, :c{n})" for n in range(len(busy)))
    free = f" AND (s.portfolio, s.condition) NOT IN (VALUES {marks})" if busy else ""
    values: dict[str, str] = {}
    for n, (portfolio, condition) in enumerate(busy):
        values |= {f"p{n}": portfolio, f"c{n}": condition}
    found = rows(
        tx,
        f"{SIGNAL} WHERE s.decided = 0 AND s.kind = 'increase' AND NOT {_MOVING}{free}"
        f" ORDER BY s.seen_us, s.id LIMIT {limit:d}",
        **values,
    )
    return [to_signal(row) for row in found]


def alone(tx: Tx, signal_id: str) -> Signal | None:
    """Return an undecided purchase that may be decided without a look at anything else.

    None where it is decided, or has joined another; where its position has an earlier signal, an
    order in flight, or a holding of the other token; or where anybody may leave its market: exits
    are decided first, and we do not trade with ourselves.
    """
    row = one(
        tx,
        f"{SIGNAL} WHERE s.id = :id AND s.decided = 0 AND s.kind = 'increase' AND NOT {_MOVING}"
        " AND NOT EXISTS (SELECT 1 FROM signal e WHERE e.decided = 0"
        "  AND e.condition = s.condition AND (e.kind <> 'increase' OR e.portfolio = s.portfolio"
        "   AND (e.seen_us < s.seen_us OR e.seen_us = s.seen_us AND e.id < s.id)))"
        " AND NOT EXISTS (SELECT 1 FROM position p WHERE p.portfolio = s.portfolio"
        f"  AND p.condition = s.condition AND p.token <> s.token AND p.shares >= {CENT})",
        id=signal_id,
    )
    return to_signal(row) if row else None


def raising(tx: Tx, limit: int) -> list[Signal]:
    """Return undecided purchases that must wait for an order in flight while an exit stands.

    Purchases of one position are decided in order; what a leader buys back is held at once.
    """
    found = rows(
        tx,
        f"{SIGNAL} JOIN intent i ON i.portfolio = s.portfolio AND i.token = s.token"
        " AND i.state = 'open' AND i.kind = 'exit'"
        f" WHERE s.decided = 0 AND s.kind = 'increase' AND {_MOVING}"
        f" ORDER BY s.seen_us, s.id LIMIT {limit:d}",
    )
    return [to_signal(row) for row in found]
