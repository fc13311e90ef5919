"""Data API v2: what wallets did and what they hold, as an index of the chain tells it, late."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from bot.errors import Unavailable
from bot.model.leader import LeaderFill
from bot.model.market import ConditionId, TokenId
from bot.polymarket import wire
from bot.polymarket.transport import Transport

logger = structlog.get_logger(__name__)
#: A wallet with more pages than this since its cursor cannot be read.
MAX_PAGES = 200


#: Pages of everybody's trades in one reading, of a thousand each: a minute of a busy market.
TAIL_PAGES = 5
#: Answers by whose times the index is judged: what is slow is the first sign of too many requests.
TIMED = 40


class Refused(Exception):
    """The Data API does not answer this question (any more)."""


@dataclass(slots=True)
class Activity:
    """One complete answer: all that a wallet did since a moment, and what was refused."""

    fills: list[LeaderFill] = field(default_factory=list)
    pairs: list[wire.Pairs] = field(default_factory=list)
    #: Conditions in which shares came or went, and no row says how many of which.
    moved: set[ConditionId] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Positions:
    """What a wallet holds, (token, condition, shares) each, and how many rows cannot be read."""

    held: list[tuple[TokenId, ConditionId, int]] = field(default_factory=list)
    refused: int = 0


class DataApi:
    """Reads of the Data API; no authentication."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport
        self._times_s: deque[float] = deque(maxlen=TIMED)
        self.nonce: Callable[[], int] = time.time_ns

    async def activity(self, wallet: str, *, since_s: int, limit: int) -> Activity:
        """Return all that `wallet` did with a time of at least `since_s`, oldest first.

        Follows the cursor to the end, so that the answer is complete. A row that cannot be read
        is reported in `refused` and costs nothing else. Raises Unavailable.
        """
        found = Activity()
        params = {
            "user": wallet,
            "start": str(since_s),
            "sort_direction": "ASC",
            "limit": str(limit),
        }
        await self._pages("/v2/activity", params, lambda row: self._did(row, found))
        return found

    @staticmethod
    def _did(row: bytes, found: Activity) -> None:
        try:
            did = wire.activity(row)
        except wire.BadInput as error:
            found.refused.append(str(error))
            return
        if isinstance(did, LeaderFill):
            found.fills.append(did)
        elif isinstance(did, wire.Pairs):
            found.pairs.append(did)
        elif did is not None:
            found.moved.add(did)

    async def tail(self, since_s: int, follows: Callable[[str], bool]) -> tuple[Activity, int]:
        """Return the newest trades of everybody that `follows` knows (in lower case), back to a
        second, and the second of the newest trade of all (0: none).

        As far as a few pages go. Raises Unavailable, and Refused where it wants a wallet's name.
        """
        found, newest = Activity(), 0
        params = {"taker_only": "false", "filter_amount": "0", "limit": "1000"}
        cursor: str | None = None
        for _ in range(TAIL_PAGES):
            page = await self._page("/v2/trades", params, cursor)
            times = [0]
            for row in page.data:
                try:
                    at_s, fill = wire.trade(bytes(row), follows)
                except wire.BadInput as error:
                    found.refused.append(str(error))
                    continue
                times.append(at_s)
                found.fills += [fill] if fill is not None else []
            newest, cursor = max(newest, *times), page.next_cursor
            if cursor is None or not since_s or min(times[1:], default=0) < since_s:
                break
        return found, newest

    async def lag_s(self) -> int | None:
        """Return how far behind its index says it is, in seconds; None where nobody can read it.

        Its crawlers look well while nothing moves: only what is served counts, and since when it
        was looked at. Raises Unavailable.
        """
        reply = await self._http.read("/v2/status", {"_": str(self.nonce())})
        return wire.lag_s(reply.body) if reply.status == 200 else None

    @property
    def slowest_s(self) -> float:
        """Return how long all but the slowest twentieth of the last answers took, in seconds."""
        times = sorted(self._times_s)
        return times[len(times) * 19 // 20] if len(times) == TIMED else 0.0

    async def positions(self, wallet: str) -> Positions:
        """Return everything `wallet` holds, as far as it can be read. Raises Unavailable."""
        found = Positions()

        def take(row: bytes) -> None:
            try:
                found.held.append(wire.position(row))
            except wire.BadInput as error:
                # A combo, say, or any other token: which one nobody can tell.
                found.refused += 1
                logger.warning("position.refused", wallet=wallet, error=str(error))

        await self._pages("/v2/positions", {"user": wallet, "limit": "500"}, take)
        return found

    def forget_times(self) -> None:
        """Judge by what is asked from now on."""
        self._times_s.clear()

    async def _pages(
        self, path: str, params: dict[str, str], take: Callable[[bytes], None]
    ) -> None:
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            try:
                page = await self._page(path, params, cursor)
            except Refused as error:
                raise Unavailable(str(error)) from None
            for row in page.data:
                take(bytes(row))
            if page.next_cursor is None:
                return
            if page.next_cursor == cursor:
                raise Unavailable(f"GET {path}: the cursor does not move")
            cursor = page.next_cursor
        raise Unavailable(f"GET {path}: more than {MAX_PAGES} pages")

    async def _page(self, path: str, params: dict[str, str], cursor: str | None) -> wire.Envelope:
        # The CDN ignores no-cache; only a parameter it has not seen gets a fresh answer.
        fresh = {**params, "_": str(self.nonce())} | ({"cursor": cursor} if cursor else {})
        began = time.monotonic()
        reply = await self._http.read(path, fresh)
        self._times_s.append(time.monotonic() - began)
        if reply.status in (400, 403, 404, 422):
            raise Refused(f"GET {path}: HTTP {reply.status}")
        if reply.status != 200:
            raise Unavailable(f"GET {path}: HTTP {reply.status}")
        try:
            return wire.page(reply.body)
        except wire.BadInput as error:
            raise Unavailable(f"GET {path}: unreadable answer: {error}") from None
