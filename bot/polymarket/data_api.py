"""Data API v2: what wallets did and what they hold."""

import time
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


@dataclass(slots=True)
class Activity:
    """One complete answer: every trade of a wallet since a moment, and what was refused."""

    fills: list[LeaderFill] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class DataApi:
    """Reads of the Data API; no authentication."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport
        self.nonce: Callable[[], int] = time.time_ns

    async def activity(self, wallet: str, *, since_s: int, limit: int) -> Activity:
        """Return all trades of `wallet` with a time of at least `since_s`, oldest first.

        Follows the cursor to the end, so that the answer is complete. A row that cannot be read
        is reported in `refused` and costs nothing else. Raises Unavailable.
        """
        found = Activity()
        params = {
            "user": wallet,
            "type": "TRADE",
            "start": str(since_s),
            "sort_direction": "ASC",
            "limit": str(limit),
        }
        await self._pages("/v2/activity", params, lambda row: self._trade(row, found))
        return found

    @staticmethod
    def _trade(row: bytes, found: Activity) -> None:
        try:
            fill = wire.activity(row)
        except wire.BadInput as error:
            found.refused.append(str(error))
        else:
            if fill is not None:
                found.fills.append(fill)

    async def positions(self, wallet: str) -> list[tuple[TokenId, ConditionId, int]]:
        """Return (token, condition, shares) of everything `wallet` holds. Raises Unavailable."""
        found: list[tuple[TokenId, ConditionId, int]] = []

        def take(row: bytes) -> None:
            try:
                found.append(wire.position(row))
            except wire.BadInput as error:
                # A combo, say: what cannot be copied need not be known.
                logger.warning("position.refused", wallet=wallet, error=str(error))

        await self._pages("/v2/positions", {"user": wallet, "limit": "500"}, take)
        return found

    async def _pages(
        self, path: str, params: dict[str, str], take: Callable[[bytes], None]
    ) -> None:
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            # The CDN ignores no-cache; only a parameter it has not seen gets a fresh answer.
            fresh = {**params, "_": str(self.nonce())} | ({"cursor": cursor} if cursor else {})
            reply = await self._http.read(path, fresh)
            try:
                if reply.status != 200:
                    raise Unavailable(f"GET {path}: HTTP {reply.status}")
                page = wire.page(reply.body)
                for row in page.data:
                    take(bytes(row))
            except wire.BadInput as error:
                raise Unavailable(f"GET {path}: unreadable answer: {error}") from None
            if page.next_cursor is None:
                return
            if page.next_cursor == cursor:
                raise Unavailable(f"GET {path}: the cursor does not move")
            cursor = page.next_cursor
        raise Unavailable(f"GET {path}: more than {MAX_PAGES} pages")
