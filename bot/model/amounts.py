"""Exact order amounts for every tick size, in integers.

Rules: the exchange's rounding table and the official SDK's limit and market paths; the test
vectors hold to the unit. All arguments and results are millionths.
"""

from typing import NamedTuple

from bot.model.market import Side
from bot.model.units import MICRO

CENT = 10_000  #: sizes and budgets have at most two decimals


class Decimals(NamedTuple):
    """Decimal places the exchange accepts at a tick size."""

    price: int
    size: int
    amount: int


TICKS: dict[int, Decimals] = {
    100_000: Decimals(1, 2, 3),
    10_000: Decimals(2, 2, 4),
    5_000: Decimals(3, 2, 5),
    2_500: Decimals(4, 2, 6),
    1_000: Decimals(3, 2, 5),
    100: Decimals(4, 2, 6),
}


class Amounts(NamedTuple):
    """What the maker of an order gives and gets: BUY gives collateral, SELL gives shares."""

    maker_amount: int
    taker_amount: int


def limit_amounts(side: Side, price: int, shares: int, tick: int) -> Amounts:
    """Return the amounts of a GTC or GTD order: a share quantity at a price.

    `shares` is floored to two decimals. Raises ValueError for a price off the grid or a size
    that floors to nothing.
    """
    check_price(price, tick)
    size = shares - shares % CENT
    if size <= 0:
        raise ValueError(f"size: expected at least 0.01 shares, found {shares} millionths")
    # Exact: a size of 2 decimals times a price on any grid has at most 6.
    collateral = size * price // MICRO
    return Amounts(collateral, size) if side is Side.BUY else Amounts(size, collateral)


def market_amounts(side: Side, price: int, amount: int, tick: int) -> Amounts:
    """Return the amounts of a FAK or FOK order with worst price `price`.

    `amount` is a budget in micro-USDC for BUY and shares for SELL, floored to two decimals.
    Flooring the other side keeps the implied price at or beyond the limit, so that an ask
    exactly at the limit still crosses. Raises ValueError like `limit_amounts`.
    """
    check_price(price, tick)
    maker_amount = amount - amount % CENT
    if maker_amount <= 0:
        raise ValueError(f"amount: expected at least 0.01, found {amount} millionths")
    numerator, denominator = (
        (maker_amount, price) if side is Side.BUY else (maker_amount * price, MICRO * MICRO)
    )
    scale = 10 ** TICKS[tick].amount
    # The SDK ceils to four digits more than it keeps, which undoes division noise, then floors.
    fine = -(-numerator * scale * 10_000 // denominator)
    return Amounts(maker_amount, fine // 10_000 * (MICRO // scale))


def check_price(price: int, tick: int) -> None:
    """Raise ValueError unless `tick` is known and `price` is on its grid in [tick, 1 - tick]."""
    if tick not in TICKS:
        raise ValueError(f"tick: expected one of {sorted(TICKS)}, found {tick}")
    if price % tick or not tick <= price <= MICRO - tick:
        raise ValueError(
            f"price: expected a multiple of {tick} from {tick} to {MICRO - tick}, found {price}"
        )


def floor_to_tick(price: int, tick: int) -> int:
    """Return the highest price on the grid that is not above `price`, inside [tick, 1 - tick]."""
    return max(tick, min(price - price % tick, MICRO - tick))
