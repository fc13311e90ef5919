"""How a standing exit is driven, pure.

Sell to the bids above the floor, rest at the floor, or wait.
"""

from dataclasses import dataclass

from bot.config.schema import StrategySettings
from bot.model.amounts import CENT, floor_to_tick
from bot.model.market import Book, Market
from bot.model.order import OrderKind
from bot.model.units import MICRO, notional

NO_BIDS = "bids at the floor or above"  #: what an exit waits for that cannot rest


@dataclass(frozen=True, slots=True)
class Sale:
    """An attempt of an exit: `shares` at `price` or better."""

    kind: OrderKind
    price: int
    shares: int


def attempt(
    shares: int, left_at: int | None, market: Market, book: Book, s: StrategySettings, now_us: int
) -> Sale | str:
    """Return how to sell `shares` now, or what to wait for.

    What is bid at the floor or above is taken from the best bid down; where nothing is, a share
    count that can rest does so at the floor. `left_at` is the price at which the leader left
    (`floor`); None takes the best bid for it.
    """
    size = shares - shares % CENT
    if size <= 0:
        return "a whole hundredth of a share"
    if not market.accepting:
        return "the market to take orders"
    if now_us - book.seen_us > s.book_max_age_s * MICRO:
        return "a fresh book"
    if left_at is None and not book.bids:
        return NO_BIDS
    least = floor(book.bids[0][0] if left_at is None else left_at, market.tick, s.exit_floor_ratio)
    if book.bids and book.bids[0][0] >= least:
        slipped = book.bids[0][0] - s.exit_slip_ticks * market.tick
        price = max(floor_to_tick(max(slipped, 0), market.tick), least)
        return Sale(OrderKind.FAK, price, size)
    # At any price nothing rests: whoever bids fifty cents would have it for one.
    rests = left_at != 0 and size >= market.min_shares
    return Sale(OrderKind.GTD, least, size) if rests else NO_BIDS


def floor(left_at: int, tick: int, ratio: int) -> int:
    """Return the least to take.

    So much under the price at which the leader left, up to the grid.
    """
    return floor_to_tick(notional(left_at, MICRO - ratio) + tick - 1, tick)
