"""Law 7, pure: facts are grouped by maximum, not by content.

A group is all that one wallet did to one token on one side in one transaction. Every source
has a running total for it; the group is their maximum, and only its growth is emitted.
"""

import hashlib
from collections.abc import Iterable, Mapping

from bot.model.intent import DUST_SHARES
from bot.model.leader import Holding, LeaderFill
from bot.model.market import Side

Total = tuple[int, int]  #: (shares, usdc), both in millionths
Group = tuple[str, str, str, str]  #: (transaction, wallet, token, side)

#: Growth below both of these is stored silently: sources round differently.
MIN_GROWTH_SHARES = 10_000
MIN_GROWTH_RATIO = 1000


def snapshot(fills: Iterable[LeaderFill]) -> dict[Group, tuple[LeaderFill, Total]]:
    """Return each group's total in one complete answer: rows add up, identical ones included."""
    found: dict[Group, tuple[LeaderFill, Total]] = {}
    for fill in fills:
        first, (shares, usdc) = found.get(fill.group, (fill, (0, 0)))
        found[fill.group] = (first, (shares + fill.shares, usdc + fill.usdc))
    return found


def stream_total(rows: Iterable[Total]) -> Total:
    """Return a group's total from the distinct rows (shares, usdc) of one connection of a stream.

    A stream repeats rows and carries no row key, so an identical row counts once here. Where it
    was genuine the total is too low, and a complete answer of another source raises it; counted
    twice by mistake, nothing could ever lower it.
    """
    distinct = set(rows)
    return sum(shares for shares, _ in distinct), sum(usdc for _, usdc in distinct)


def target(totals: Mapping[str, Total]) -> Total:
    """Return the group's total: the largest over all sources."""
    return max(totals.values(), default=(0, 0))


def growth(new: Total, emitted: Total) -> Total | None:
    """Return what has come on top of what was emitted, or None if it is nothing worth a signal."""
    shares, usdc = new[0] - emitted[0], max(new[1] - emitted[1], 0)
    if emitted == (0, 0):
        return (shares, usdc) if shares > 0 else None
    return (shares, usdc) if shares >= max(MIN_GROWTH_SHARES, new[0] // MIN_GROWTH_RATIO) else None


def moved(held: Holding, side: Side, shares: int) -> Holding:
    """Return a leader's holding after buying or selling.

    Sums are signed, because a sale may be seen before its purchase; readers take less than
    zero for zero. The peak begins anew where he had left: a whole sale may leave dust behind.
    """
    signed = shares if side is Side.BUY else -shares
    after, peak = held.shares + signed, held.peak if held.shares >= DUST_SHARES else 0
    return Holding(after, held.watched + signed, max(peak, after, 0))


def signal_id(group: Group, cumulative: Total) -> str:
    """Return the identity of a signal: a hash of the group and its total so far."""
    text = "|".join((*group, str(cumulative[0]), str(cumulative[1])))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
