"""Walk a book: what so many shares cost in it, no further than a limit."""

from dataclasses import dataclass

from bot.model.amounts import CENT
from bot.model.market import Book
from bot.model.units import MICRO, notional


@dataclass(frozen=True, slots=True)
class Walk:
    """What a book offers of what is wanted: `usdc` buys `shares`, both in millionths."""

    best: int | None  #: the best ask, None if nothing is offered
    inside: int  #: shares offered inside the limit
    shares: int
    usdc: int


def walk(book: Book, limit: int, wanted: int, most_usdc: int, depth_ratio: int) -> Walk:
    """Return how much of `wanted` shares to take from the asks, for `most_usdc` at most.

    No more than `depth_ratio` (millionths) of what is offered inside the limit. The money is what
    they cost, in whole cents: a FAK BUY spends its money whatever it buys for it.
    """
    inside = sum(shares for price, shares in book.asks if price <= limit)
    left = min(wanted, notional(inside, depth_ratio))
    got = cost = 0
    for price, offered in book.asks:
        if price > limit or left <= 0:
            break
        # Rounded up: what is bought is at least what is counted.
        can_pay = (most_usdc * MICRO - cost) // price
        took = min(left, offered, can_pay)
        got, cost, left = got + took, cost + took * price, left - took
        if took == can_pay:
            break
    usdc = min(-(-cost // MICRO), most_usdc)
    best = book.asks[0][0] if book.asks else None
    return Walk(best, inside, got - got % CENT, usdc - usdc % CENT)
