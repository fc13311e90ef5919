"""Market data of the exchange: facts, and books kept current by the market channel."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable

import msgspec
import structlog

from bot.errors import Unavailable
from bot.model.market import Book, Market, TokenId
from bot.model.units import MICRO, parse_micros, parse_price
from bot.polymarket import wire
from bot.polymarket.clob import Clob
from bot.polymarket.stream import Stream

logger = structlog.get_logger(__name__)
MAX_TOKENS = 400  #: the exchange goes silent above about 500 tokens a connection


class _Change(msgspec.Struct):
    asset_id: str
    price: str
    size: str
    side: str


class _Frame(msgspec.Struct):
    event_type: str = ""
    asset_id: str = ""
    market: str = ""
    price_changes: list[_Change] = []


class Books:
    """The books of watched tokens. A book counts as seen whenever its live stream was heard."""

    def __init__(self, url: str, clob: Clob, *, now_us: Callable[[], int]) -> None:
        self._clob, self._now = clob, now_us
        self._levels: dict[TokenId, tuple[dict[int, int], dict[int, int], int]] = {}
        self._last_bids: dict[TokenId, int] = {}
        self._watched: dict[TokenId, None] = {}
        self._fetching: set[asyncio.Task[None]] = set()
        self.stream = Stream(url, self._subscription, ping_s=10, reconnect_s=30)

    async def run(self) -> None:
        """Keep the books current until cancelled."""
        await self.stream.run(self._on_frame)

    async def market(self, condition: str) -> Market | None:
        """Return a market's facts, cached for ten minutes; None if unknown or not understood."""
        return await self._clob.market(condition)

    def forget_market(self, condition: str) -> None:
        """Drop cached facts, because the exchange said that they changed."""
        self._clob.forget_market(condition)

    async def watch(self, tokens: Iterable[TokenId], *, max_age_us: int) -> None:
        """Subscribe to tokens, and fetch the books that are missing or older than `max_age_us`.

        A book that cannot be fetched stays missing or old: the caller sees that in `book`. With too
        many tokens the oldest give way.
        """
        wanted = list(tokens)
        new = [token for token in wanted if token not in self._watched]
        if new:
            await self.stream.send(json.dumps({"operation": "subscribe", "assets_ids": new}))
            # Only now: whoever was cancelled while it was sent asks for it again.
            self._watched |= dict.fromkeys(new)
            for token in list(self._watched)[: max(0, len(self._watched) - MAX_TOKENS)]:
                del self._watched[token]
                self._levels.pop(token, None)
                self._last_bids.pop(token, None)
        oldest = self._now() - max_age_us
        stale = [t for t in wanted if (found := self.book(t)) is None or found.seen_us < oldest]
        if stale:
            await asyncio.gather(*(self._fetch(token) for token in stale))

    def book(self, token: TokenId) -> Book | None:
        """Return a token's book as last proven, or None if it is not known.

        While its stream brings data a book is current: silence of one market is no news, but a
        channel that answers pings alone proves nothing.
        """
        levels = self._levels.get(token)
        if levels is None:
            return None
        bids, asks, seen_us = levels
        if self.stream.connected:
            seen_us = max(
                seen_us, self._now() - int((time.monotonic() - self.stream.data_heard) * MICRO)
            )
        return Book(tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items())), seen_us)

    def last_bid(self, token: TokenId) -> int | None:
        """Return the best bid last seen, or None if none was seen since it is watched."""
        return self._last_bids.get(token)

    def _subscription(self) -> list[str]:
        # Events between two connections are gone, so no book of before is current.
        self._levels.clear()
        for token in list(self._watched):
            task = asyncio.create_task(self._fetch(token))
            self._fetching.add(task)
            task.add_done_callback(self._fetching.discard)
        return [json.dumps({"type": "market", "assets_ids": list(self._watched)})]

    async def _fetch(self, token: TokenId) -> None:
        before = self._levels.get(token)
        try:
            found = await self._clob.book(token, now_us=self._now())
        except Unavailable as error:
            logger.warning("book.unavailable", token=token, error=str(error))
            return
        # What the stream said meanwhile is newer than this answer.
        if self._levels.get(token) is before:
            self._replace(token, found)

    def _replace(self, token: TokenId, book: Book) -> None:
        if token in self._watched:
            self._levels[token] = (dict(book.bids), dict(book.asks), book.seen_us)
            if book.bids:
                self._last_bids[token] = book.bids[0][0]

    async def _on_frame(self, text: str) -> None:
        try:
            for raw in wire.decode(
                text if text.startswith("[") else f"[{text}]", list[msgspec.Raw]
            ):
                self._apply(bytes(raw))
        except (wire.BadInput, ValueError) as error:
            logger.warning("book.bad_frame", error=str(error))

    def _apply(self, raw: bytes) -> None:
        frame = wire.decode(raw, _Frame)
        if frame.event_type == "book":
            self._replace(*wire.book(raw, now_us=self._now()))
        elif frame.event_type == "tick_size_change":
            self._clob.forget_market(frame.market)
        for change in frame.price_changes:
            levels = self._levels.get(TokenId(change.asset_id))
            if levels is None or change.side not in ("BUY", "SELL"):
                continue
            side = levels[0] if change.side == "BUY" else levels[1]
            price, size = parse_price(change.price), parse_micros(change.size, field="size")
            if size:
                side[price] = size
            else:
                side.pop(price, None)
            self._levels[TokenId(change.asset_id)] = (levels[0], levels[1], self._now())
            if levels[0]:
                self._last_bids[TokenId(change.asset_id)] = max(levels[0])
