"""What the exchange tells anybody: facts of markets, and books."""

import json
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote

import msgspec
import structlog
from cachetools import LRUCache, TTLCache

from bot.errors import Unavailable
from bot.model.market import Book, Facts, Market, TokenId
from bot.model.units import printable
from bot.polymarket import wire
from bot.polymarket.transport import NoAnswer, NotSent, Purpose, Reply, Transport

logger = structlog.get_logger(__name__)
MARKET_TTL_S = 600
#: Books in one request: a tenth of a megabyte of answer; 500 are allowed.
BOOKS_AT_ONCE = 100


async def _nobody(_: str) -> None:
    return None


class Public:
    """The exchange's public reads; needs no key."""

    def __init__(
        self,
        transport: Transport,
        *,
        recall: Callable[[str], Awaitable[Market | None]] = _nobody,
        heard: Callable[[Facts], None] = lambda _: None,
    ) -> None:
        """`recall` returns facts that are stored and good enough to trade on; `heard` is told all
        that the exchange tells.
        """
        self._http, self._recall, self.heard = transport, recall, heard
        self._doubted: set[str] = set()  #: stored facts of these are not those of the exchange
        #: What was last told of each market: a fill's fee needs it even when nobody tells any more.
        self.told: LRUCache[str, Market] = LRUCache(10_000)
        self._markets: TTLCache[str, Market] = TTLCache(2000, MARKET_TTL_S)
        self._asked: TTLCache[str, bool] = TTLCache(2000, MARKET_TTL_S)

    async def market(self, condition: str) -> Market | None:
        """Return a market's facts, cached for ten minutes, or stored; the exchange is asked last.

        None if unknown or not understood.
        """
        if (known := self._markets.get(condition)) is not None:
            return known
        if condition not in self._doubted and (known := await self._recall(condition)) is not None:
            self.take(known)
            return known
        return await self.refresh_market(condition)

    def take(self, market: Market) -> None:
        """Take over facts that are good enough to trade on."""
        self._markets[market.condition] = self.told[market.condition] = market

    async def refresh_market(
        self, condition: str, *, purpose: Purpose = "decision"
    ) -> Market | None:
        """Fetch a market's facts now, so that no decision has to wait for them."""
        reply = await self._http.read(f"/clob-markets/{quote(condition)}", purpose=purpose)
        if reply.status == 404:
            return None
        decoded(reply, dict)  # not JSON: no answer at all
        try:
            found = wire.market(reply.body)
        except wire.BadInput as error:
            # A tick or version nobody knew when this was written: not traded, and not a crash.
            logger.warning("market.refused", condition=condition, error=str(error))
            return None
        self.take(found)
        self._asked[condition] = True
        self._doubted.discard(condition)
        self.heard(found.facts())
        return found

    def cached(self, condition: str) -> Market | None:
        """Return a market's facts if they are at hand, or None."""
        return self._markets.get(condition)

    def told_lately(self, condition: str) -> Market | None:
        """Return a market's facts if the exchange itself told them within ten minutes, or None."""
        return self._markets.get(condition) if condition in self._asked else None

    def remember(self, known: Sequence[Market]) -> None:
        """Take markets' last known facts over from an earlier life.

        They read trades, nothing else.
        """
        for market in known:
            self.told.setdefault(market.condition, market)

    def forget_market(self, condition: str) -> None:
        """Drop cached facts, because the exchange said that they changed."""
        self._markets.pop(condition, None)
        self._doubted.add(condition)

    async def book(self, token: TokenId, *, now_us: int) -> Book:
        """Return a token's book; an empty one where the exchange has none."""
        reply = await self._http.read("/book", {"token_id": token})
        if reply.status == 404:
            return Book((), (), now_us)
        shown = accepted(reply, lambda body: wire.book(body, now_us=now_us))
        self.compare(shown)
        return shown.book

    async def books(self, tokens: Sequence[TokenId], *, now_us: int) -> dict[TokenId, Book]:
        """Return the books of tokens, several in one request; one that has none is left out."""
        if len(tokens) == 1:
            return {tokens[0]: await self.book(tokens[0], now_us=now_us)}
        found: dict[TokenId, Book] = {}
        for start in range(0, len(tokens), BOOKS_AT_ONCE):
            asked = [{"token_id": token} for token in tokens[start : start + BOOKS_AT_ONCE]]
            reply = await self._ask("/books", json.dumps(asked))
            rows = accepted(reply, lambda body: wire.decode(body, list[msgspec.Raw]))
            for row in rows:
                try:
                    shown = wire.book(bytes(row), now_us=now_us)
                except wire.BadInput as error:
                    logger.warning("book.refused", error=str(error))
                    continue
                self.compare(shown)
                found[shown.token] = shown.book
        return found

    def compare(self, shown: wire.Shown) -> None:
        """Drop a market's facts where a book shows that its tick is another one now."""
        known = self._markets.get(shown.condition)
        if known is not None and shown.tick not in (None, known.tick):
            self.forget_market(shown.condition)

    async def _ask(self, path: str, body: str) -> Reply:
        try:
            return await self._http.send("POST", path, body=body, purpose="prefetch")
        except (NotSent, NoAnswer) as error:
            raise Unavailable(f"POST {path}: {error}") from None


def decoded(reply: Reply, kind: type[wire.T]) -> wire.T:
    """Return an answer of status 200 as what it should be; raises Unavailable if it is not."""
    return accepted(reply, lambda body: wire.decode(body, kind))


def accepted(reply: Reply, read: Callable[[bytes], wire.T]) -> wire.T:
    """Return what `read` makes of an answer of status 200; raises Unavailable if it cannot."""
    if reply.status != 200:
        raise Unavailable(
            f"exchange: HTTP {reply.status} {printable(reply.body.decode(errors='replace'))}"
        )
    try:
        return read(reply.body)
    except wire.BadInput as error:
        raise Unavailable(f"exchange: unreadable answer: {error}") from None
