"""Have facts and books of the markets in use at hand, so that no decision waits for them."""

import asyncio
from contextlib import suppress

from bot.errors import Unavailable
from bot.execution import look
from bot.ledger import facts
from bot.ledger.db import Ledger
from bot.model.market import ConditionId, TokenId
from bot.model.units import MICRO
from bot.polymarket.books import Books
from bot.polymarket.public import Public
from bot.ports import MarketData

#: Markets that leaders traded in so lately may be traded in again at any moment.
RECENT_US = 3600 * MICRO
#: Markets that are asked for at a time because a leader trades there.
AT_ONCE = 50


class Warmer:
    """Asks for a market before the signal that needs it is stored.

    It is asked for beside everything else, so the time that the signal takes to be stored and to
    get here is time in which the answer comes.
    """

    def __init__(self, data: MarketData, *, max_age_us: int) -> None:
        self._data, self._max_age_us = data, max_age_us
        self._asking: dict[str, asyncio.Task[None]] = {}

    def warm(self, condition: str, token: TokenId) -> None:
        """Ask for a market's facts and a token's book, unless they are at hand or asked for."""
        if token in self._asking or len(self._asking) >= AT_ONCE:
            return
        if self._data.at_hand(condition, token, max_age_us=self._max_age_us) is not None:
            return
        task = asyncio.create_task(self._ask(condition, token), name="warm")
        self._asking[token] = task
        task.add_done_callback(lambda _: self._asking.pop(token, None))

    async def _ask(self, condition: str, token: TokenId) -> None:
        # Who decides asks again, and says what is missing.
        with suppress(Unavailable):
            await look.at(self._data, ConditionId(condition), token, max_age_us=self._max_age_us)


async def prefetch(ledger: Ledger, books: Books, public: Public, *, now_us: int) -> None:
    """Have the facts of markets in use told anew where they are older than ten minutes.

    Without facts of what we hold nobody could tell how its market ends.
    """
    used = await ledger.look(facts.recent_markets, now_us - RECENT_US)
    tokens: list[TokenId] = []
    # Each market where it weighs most: later.
    for condition in reversed(dict.fromkeys(condition for condition, _ in reversed(used))):
        try:
            found = public.told_lately(condition) or await public.refresh_market(
                condition, purpose="prefetch"
            )
        except Unavailable:
            continue  # it will be fetched when it is needed, and that decision says so
        if found is not None and found.accepting:
            tokens += found.tokens
    await books.watch(tokens, max_age_us=RECENT_US)
