"""LOOK at a market before a decision: its facts and a book, with little patience.

Whoever decides next waits too, so an answer that does not come in time is none.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from bot.errors import Unavailable
from bot.model.market import Book, ConditionId, Market, TokenId
from bot.ports import MarketData, OrderVenue

#: A look waits no longer than this for one answer.
PATIENCE_S = 3
_EMPTY = Book((), (), 0)


async def facts(data: MarketData, condition: ConditionId) -> Market | None:
    """Return a market's facts, or None where the exchange knows none.

    Raises Unavailable if it does not answer, or not in time.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await data.market(condition)
    except TimeoutError:
        raise Unavailable(f"no facts of market {condition} within {PATIENCE_S} s") from None


async def at(
    data: MarketData,
    condition: ConditionId,
    token: TokenId,
    *,
    max_age_us: int,
    needs_book: bool = True,
) -> Market | None:
    """Return a market's facts, or None where the exchange knows none; its token's book is asked
    for in the same breath, unless nobody needs it, and `book` tells what came.

    Raises Unavailable if the exchange does not answer, or not in time.
    """
    if (known := data.at_hand(condition, token, max_age_us=max_age_us)) is not None:
        return known
    if not needs_book:
        return await facts(data, condition)
    found, watched = await asyncio.gather(
        facts(data, condition), watch(data, [token], max_age_us=max_age_us), return_exceptions=True
    )
    for answer in (found, watched):
        if isinstance(answer, BaseException):
            raise answer
    # Again: the book may have shown that what was known of the market is old.
    return None if found is None else await facts(data, condition)


async def watch(data: MarketData, tokens: Sequence[TokenId], *, max_age_us: int) -> None:
    """Wait until books of these tokens are known, for a while: without one a decision says so.

    Raises Unavailable if the exchange does not answer.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await data.watch(list(tokens), max_age_us=max_age_us)


def book(data: MarketData, token: TokenId) -> Book:
    """Return the book of a token as last seen; an empty one, never seen, where there is none."""
    return data.book(token) or _EMPTY


async def in_wallet(venue: OrderVenue, token: TokenId) -> int | None:
    """Return the wallet's shares of a token as the exchange tells them, or None if it does not."""
    with suppress(TimeoutError, Unavailable):
        async with asyncio.timeout(PATIENCE_S):
            return await venue.shares(token)
    return None
