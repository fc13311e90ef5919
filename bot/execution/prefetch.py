"""Have facts and books of the markets in use at hand, so that no decision waits for them."""

from bot.errors import Unavailable
from bot.ledger import leaders, markets
from bot.ledger.db import Ledger
from bot.model.market import TokenId
from bot.model.units import MICRO
from bot.polymarket.books import Books
from bot.polymarket.clob import Clob

#: Markets that leaders traded in so lately may be traded in again at any moment.
RECENT_US = 86_400 * MICRO


async def prefetch(ledger: Ledger, books: Books, clob: Clob, *, now_us: int) -> None:
    """Fetch what the exchange tells of markets in use, and store the facts.

    Without facts of what we hold nobody could tell how its market ends.
    """
    used = await ledger.look(leaders.recent_markets, now_us - RECENT_US)
    tokens: list[TokenId] = []
    for condition in {condition for condition, _ in used}:
        try:
            found = await clob.refresh_market(condition)
        except Unavailable:
            continue  # it will be fetched when it is needed, and that decision says so
        if found is not None:
            tokens += found.tokens
            await ledger.transact(markets.learn, found, now_us=now_us)
    await books.watch(tokens, max_age_us=RECENT_US)
