"""Our own trades as the exchange announces them, on the user channel."""

import json
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from bot.errors import Unavailable
from bot.model.fill import Evidence
from bot.polymarket import trades, wire
from bot.polymarket.clob import Clob
from bot.polymarket.stream import Stream

logger = structlog.get_logger(__name__)


class _Frame(msgspec.Struct):
    event_type: str = ""


class UserStream:
    """Calls `on_evidence` for every trade event; they may repeat, reorder, or be lost for good."""

    def __init__(
        self, url: str, clob: Clob, on_evidence: Callable[[Evidence], Awaitable[None]]
    ) -> None:
        self._clob, self._on_evidence = clob, on_evidence
        self.stream = Stream(url, self._subscription, ping_s=10, reconnect_s=30)

    async def run(self) -> None:
        """Listen until cancelled."""
        await self.stream.run(self._on_frame)

    def _subscription(self) -> list[str]:
        return [json.dumps({"type": "user", "auth": self._clob.user_auth})]

    async def _read(self, raw: bytes) -> Evidence:
        evidence = await self._clob.read_trade(wire.decode(raw, trades.Trade))
        for problem in evidence.unreadable:
            logger.warning("user.unreadable", problem=problem.why)
        return evidence

    async def _on_frame(self, text: str) -> None:
        try:
            for raw in wire.decode(
                text if text.startswith("[") else f"[{text}]", list[msgspec.Raw]
            ):
                if wire.decode(bytes(raw), _Frame).event_type == "trade":
                    await self._on_evidence(await self._read(bytes(raw)))
        except (wire.BadInput, Unavailable) as error:
            # Nothing is lost: unsettled fills and orders in flight are looked up again.
            logger.warning("user.bad_frame", error=str(error))
