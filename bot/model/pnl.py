"""Positions and realised PnL as a pure fold over fills.

The fold sorts by match time, so any order in which evidence arrives gives the same result. A
FAILED fill counts as if it had never been: booking is the difference of two folds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bot.model.fill import Fill, Settlement
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
    """What a set of fills of one position amounts to; `cash` is the change of our collateral."""

    position: Position
    days: dict[str, Day]
    cash: int


def fold(fills: Iterable[Fill]) -> Fold:
    """Return position, daily totals and cash of the fills of one (leader, token).

    Average cost: a SELL takes its part of the cost with it, fees belong to cost and proceeds.
    Selling more than is held (evidence still missing) leaves a negative holding without cost.
    """
    shares = cost = realized = cash = 0
    days: dict[str, Day] = {}
    real = (f for f in fills if f.settlement is not Settlement.FAILED)
    for f in sorted(
        real, key=lambda f: (f.matched_us, f.side is Side.SELL, f.trade_id, f.order_id)
    ):
        day = days.setdefault(utc_day(f.matched_us), Day())
        day.fees += f.fee
        if f.side is Side.BUY:
            shares += f.shares
            cost += f.usdc + f.fee
            cash -= f.usdc + f.fee
            day.bought += f.usdc
        else:
            part = cost if f.shares >= shares else cost * f.shares // shares
            gain = f.usdc - f.fee - part
            shares, cost, realized, cash = (
                shares - f.shares,
                cost - part,
                realized + gain,
                cash + f.usdc - f.fee,
            )
            day.sold += f.usdc
            day.realized += gain
    return Fold(Position(shares, cost, realized), days, cash)
