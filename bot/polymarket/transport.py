"""HTTP to one host: keep-alive, rate limit, bounded bodies, shared reads, honest failures.

A read may be repeated, so it is retried with backoff and `Retry-After` is honoured. A write is
sent once; what its failure proves is for the caller to say.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from aiolimiter import AsyncLimiter
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from bot import failpoints
from bot.errors import Unavailable

MAX_BODY = 8 * 1024 * 1024
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
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


class _Busy(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(f"HTTP {reply.status}")
        self.retry_after = reply.retry_after


class Transport:
    """A connection pool to `base_url`, at most `requests_per_s` requests a second."""

    def __init__(self, base_url: str, *, timeout_s: int, requests_per_s: int) -> None:
        self._base = base_url
        self._http = httpx.AsyncClient(
            base_url=base_url,
            timeout=timeout_s,
            http2=base_url.startswith("https"),
            follow_redirects=False,
        )
        # Writes have a budget of their own: an order never waits behind four hundred book reads.
        self._reads_limit, self._writes_limit = (
            AsyncLimiter(requests_per_s, 1),
            AsyncLimiter(requests_per_s, 1),
        )
        self._reads: dict[Any, asyncio.Task[Reply]] = {}

    async def close(self) -> None:
        """Close every connection. Safe to call twice."""
        await self._http.aclose()

    async def read(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """GET and return the answer, whatever its status below 500 (but 425 and 429 are retried).

        Identical public reads in flight share one request. Raises Unavailable after four tries.
        """
        if headers is not None:
            return await self._read(path, params, headers)
        key = (path, tuple(sorted((params or {}).items())))
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.create_task(self._read(path, params, None))
            task.add_done_callback(lambda _: self._reads.pop(key, None))
        return await asyncio.shield(task)

    async def _read(self, path: str, params: Any, headers: Any) -> Reply:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(4),
            wait=_wait,
            retry=retry_if_exception_type((NotSent, NoAnswer, _Busy)),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    reply = await self.send("GET", path, params=params, headers=headers)
                    if reply.status >= 500 or reply.status in (425, 429):
                        raise _Busy(reply)
        except (NotSent, NoAnswer, _Busy) as error:
            raise Unavailable(f"GET {self._base}{path}: {error}") from None
        return reply

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
    ) -> Reply:
        """Send one request, once. Raises NotSent or NoAnswer."""
        sent = (
            {"Content-Type": "application/json", **(headers or {})}
            if body is not None
            else dict(headers or {})
        )
        content = body.encode() if body is not None else None
        extensions = {"trace": _trace} if method == "POST" and failpoints.armed() else None
        async with self._reads_limit if method == "GET" else self._writes_limit:
            try:
                async with self._http.stream(
                    method,
                    path,
                    params=params,
                    headers=sent,
                    content=content,
                    extensions=extensions,
                ) as answer:
                    data = b""
                    async for chunk in answer.aiter_bytes():
                        data += chunk
                        if len(data) > MAX_BODY:
                            raise NoAnswer(f"body over {MAX_BODY} bytes")
                    return Reply(answer.status_code, data, answer.headers.get("retry-after"))
            except _NOT_SENT as error:
                raise NotSent(type(error).__name__) from None
            except httpx.HTTPError as error:
                raise NoAnswer(type(error).__name__) from None


async def _trace(event: str, _: Any) -> None:
    if event == "http11.send_request_body.complete":
        failpoints.reach("post.sent")
    elif event == "http11.receive_response_headers.complete":
        failpoints.reach("post.answering")


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, _Busy) else None
    seconds = min(int(asked), 30) if asked and asked.isascii() and asked.isdigit() else 0
    return max(seconds, _backoff(state))
