"""The chain as it grows: logs of watched wallets and new blocks, told by a provider's websocket.

It is only fast. What it leaves out, or tells in a block that is out by then, the reader sees.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from bot.polymarket import chain, wire
from bot.polymarket.rpc import Wanted, block_of
from bot.polymarket.stream import Stream

logger = structlog.get_logger(__name__)
#: A provider that has no block for so long is asked again, and left after twice that.
SILENCE_S = 15
_HEADS, _PING = 0, -1  #: numbers of our requests; those of filters count from 1


class _Told(msgspec.Struct):
    subscription: str
    result: msgspec.Raw


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Frame(msgspec.Struct):
    id: int | None = None
    method: str = ""
    params: _Told | None = None
    error: _Error | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What a frame has told: a log, or that there is a new block."""

    log: chain.RawLog | None


class Live:
    """One provider's subscriptions. `filters` are asked for anew at each connect."""

    def __init__(
        self,
        url: str,
        name: str,
        filters: Callable[[int], Sequence[Wanted]],
        heard: Callable[[Heard], Awaitable[None]],
        *,
        chunk: int,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.name, self._filters, self._heard, self.chunk = name, filters, heard, chunk
        self.refused = 0  #: frames that could not be read
        self.stream = Stream(
            url,
            self._subscribe,
            ping_s=5,
            ping=_request(_PING, "net_version", []),
            is_data=lambda text: '"method"' in text,
            silence_s=silence_s,
            reconnect_s=2 * silence_s,
        )

    async def run(self) -> None:
        """Listen until cancelled."""
        await self.stream.run(self._on_frame)

    def _subscribe(self) -> list[str]:
        asked = [_request(_HEADS, "eth_subscribe", ["newHeads"])]
        for number, wanted in enumerate(self._filters(self.chunk), 1):
            asked.append(_request(number, "eth_subscribe", ["logs", wanted.asked()]))
        return asked

    async def _on_frame(self, text: str) -> None:
        try:
            frame = wire.decode(text, _Frame)
            if frame.error is not None and frame.id not in (None, _PING):
                await self._take_less(frame.error)
            elif frame.method == "eth_subscription" and frame.params is not None:
                await self._heard(_heard(bytes(frame.params.result)))
        except wire.BadInput as error:
            self.refused += 1
            logger.warning("chain.frame_refused", provider=self.name, error=str(error))

    async def _take_less(self, error: _Error) -> None:
        """Ask for fewer wallets in one subscription, if that is what was refused."""
        logger.info("chain.subscription_refused", provider=self.name, error=error.message[:200])
        if self.chunk > 1:
            self.chunk //= 2
            for text in self._subscribe()[1:]:
                await self.stream.send(text)


def _heard(raw: bytes) -> Heard:
    if b'"topics"' in raw:
        return Heard(chain.log(raw))
    block_of(raw)
    return Heard(None)


def _request(number: int, method: str, params: list[Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
