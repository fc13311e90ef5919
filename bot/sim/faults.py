"""Faults at the edge: what may happen to a request, its answer, or a frame, on purpose.

A rule names the requests it strikes by the start of 'METHOD /path' and how many of them. What the
exchange did before is true: an answer that is dropped belongs to an order that was accepted.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.errors import ConfigError

#: Struck before the exchange sees the request: nothing is booked.
BEFORE = {
    "reset": "the connection is reset; the request is not read",
    "status": "refused with `status`, `retry_after` and `body`",
    "slow": "looked at only `seconds` later, when the client may have given up",
}
#: Struck after the exchange has done what was asked.
AFTER = {
    "drop": "done, then the connection is cut instead of an answer",
    "late": "done, and answered `seconds` later",
    "error": "done, and answered HTTP 500",
    "empty": "done, and answered 200 without a body",
    "half": "done, and answered with the first half of the JSON",
    "malformed": "done, and answered with JSON of another shape",
    "html": "done, and answered with a page of HTML",
    "killed": "done, and answered that no order was found to match",
    "no_rows": "answered as if there were no rows",
}
_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"
_KILLED = "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
_NO_ROWS = {"data": [], "next_cursor": "LTE=", "pagination": {"limit": 100, "has_more": False, "next_cursor": None}}


@dataclass(slots=True)
class Rule:
    """One fault: which requests, what happens, to how many of them (`times`; -1 is all)."""

    on: str
    do: str
    times: int = 1
    seconds: float = 0.0
    before_s: float = 0.0  #: the exchange looks at the request only after this long
    status: int = 503
    retry_after: str | None = None
    body: str = "{}"
    struck: int = 0

    def __post_init__(self) -> None:
        if self.do not in BEFORE and self.do not in AFTER:
            raise ConfigError(f"fault {self.do[:40]!a}: expected one of {', '.join((*BEFORE, *AFTER))}")


@dataclass
class Faults:
    """The rules in force. `middleware` applies the first that fits."""

    rules: list[Rule] = field(default_factory=list)
    struck: int = 0

    def middleware(self) -> Any:
        """Return the middleware that strikes requests."""

        @web.middleware
        async def strike(request: web.Request, handler: Any) -> web.StreamResponse:
            rule = self._fitting(f"{request.method} {request.path}")
            if rule is None:
                response: web.StreamResponse = await handler(request)
                return response
            return await _apply(rule, request, handler)

        return strike

    def _fitting(self, what: str) -> Rule | None:
        for rule in self.rules:
            if what.startswith(rule.on) and rule.times != 0:
                rule.times -= rule.times > 0
                rule.struck += 1
                self.struck += 1
                return rule
        return None


async def _apply(rule: Rule, request: web.Request, handler: Any) -> web.StreamResponse:
    if rule.do == "reset":
        return _cut(request)
    if rule.do == "status":
        headers = {"Retry-After": rule.retry_after} if rule.retry_after is not None else {}
        return web.Response(status=rule.status, body=rule.body, headers=headers, content_type="application/json")
    await request.read()  # all of it is here before anything happens, whatever the client does meanwhile
    await asyncio.sleep(rule.seconds if rule.do == "slow" else rule.before_s)
    # A client that hangs up does not stop the exchange from doing what it was asked.
    answer: web.Response = await asyncio.shield(asyncio.ensure_future(handler(request)))
    if rule.do == "late":
        await asyncio.sleep(rule.seconds)
    if rule.do == "drop":
        return _cut(request)
    body = answer.body if isinstance(answer.body, bytes) else b""
    changed = {
        "error": (500, b'{"error":"could not run the execution"}'),
        "empty": (200, b""),
        "half": (200, body[: len(body) // 2]),
        "malformed": (200, b'{"success":"perhaps","orderID":7,"status":[]}'),
        "html": (502, _PAGE.encode()),
        "killed": (400, json.dumps({"error": _KILLED}).encode()),
        "no_rows": (200, json.dumps(_NO_ROWS).encode()),
    }.get(rule.do)
    if changed is None:
        return answer
    return web.Response(status=changed[0], body=changed[1], content_type="application/json")


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@dataclass
class Tap:
    """What becomes of a channel's frames on their way out."""

    mode: str = "clean"
    _held: list[str] = field(default_factory=list)

    MODES = ("clean", "duplicate", "reorder", "silent", "truncate", "oversized", "hang_up")

    def pour(self, frame: str) -> list[str]:
        """Return the frames to send in place of `frame`."""
        if self.mode == "silent":
            return []
        if self.mode == "duplicate":
            return [frame, frame, frame]
        if self.mode == "truncate":
            return [frame[: len(frame) // 2]]
        if self.mode == "oversized":
            return [frame, json.dumps({"event_type": "noise", "fill": "x" * (5 << 20)})]
        if self.mode == "reorder":
            self._held.append(frame)
            if len(self._held) < 3:
                return []
            frames, self._held = self._held[::-1], []
            return frames
        return [frame]

    def set(self, mode: str) -> list[str]:
        """Change the mode and return what was held back."""
        if mode not in self.MODES:
            raise ConfigError(f"stream mode {mode[:40]!a}: expected one of {', '.join(self.MODES)}")
        self.mode = mode
        frames, self._held = self._held, []
        return frames
