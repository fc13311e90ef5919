"""HTTP to one host: keep-alive, rate limit, bounded bodies, shared reads, honest failures.

A read may be repeated, so it is retried with backoff and `Retry-After` is honoured. A POST is
sent once; what its failure proves is for the caller to say. (A GET or DELETE over a connection
that dies at that moment goes once more: the client sees to it, and neither does harm twice.)
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiolimiter import AsyncLimiter
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)
from yarl import URL

from bot import failpoints
from bot.errors import TooMuch, Unavailable

MAX_BODY = 8 * 1024 * 1024
#: Longer than the pause of whoever asks most seldom: an order should not pay for a handshake.
KEEP_ALIVE_S = 75
#: Below the limit of lists (POST /books, /data/trades: 50 a second).
LISTS_PER_S = 40
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_backoff = wait_random_exponential(multiplier=0.25, max=8)


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    body: bytes
    retry_after: str | None


class NotSent(Exception):
    """No connection was made: not one byte of the request left."""


class NoAnswer(Exception):
    """The request may have arrived, and no complete answer came back."""


class Overlong(NoAnswer):
    """The answer is longer than is read."""


class _Busy(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(f"HTTP {reply.status}")
        self.retry_after = reply.retry_after


_AGAIN = (NotSent, NoAnswer, _Busy)
#: What a read is for: each has a budget of its own, so that none waits for another's four hundred.
Purpose = Literal["decision", "evidence", "prefetch"]


class _Body(aiohttp.BytesPayload):
    """A request's body that says when it has left."""

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        """Write it whole, then reach the failpoint."""
        await super().write_with_length(writer, content_length)
        failpoints.reach("post.sent")


class Transport:
    """A connection pool to `base_url`, at most `requests_per_s` requests a second a purpose.

    Use it on one event loop. The client is aiohttp's: a POST takes it 0.4 ms where httpx takes 1.
    """

    def __init__(self, base_url: str, *, timeout_s: int, requests_per_s: int) -> None:
        self._base, self._timeout_s = base_url, timeout_s
        self._proxy = _proxy(base_url)
        self._session: aiohttp.ClientSession | None = None
        few = min(requests_per_s, LISTS_PER_S)
        limits = {
            "order": requests_per_s, "decision": requests_per_s, "evidence": few, "prefetch": few,
        }  # fmt: skip
        self._limits = {name: AsyncLimiter(rate, 1) for name, rate in limits.items()}
        self._reads: dict[Any, asyncio.Task[Reply]] = {}
        #: Told of every answer and of what was asked: path and query, or the question.
        self.heard: Callable[[str, Reply], None] | None = None

    async def close(self) -> None:
        """Close every connection. Safe to call twice."""
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        # Made where its loop runs. What would be asked of threads at each request, a proxy and
        # passwords for it, was asked once.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=100, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(
                    total=4 * self._timeout_s, connect=self._timeout_s, sock_read=self._timeout_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def read(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        purpose: Purpose = "decision",
    ) -> Reply:
        """GET and return the answer, whatever its status below 500 (but 425 and 429 are retried).

        Identical public reads in flight share one request. Raises Unavailable after four tries.
        """
        if headers is not None:
            return await self._read(path, params, headers, purpose)
        key = (path, tuple(sorted((params or {}).items())))
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.create_task(self._read(path, params, None, purpose))
            task.add_done_callback(lambda _: self._reads.pop(key, None))
        return await asyncio.shield(task)

    async def query(self, path: str, body: str, *, purpose: Purpose = "decision") -> Reply:
        """POST a question, which may be repeated as a GET may; return the answer like `read`."""
        return await self._read(path, None, None, purpose, body=body)

    async def _read(
        self, path: str, params: Any, headers: Any, purpose: Purpose, *, body: str | None = None
    ) -> Reply:
        method = "GET" if body is None else "POST"
        retrying = AsyncRetrying(
            stop=stop_after_attempt(4),
            wait=_wait,
            retry=retry_if_exception(lambda e: isinstance(e, _AGAIN) and type(e) is not Overlong),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    reply = await self.send(
                        method, path, params=params, headers=headers, body=body, purpose=purpose
                    )
                    if reply.status >= 500 or reply.status in (425, 429):
                        raise _Busy(reply)
        except Overlong as error:
            raise TooMuch(f"{method} {self._base}{path}: {error}") from None
        except _AGAIN as error:
            raise Unavailable(f"{method} {self._base}{path}: {error}") from None
        return reply

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        purpose: Purpose | Literal["order"] | None = None,
    ) -> Reply:
        """Send one request, once. Raises NotSent or NoAnswer.

        It counts as an order unless told, or a GET: then as a decision's.
        """
        purpose = purpose or ("decision" if method == "GET" else "order")
        query = f"?{urlencode(params)}" if params else ""
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        async with self._limits[purpose]:
            try:
                async with self._client().request(
                    method,
                    URL(f"{self._base}{path}{query}", encoded=True),
                    headers=sent,
                    data=None if body is None else _payload(body, purpose),
                    proxy=self._proxy,
                    allow_redirects=False,
                ) as answer:
                    if body is not None and purpose == "order":
                        failpoints.reach("post.answering")
                    after = answer.headers.get("retry-after")
                    reply = Reply(answer.status, await _bounded(answer), after)
                    if self.heard is not None:
                        self.heard(body or f"{path}{query}", reply)
                    return reply
            except _NOT_SENT as error:
                raise NotSent(type(error).__name__) from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise NoAnswer(type(error).__name__) from None


def _payload(body: str, purpose: str) -> bytes | _Body:
    # A question that is asked by POST is none that a drill waits for.
    data, told = body.encode(), failpoints.armed() and purpose == "order"
    return _Body(data, content_type="application/json") if told else data


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    data = b""
    async for chunk in answer.content.iter_any():
        data += chunk
        if len(data) > MAX_BODY:
            raise Overlong(f"body over {MAX_BODY} bytes")
    return data


def _proxy(base_url: str) -> str | None:
    """Return the proxy that the environment names for a host, or None."""
    url = urlsplit(base_url)
    if proxy_bypass(url.hostname or ""):
        return None
    return getproxies().get(url.scheme)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, _Busy) else None
    seconds = min(int(asked), 30) if asked and asked.isascii() and asked.isdigit() else 0
    return max(seconds, _backoff(state))
