"""Law 7, pure: facts are grouped by maximum, not by content.

A group is all that one wallet did to one token on one way in one transaction. Every source has a
running total for it; the group is their maximum until the chain is final, and then what the chain
says. Only the difference to what was told before is told.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from bot.model.intent import DUST_SHARES
from bot.model.leader import FactKind, FactState, Holding, LeaderFill
from bot.model.market import Side

Total = tuple[int, int]  #: (shares, usdc), both in millionths
Group = tuple[str, str, str, str]  #: (transaction, wallet, token, way)

#: The one source whose totals may fall, and that is believed against all others in the end.
CHAIN = "chain"
#: Tells only what is in a block.
INDEX = "data_api"
#: Differences below both of these are stored silently: sources round differently.
MIN_GROWTH_SHARES = 10_000
MIN_GROWTH_RATIO = 1000


def snapshot(fills: Iterable[LeaderFill]) -> dict[Group, tuple[LeaderFill, Total]]:
    """Return each group's total in one complete answer: rows add up, identical ones included."""
    found: dict[Group, tuple[LeaderFill, Total]] = {}
    for fill in fills:
        first, (shares, usdc) = found.get(fill.group, (fill, (0, 0)))
        found[fill.group] = (first, (shares + fill.shares, usdc + fill.usdc))
    return found


def target(totals: Mapping[str, Total], state: FactState, *, provisional: bool = False) -> Total:
    """Return what a group amounts to.

    Nothing where it was reverted; what the chain says once that is final; before that the largest
    total of those who tell only what is in a block. What streams tell counts as long as none of
    these has told more, and only where `provisional` facts do.
    """
    if state is FactState.REVERTED:
        return (0, 0)
    if state is FactState.FINAL and CHAIN in totals:
        return totals[CHAIN]
    if state is FactState.PROVISIONAL:
        return max(totals.values(), default=(0, 0)) if provisional else (0, 0)
    surely = (total for source, total in totals.items() if source in (CHAIN, INDEX))
    return max(surely, default=(0, 0))


def state_after(before: FactState, told: FactState, source: str) -> FactState:
    """Return a fact's state after a source has told `told` of it.

    Proofs stand, but for a block that has a fact after all. That a stream has it says nothing new;
    that the chain has lost it does, as long as it was not final.
    """
    if told is FactState.PROVISIONAL:
        lost = source == CHAIN and before is FactState.MINED
        return FactState.PROVISIONAL if lost else before
    if told is FactState.REVERTED and before in (FactState.MINED, FactState.FINAL):
        return before  # a receipt was asked for while its block came
    if told is FactState.MINED:
        return before if before is FactState.FINAL else FactState.MINED
    return told


def growth(new: Total, told: Total) -> Total | None:
    """Return what has come on top of what was told, or None if it is nothing worth a signal."""
    shares, usdc = new[0] - told[0], max(new[1] - told[1], 0)
    if told == (0, 0):
        return (shares, usdc) if shares > 0 else None
    return (shares, usdc) if shares >= max(MIN_GROWTH_SHARES, new[0] // MIN_GROWTH_RATIO) else None


def shrinkage(new: Total, told: Total, state: FactState) -> int:
    """Return how many of the shares that were told of are proven not to be; 0 if nothing worth it.

    A block that is out of the chain proves nothing yet: its transaction comes again in another.
    """
    fell = told[0] - new[0]
    if state not in (FactState.FINAL, FactState.REVERTED) or fell <= 0:
        return 0
    return fell if fell >= MIN_GROWTH_SHARES or new[0] == 0 else 0


def counts(held: Holding, state: FactState, block: int | None, traded_s: int) -> bool:
    """Return whether a fact comes on top of a holding, or its observation has it already.

    What is in no block is in no balance. A mined fact whose block nobody has told is told by its
    second, which is its block's.
    """
    if held.block is None or state is FactState.PROVISIONAL:
        return True
    if block is not None:
        return block > held.block
    return held.block_s is None or traded_s > held.block_s


def moved(held: Holding, side: Side, shares: int, kind: FactKind = FactKind.TRADE) -> Holding:
    """Return a leader's holding after shares came in (BUY) or went out (SELL).

    Sums are signed, because a sale may be seen before its purchase; readers take less than
    zero for zero. The peak begins anew where he had left: a whole sale may leave dust behind.
    What he transfers he counts as the holder of, until it comes back.
    """
    signed = shares if side is Side.BUY else -shares
    away = held.away
    if kind is FactKind.TRANSFER:
        away -= min(signed, away) if signed > 0 else signed
    after = replace(held, shares=held.shares + signed, away=away)
    if kind is FactKind.TRADE:
        return _at_peak(held, replace(after, watched=held.watched + signed))
    return _at_peak(held, _bought_at_most(after))


def observed(held: Holding, shares: int, later: int, block: int, block_s: int) -> Holding:
    """Return a holding as a balance at a block makes it: `shares` then, and `later` since.

    `later` is the signed sum of the facts that are not in the balance (`counts`).
    """
    found = replace(held, shares=shares + later, block=block, block_s=block_s)
    return _at_peak(held, _bought_at_most(found))


def told(held: Holding, shares: int) -> Holding:
    """Return a holding as an answer of no block makes it: with all facts that there are so far."""
    return _at_peak(held, _bought_at_most(replace(held, shares=shares)))


def _bought_at_most(after: Holding) -> Holding:
    # What is gone without an order was bought once: no more of it is left than he holds.
    return replace(after, watched=min(after.watched, max(after.counted, 0)))


def _at_peak(before: Holding, after: Holding) -> Holding:
    peak = before.peak if before.counted >= DUST_SHARES else 0
    return replace(after, peak=max(peak, after.counted, 0))


def signal_id(group: Group, cumulative: Total, seq: int) -> str:
    """Return the identity of a signal: a hash of the group, its total so far and the number of its
    signals before: what was taken back may come again.
    """
    text = "|".join((*group, str(cumulative[0]), str(cumulative[1]), str(seq)))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
