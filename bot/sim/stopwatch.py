"""How long the way to this exchange is, and when what passed here: for a bench, from outside.

A trade's frame out and an order's first byte in are read off one clock, here, for whoever trades.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from bot.sim.limits import endpoint
from bot.sim.rows import FeedRow

#: What is asked for because somebody wants to trade: facts of a market, and books.
_LOOKS = ("clob GET /clob-markets/", "clob GET /book", "clob POST /books", "clob GET /markets/")


class Stopwatch:
    """The round trip of every request, and the moments of trades and orders by token."""

    def __init__(self) -> None:
        self.rtt_ms = 0
        self.reset()

    def reset(self) -> None:
        """Forget what has passed so far."""
        self._said: dict[str, float] = {}
        self._mined: dict[str, float] = {}
        self._in: dict[str, float] = {}
        self._looks = 0

    def announced(self, rows: Iterable[FeedRow]) -> None:
        """Note that the frames of these rows leave now; the first ones of a token count."""
        for row in rows:
            self._said.setdefault(row.token, time.monotonic())

    def mined(self, tokens: Iterable[str]) -> None:
        """Note that the logs of a block with these tokens leave now; the first ones count."""
        for token in tokens:
            self._mined.setdefault(token, time.monotonic())

    def passed(self) -> Mapping[str, Any]:
        """Return milliseconds to an order in, by token: from its logs out, and from its first frame
        on the real-time stream; and how many looks came.
        """
        return {
            "mined_ms": self._since(self._mined), "said_ms": self._since(self._said),
            "looks": self._looks,
        }  # fmt: skip

    def _since(self, out: Mapping[str, float]) -> dict[str, float]:
        return {
            token: round((at - out[token]) * 1000, 3)
            for token, at in self._in.items()
            if token in out
        }

    def middleware(self) -> Any:
        """Return the middleware that notes a request, and lets it wait for its round trip."""

        @web.middleware
        async def way(request: web.Request, handler: Any) -> web.StreamResponse:
            now, what = time.monotonic(), endpoint(request.method, request.path)
            self._looks += what.startswith(_LOOKS)
            if what == "clob POST /order":
                self._in.setdefault(_token(await request.text()), now)
            if what and self.rtt_ms:
                await asyncio.sleep(self.rtt_ms / 1000)
            answer: web.StreamResponse = await handler(request)
            return answer

        return way


def _token(body: str) -> str:
    try:
        return str(json.loads(body)["order"]["tokenId"])
    except (ValueError, LookupError, TypeError):
        return ""  # no order, and refused as such
