"""One connection of the market channel: the tokens it carries, and what it has said of them.

The exchange sends nothing for tokens beyond some 500 a connection, without a word, and a
subscription may lapse while pings are answered. So a token counts as carried only once the channel
has named it on this connection, and a quiet shard listens to a busy token beside its own: only
then does its silence mean anything.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable

from bot.model.market import TokenId
from bot.polymarket.stream import Stream

#: Well below the ceiling, with room for a canary.
ROOM = 200
#: A shard with a canary that hears no data for this long has lapsed: it subscribes again.
LAPSED_S = 20


class Shard:
    """Carries up to `ROOM` tokens. `on_frame` gets the shard and each text frame."""

    def __init__(self, url: str, on_frame: Callable[["Shard", str], Awaitable[None]]) -> None:
        self._on_frame = on_frame
        self.tokens: dict[TokenId, None] = {}
        self.named: set[TokenId] = set()  #: the channel has spoken of them on this connection
        self.canary: TokenId | None = None
        self.forget: Callable[[Iterable[TokenId]], None] = lambda _: None
        self._tasks: set[asyncio.Task[None]] = set()  #: kept from the collector
        self.stream = Stream(url, self._subscription, ping_s=10, reconnect_s=30)

    async def run(self) -> None:
        """Listen until cancelled."""

        async def heard(text: str) -> None:
            await self._on_frame(self, text)

        await self.stream.run(heard)

    def add(self, tokens: list[TokenId]) -> "asyncio.Task[None]":
        """Carry tokens from now on; a connection that is made later subscribes to all of them.

        Return what says so, whoever waits for it.
        """
        self.tokens |= dict.fromkeys(tokens)
        return self._saying("subscribe", tokens)

    def drop(self, tokens: list[TokenId]) -> "asyncio.Task[None]":
        """Carry tokens no longer; return what says so, whoever waits for it."""
        for token in tokens:
            self.tokens.pop(token, None)
            self.named.discard(token)
        return self._saying("unsubscribe", [t for t in tokens if t != self.canary])

    async def listen_to(self, canary: TokenId | None) -> None:
        """Hear a busy token beside its own, in place of the one before; None: of its own alone."""
        before, self.canary = self.canary, canary
        self.stream.silence_s = None if canary is None else LAPSED_S
        if before is not None and before not in self.tokens:
            await self._say("unsubscribe", [before])
        if canary is not None and canary not in self.tokens:
            await self._say("subscribe", [canary])

    def _saying(self, operation: str, tokens: list[TokenId]) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._say(operation, tokens), name=f"books.{operation}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _say(self, operation: str, tokens: list[TokenId]) -> None:
        if tokens:
            await self.stream.send(json.dumps({"operation": operation, "assets_ids": tokens}))

    def _subscription(self) -> list[str]:
        # Events between two connections are gone: no book that the channel kept is current.
        self.forget(self.named)
        self.named = set()
        wanted = [*self.tokens, *([self.canary] if self.canary else [])]
        return [json.dumps({"type": "market", "assets_ids": list(dict.fromkeys(wanted))})]
