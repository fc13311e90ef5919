"""A websocket that comes back: connect, subscribe, ping, and distrust silence.

Polymarket's sockets stay open while nothing comes any more, so the time of the last frame
decides, not the state of the socket.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bot.model.backoff import longest_s

logger = structlog.get_logger(__name__)
MAX_FRAME = 4 * 1024 * 1024
MAX_BACKOFF_S = 30.0
#: A connection that has brought data for so long was a good one: only then pauses begin anew.
PROVEN_S = 60


@dataclass(slots=True)
class Stream:
    """One subscription. `subscribe` returns the text frames to send after connecting."""

    url: str
    subscribe: Callable[[], list[str]]
    ping_s: float
    ping: str = "PING"
    is_data: Callable[[str], bool] = lambda _: True  #: or an answer, which proves nothing fresh
    reconnect_s: float = 30  #: without any frame for this long: connect anew
    silence_s: float | None = None
    """Without *data* for this long, each time: subscribe again; connect anew after `reconnect_s`.
    A lapsed subscription answers pings for ever. None where quiet is normal."""
    epoch: int = 0  #: connections made so far; rows of different epochs may overlap
    heard: float = 0.0  #: monotonic time of the last frame, PONG included: the socket lives
    data_heard: float = 0.0  #: monotonic time of the last frame that said anything: it is fresh
    connected: bool = False
    heard_text: Callable[[str], None] | None = None  #: told of every frame but PONG
    failures: int = 0  #: connections in a row that were no good
    _socket: ClientConnection | None = field(default=None, repr=False)

    async def run(self, on_frame: Callable[[str], Awaitable[None]]) -> NoReturn:
        """Call `on_frame` with every text frame but PONG, across reconnects, until cancelled.

        An exception of `on_frame` ends the run: the caller's state must not be passed over.
        """
        while True:
            began = time.monotonic()
            try:
                async with connect(
                    self.url, max_size=MAX_FRAME, ping_interval=None, close_timeout=2
                ) as socket:
                    await self._live(socket, on_frame)
            except (OSError, WebSocketException) as error:
                logger.info("stream.lost", url=self.url, error=f"{type(error).__name__}: {error}")
            finally:
                self._socket, self.connected = None, False
            # Who accepts and hangs up at once would be met seventy times in twenty seconds.
            good = self.data_heard - began >= PROVEN_S
            self.failures = 1 if good else self.failures + 1
            # Jittered, so that a restarted exchange is not met by all its clients at once.
            longest = longest_s(self.failures, 0.25, MAX_BACKOFF_S)
            await asyncio.sleep(random.uniform(0.05, longest))  # noqa: S311

    async def send(self, text: str) -> None:
        """Send a frame if connected; a new connection subscribes from `subscribe` anyway."""
        if self._socket is not None:
            try:
                await self._socket.send(text)
            except WebSocketException:
                logger.debug("stream.closing", url=self.url)

    async def reconnect(self) -> None:
        """Connect anew: what is subscribed to has changed."""
        if self._socket is not None:
            await self._socket.close()

    async def _live(
        self, socket: ClientConnection, on_frame: Callable[[str], Awaitable[None]]
    ) -> None:
        self._socket, self.epoch = socket, self.epoch + 1
        self.heard = self.data_heard = time.monotonic()
        for text in self.subscribe():
            await socket.send(text)
        self.connected = True
        keeper = asyncio.create_task(self._keep(socket))
        try:
            async for frame in socket:
                self.heard = time.monotonic()
                text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
                if text and text != "PONG":
                    if self.is_data(text):
                        self.data_heard = self.heard
                    if self.heard_text is not None:
                        self.heard_text(text)
                    await on_frame(text)
        finally:
            keeper.cancel()

    async def _keep(self, socket: ClientConnection) -> None:
        asked = 0.0  #: when the subscription was last asked for again: it may lapse once more
        while True:
            await asyncio.sleep(self.ping_s)
            try:
                await socket.send(self.ping)
                last = self.heard if self.silence_s is None else self.data_heard
                now = time.monotonic()
                quiet = now - last
                if quiet >= self.reconnect_s:
                    logger.warning("stream.silent", url=self.url, seconds=int(quiet))
                    await socket.close(1001, "silent")
                elif self.silence_s is not None and now - max(last, asked) >= self.silence_s:
                    asked = now
                    for text in self.subscribe():
                        await socket.send(text)
            except WebSocketException:
                return
