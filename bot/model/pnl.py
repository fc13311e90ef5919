"""Positions and realised PnL as a pure fold over fills and payouts.

The fold sorts by time, so any order in which evidence arrives gives the same result. A
FAILED fill counts as if it had never been: booking is the difference of two folds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bot.model.fill import Fill, Payout, Settlement
from bot.model.market import Side
from bot.model.position import Position
from bot.model.units import utc_day


@dataclass(slots=True)
class Day:
    """Totals of one UTC day in micro-USDC; `bought` and `sold` are without fees."""

    realized: int = 0
    fees: int = 0
    bought: int = 0
    sold: int = 0

    def minus(self, other: "Day") -> "Day":
        """Return the difference, field by field."""
        return Day(
            self.realized - other.realized,
            self.fees - other.fees,
            self.bought - other.bought,
            self.sold - other.sold,
        )


@dataclass(frozen=True, slots=True)
class Fold:
    """What fills and payouts of one position amount to; `cash` is the change of our collateral."""

    position: Position
    days: dict[str, Day]
    cash: int


def fold(fills: Iterable[Fill], payouts: Iterable[Payout] = ()) -> Fold:
    """Return position, daily totals and cash of one (portfolio, token).

    Average cost: a SELL takes its part of the cost with it, fees belong to cost and proceeds.
    Selling more than is held (evidence still missing) leaves a negative holding, whose cost is
    what it brought, negative: realised when it is bought back. A payout of an ended market
    realises, and moves no cash: it is a receivable until redeemed.
    """
    shares = cost = realized = cash = 0
    days: dict[str, Day] = {}
    for at_us, _, _, event in sorted(_events(fills, payouts)):
        day = days.setdefault(utc_day(at_us), Day())
        moved, money = _signed(event)
        shares, cost, gain = _move(shares, cost, moved, money)
        realized += gain
        day.realized += gain
        if isinstance(event, Fill):
            cash -= money
            day.fees += event.fee
            day.bought += event.usdc if event.side is Side.BUY else 0
            day.sold += event.usdc if event.side is Side.SELL else 0
    return Fold(Position(shares, cost, realized), days, cash)


def _events(
    fills: Iterable[Fill], payouts: Iterable[Payout]
) -> Iterator[tuple[int, bool, str, Fill | Payout]]:
    for f in fills:
        if f.settlement is not Settlement.FAILED:
            yield f.matched_us, f.side is Side.SELL, f"{f.trade_id}|{f.order_id}", f
    for p in payouts:
        yield p.at_us, True, "~", p


def _signed(event: Fill | Payout) -> tuple[int, int]:
    """Return the change of shares, and what it cost (negative: what it brought)."""
    if isinstance(event, Payout):
        return -event.shares, -event.usdc
    if event.side is Side.BUY:
        return event.shares, event.usdc + event.fee
    return -event.shares, event.fee - event.usdc


def _move(shares: int, cost: int, moved: int, money: int) -> tuple[int, int, int]:
    """Return (shares, cost, gain) after `moved` shares for `money`, long or short."""
    if moved == 0 or shares == 0 or (shares > 0) == (moved > 0):
        return shares + moved, cost + money, 0
    closed = min(abs(moved), abs(shares))
    part = cost if closed == abs(shares) else cost * closed // abs(shares)
    paid = money if closed == abs(moved) else money * closed // abs(moved)
    return shares + moved, cost - part + money - paid, -part - paid
