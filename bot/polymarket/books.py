"""Market data of the exchange: facts, and books kept current by the market channel's shards."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import structlog
from cachetools import LRUCache

from bot.errors import Unavailable
from bot.model.market import Book, Market, TokenId
from bot.model.units import MICRO, parse_micros, parse_price
from bot.polymarket import wire
from bot.polymarket.public import Public
from bot.polymarket.shard import ROOM, Shard

logger = structlog.get_logger(__name__)
#: With more tokens than these carry, the ones watched longest ago give way.
MAX_SHARDS = 5
REMEMBERED = 20_000
#: So often the busiest token is chosen for shards that hear little.
CANARY_S = 10


class _Change(msgspec.Struct):
    asset_id: str
    price: str
    size: str
    side: str
    best_bid: str = ""
    best_ask: str = ""


class _Frame(msgspec.Struct):
    event_type: str = ""
    asset_id: str = ""
    market: str = ""
    price_changes: list[_Change] = []


@dataclass(slots=True)
class _Levels:
    """One token's book: shares by price."""

    bids: dict[int, int]
    asks: dict[int, int]
    seen_us: int


class Books:
    """The books of watched tokens.

    A book counts as seen whenever the connection that has named its token was heard.
    """

    def __init__(
        self,
        url: str,
        public: Public,
        *,
        now_us: Callable[[], int],
        room: int = ROOM,
        canary_s: float = CANARY_S,
    ) -> None:
        self._url, self._public, self._now = url, public, now_us
        self._room, self._canary_s = room, canary_s
        self._levels: dict[TokenId, _Levels] = {}
        #: Also of tokens that have given way: what is closed then still has a floor.
        self._last_bids: LRUCache[TokenId, int] = LRUCache(REMEMBERED)
        self._carried: OrderedDict[TokenId, Shard] = OrderedDict()  #: watched longest ago first
        self._events: Counter[TokenId] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: asyncio.TaskGroup | None = None
        self.shards: list[Shard] = []
        self._open_shard()

    async def run(self) -> None:
        """Keep the books current until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._running:
                for shard in self.shards:
                    self._running.create_task(shard.run())
                await self._mind_canaries()
        finally:
            self._running = None

    @property
    def connected(self) -> bool:
        """Return whether every shard is connected."""
        return all(shard.stream.connected for shard in self.shards)

    async def market(self, condition: str) -> Market | None:
        """Return a market's facts, cached for ten minutes; None if unknown or not understood."""
        return await self._public.market(condition)

    def at_hand(self, condition: str, token: TokenId, *, max_age_us: int) -> Market | None:
        """Return a market's facts if they are cached and a book no older than that is known."""
        book = self.book(token)
        if book is None or book.seen_us < self._now() - max_age_us:
            return None
        return self._public.cached(condition)

    def forget_market(self, condition: str) -> None:
        """Drop cached facts, because the exchange said that they changed."""
        self._public.forget_market(condition)

    async def watch(self, tokens: Iterable[TokenId], *, max_age_us: int) -> None:
        """Subscribe to tokens, and fetch the books that are missing or older than `max_age_us`.

        A book that cannot be fetched stays missing or old: the caller sees that in `book`. With too
        many tokens those watched longest ago give way, and of those asked for together the first.
        """
        # The last of too many stay: they come in the order of their weight.
        wanted = list(dict.fromkeys(tokens))[-MAX_SHARDS * self._room :]
        for token in wanted:
            if token in self._carried:
                self._carried.move_to_end(token)
        if new := [token for token in wanted if token not in self._carried]:
            await self._carry(new)
        oldest = self._now() - max_age_us
        stale = [t for t in wanted if (found := self.book(t)) is None or found.seen_us < oldest]
        if stale:
            await self._fetch(stale)

    async def _carry(self, new: list[TokenId]) -> None:
        # Which shard has what is settled before anybody is told: a caller that is cancelled, or
        # another beside it, finds no token between two shards and no shard too full.
        over = len(self._carried) + len(new) - MAX_SHARDS * self._room
        leaving: dict[Shard, list[TokenId]] = {}
        for token in list(self._carried)[: max(over, 0)]:
            leaving.setdefault(self._carried.pop(token), []).append(token)
            self._levels.pop(token, None)
        saying = [shard.drop(tokens) for shard, tokens in leaving.items()]
        left = new
        while left:
            with_room = [shard for shard in self.shards if len(shard.tokens) < self._room]
            shard = with_room[0] if with_room else self._open_shard()
            room = self._room - len(shard.tokens)
            part, left = left[:room], left[room:]
            saying.append(shard.add(part))
            self._carried |= dict.fromkeys(part, shard)
        await asyncio.shield(asyncio.gather(*saying))

    def _open_shard(self) -> Shard:
        shard = Shard(self._url, self._on_frame)
        shard.forget = self._unlearn
        self.shards.append(shard)
        if self._running is not None:
            self._running.create_task(shard.run())
        return shard

    def _unlearn(self, named: Iterable[TokenId]) -> None:
        # Only what the channel itself kept: what was just fetched for a decision is what it is.
        for token in named:
            self._levels.pop(token, None)

    def book(self, token: TokenId) -> Book | None:
        """Return a token's book as last proven, or None if it is not known.

        While its shard brings data a book is current: silence of one market is no news, but a
        channel that answers pings alone, or has never named the token, proves nothing.
        """
        levels, shard = self._levels.get(token), self._carried.get(token)
        if levels is None:
            return None
        seen_us = levels.seen_us
        if shard is not None and shard.stream.connected and token in shard.named:
            silent_us = int((time.monotonic() - shard.stream.data_heard) * MICRO)
            seen_us = max(seen_us, self._now() - silent_us)
        bids, asks = sorted(levels.bids.items(), reverse=True), sorted(levels.asks.items())
        return Book(tuple(bids), tuple(asks), seen_us)

    def last_bid(self, token: TokenId) -> int | None:
        """Return the best bid last seen, or None if none was seen since it is watched."""
        return self._last_bids.get(token)

    async def _fetch(self, tokens: list[TokenId]) -> None:
        before = {token: self._levels.get(token) for token in tokens}
        try:
            found = await self._public.books(tokens, now_us=self._now())
        except Unavailable as error:
            logger.warning("book.unavailable", tokens=tokens[:3], error=str(error))
            return
        for token, book in found.items():
            # What the channel said meanwhile is newer than this answer.
            if token in before and self._levels.get(token) is before[token]:
                self._replace(token, book)

    def _replace(self, token: TokenId, book: Book) -> None:
        if token in self._carried:
            self._levels[token] = _Levels(dict(book.bids), dict(book.asks), book.seen_us)
            if book.bids:
                self._last_bids[token] = book.bids[0][0]

    async def _on_frame(self, shard: Shard, text: str) -> None:
        try:
            for raw in wire.decode(
                text if text.startswith("[") else f"[{text}]", list[msgspec.Raw]
            ):
                self._apply(shard, bytes(raw))
        except (wire.BadInput, ValueError) as error:
            logger.warning("book.bad_frame", error=str(error))

    def _apply(self, shard: Shard, raw: bytes) -> None:
        frame = wire.decode(raw, _Frame)
        if frame.event_type == "book":
            shown = wire.book(raw, now_us=self._now())
            self._public.compare(shown)
            if self._carried.get(shown.token) is shard:
                self._replace(shown.token, shown.book)
                shard.named.add(shown.token)
        elif frame.event_type == "tick_size_change":
            self._public.forget_market(frame.market)
        for change in frame.price_changes:
            self._change(shard, change)
        # The best prices told with a change are those after all that are told with it.
        for token, change in {TokenId(c.asset_id): c for c in frame.price_changes}.items():
            self._events[token] += 1
            self._check(token, change)

    def _change(self, shard: Shard, change: _Change) -> None:
        token = TokenId(change.asset_id)
        levels = self._levels.get(token)
        if self._carried.get(token) is not shard or change.side not in ("BUY", "SELL"):
            return
        if levels is None:
            return
        side = levels.bids if change.side == "BUY" else levels.asks
        price, size = parse_price(change.price), parse_micros(change.size, field="size")
        if size:
            side[price] = size
        else:
            side.pop(price, None)
        # Another object: what was asked for before this is older.
        self._levels[token] = _Levels(levels.bids, levels.asks, self._now())
        shard.named.add(token)
        if levels.bids:
            self._last_bids[token] = max(levels.bids)

    def _check(self, token: TokenId, change: _Change) -> None:
        """Drop a book whose best prices are not those that the channel tells: an event was lost."""
        levels = self._levels.get(token)
        if levels is None or _agrees(change, levels):
            return
        logger.info("book.differs", token=token)
        del self._levels[token]
        task = asyncio.create_task(self._fetch([token]), name="book.fetch")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _mind_canaries(self) -> None:
        """Let shards that hear little hear the busiest token too."""
        while True:
            await asyncio.sleep(self._canary_s)
            busiest = next(iter(self._events.most_common(1)), (None, 0))[0]
            self._events.clear()
            for shard in self.shards:
                quiet = time.monotonic() - shard.stream.data_heard > self._canary_s
                if busiest is not None and quiet and busiest not in shard.tokens:
                    with suppress(Unavailable):
                        await shard.listen_to(busiest)


def _best(text: str) -> int | None:
    """Return a best price as told, or None: not told, or nothing is bid or offered."""
    try:
        price = parse_price(text)
    except ValueError:
        return None
    return price if 0 < price < MICRO else None


def _agrees(change: _Change, levels: _Levels) -> bool:
    """Return whether a book's best prices are those that the channel tells with a change."""
    bid, ask = _best(change.best_bid), _best(change.best_ask)
    return (bid is None or not levels.bids or max(levels.bids) == bid) and (
        ask is None or not levels.asks or min(levels.asks) == ask
    )
