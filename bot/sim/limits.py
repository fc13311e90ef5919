"""Rate limits per endpoint, as documented: what is too much waits first, then it is refused.

They count for one address, which everybody on loopback shares. Each limit slides: request n
starts no sooner than a window after request n - limit. A tenth of a limit may wait (the docs say
'throttled' without a number), whatever comes on top is answered 429 at once.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from aiohttp import web

from bot.errors import ConfigError

#: 'service METHOD /path' -> requests per window of seconds.
DOCUMENTED: dict[str, tuple[tuple[int, float], ...]] = {
    "*": ((15_000, 10),),
    "clob *": ((9_000, 10),),
    "clob GET /book": ((1_500, 10),),
    "clob GET /price": ((1_500, 10),),
    "clob GET /midpoint": ((1_500, 10),),
    "clob POST /books": ((500, 10),),
    "clob GET /tick-size": ((200, 10),),
    "clob GET /balance-allowance": ((200, 10),),
    "clob GET /balance-allowance/update": ((50, 10),),
    "clob POST /order": ((5_000, 10), (120_000, 600)),
    "clob DELETE /order": ((5_000, 10), (120_000, 600)),
    "clob POST /orders": ((2_000, 10), (21_000, 600)),
    "clob DELETE /orders": ((2_000, 10), (15_000, 600)),
    "clob DELETE /cancel-all": ((250, 10), (6_000, 600)),
    "clob DELETE /cancel-market-orders": ((1_500, 10), (21_000, 600)),
    "clob * /data/*": ((900, 10),),
    "clob GET /data/orders": ((500, 10),),
    "clob GET /data/trades": ((500, 10),),
    "clob * /auth/*": ((100, 10),),
    "clob GET /ok": ((100, 10),),
    "gamma *": ((4_000, 10),),
    "gamma GET /markets*": ((300, 10),),
    "data *": ((800, 10),),
    "data GET /v2/trades": ((200, 10),),
    "data GET /v2/positions": ((200, 10),),
    "data GET /v2/activity": ((400, 10),),
}


class Window:
    """One limit over one sliding window."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._seconds = seconds
        self._starts: deque[float] = deque(maxlen=limit)

    def start(self, now: float) -> float:
        """Return when a request that comes now may start."""
        starts, full = self._starts, len(self._starts) == self._starts.maxlen
        return max(now, starts[0] + self._seconds) if full else now

    def full(self, now: float) -> bool:
        """Return whether no more may wait."""
        waiting = sum(start > now for start in self._starts)
        return waiting >= max(1, (self._starts.maxlen or 0) // 10)

    def take(self, start: float) -> None:
        """Note a request that starts then."""
        self._starts.append(start)


class Limits:
    """The limits in force, and how often they struck."""

    def __init__(self, changes: Mapping[str, int] | None) -> None:
        self._planned = changes
        self.throttled = self.refused = 0
        self.asked: Counter[str] = Counter()  #: requests so far, by endpoint
        self.set(changes)

    def set(self, changes: Mapping[str, int] | None) -> None:
        """Count anew under the documented limits and these (requests per 10 s); None: no limit."""
        found = {} if changes is None else dict(DOCUMENTED)
        for name, limit in (changes or {}).items():
            if type(limit) is not int or limit < 1:
                raise ConfigError(f"limit of {name[:60]!a}: expected at least 1 request per 10 s")
            found[name] = ((limit, 10),)
        self._windows = {
            name: [Window(limit, seconds) for limit, seconds in pairs]
            for name, pairs in found.items()
        }
        self._fitting = lru_cache(4096)(self._find)

    def heal(self) -> None:
        """Go back to what was planned."""
        self.set(self._planned)

    def _find(self, what: str) -> list[Window]:
        return [w for name, ws in self._windows.items() if fnmatchcase(what, name) for w in ws]

    def middleware(self) -> Any:
        """Return the middleware that counts, delays and refuses."""

        @web.middleware
        async def count(request: web.Request, handler: Any) -> web.StreamResponse:
            what = endpoint(request.method, request.path)
            self.asked[what] += 1
            delay = self.admit(what, time.monotonic()) if what else 0.0
            if delay is None:
                return web.json_response({"error": "Too Many Requests"}, status=429)
            if delay > 0:
                await asyncio.sleep(delay)
            response: web.StreamResponse = await handler(request)
            return response

        return count

    def admit(self, what: str, now: float) -> float | None:
        """Return how long a request has to wait, or None if it is refused."""
        windows = self._fitting(what)
        start = max((window.start(now) for window in windows), default=now)
        if start > now and any(w.start(now) > now and w.full(now) for w in windows):
            self.refused += 1
            return None
        for window in windows:
            window.take(start)
        self.throttled += start > now
        return start - now


def endpoint(method: str, path: str) -> str:
    """Return 'service METHOD /path' of a request, or '' for what is no part of Polymarket."""
    if path.startswith(("/sim/", "/ws/", "/rtds")):
        return ""
    if path.startswith("/gamma/"):
        return f"gamma {method} {path.removeprefix('/gamma')}"
    service = "data" if path.startswith("/v2/") else "site" if path.startswith("/api/") else "clob"
    return f"{service} {method} {path}"
