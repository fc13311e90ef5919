"""Faults at the edge: what may happen to a request and its answer, on purpose.

A rule names the requests it strikes by the start of 'METHOD /path', by a text that occurs in path,
query or body (`where`), and how many of them. What the exchange did before is true: an answer
that is dropped belongs to an order that was accepted.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.errors import ConfigError
from bot.sim.rules import NO_FAK

#: Struck before the exchange sees the request: nothing is booked.
BEFORE = {
    "reset": "the connection is reset; the request is not looked at",
    "status": "refused with `status`, `retry_after` and `body`",
    "bot_filter": "refused with 403 and the page of a bot filter",
    "slow": "looked at only `seconds` later, when the client may have given up",
    "hang": "not answered until the fault is healed; looked at then, if the client still waits",
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
    "endless": "done, and answered with nine megabytes",
    "killed": "done, and answered that no order was found to match",
    "no_rows": "answered as if there were no rows",
    "bad_row": "one row of the list is damaged: `field` is `value`, or missing; others are intact",
}
_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"
_FILTER = (
    "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head>"
    "<body><h1>Sorry, you have been blocked</h1></body></html>"
)
_NO_ROWS = {
    "data": [], "next_cursor": "LTE=",
    "pagination": {"limit": 100, "has_more": False, "next_cursor": None},
}  # fmt: skip
MISSING = "missing"
#: What a bad row lacks or says, where the rule does not tell: by path, field and value.
_DAMAGE: dict[str, tuple[str, Any]] = {
    "/data/trades": ("maker_orders", None),
    "/data/orders": ("original_size", "NaN"),
    "/v2/activity": ("price", "NaN"),
    "/v2/trades": ("price", "NaN"),
    "/v2/positions": ("current_size", MISSING),
    "/v2/resolutions": ("payouts", "NaN"),
    "/v2/tokens": ("final_price", "NaN"),
    "/books": ("bids", None),
    "/gamma/markets": ("clobTokenIds", "[\"1\""),
    "/gamma/markets/keyset": ("clobTokenIds", "[\"1\""),
    "/markets": ("tokens", None),
    "/sampling-markets": ("tokens", None),
    "/rpc/a": ("topics", [7]),
    "/rpc/b": ("topics", [7]),
}  # fmt: skip


@dataclass(slots=True)
class Rule:
    """One fault: which requests, what happens, to how many of them (`times`; -1 is all)."""

    on: str
    do: str
    times: int = 1
    where: str = ""  #: strikes only where this occurs in path, query or body
    seconds: float = 0.0
    before_s: float = 0.0  #: the exchange looks at the request only after this long
    status: int = 503
    retry_after: str | None = None
    body: str = "{}"
    row: int = 0  #: which row is bad, from the end if negative
    field: str = ""
    value: Any = MISSING
    struck: int = 0

    def __post_init__(self) -> None:
        if self.do not in BEFORE and self.do not in AFTER:
            known = ", ".join((*BEFORE, *AFTER))
            raise ConfigError(f"fault {self.do[:40]!a}: expected one of {known}")

    def strikes(self, what: str, text: str) -> bool:
        """Return whether this strikes a request, and count it if so."""
        if not what.startswith(self.on) or self.where not in text or self.times == 0:
            return False
        self.times -= self.times > 0
        self.struck += 1
        return True

    def missed(self) -> None:
        """Take back a strike that found nothing to damage."""
        self.times += self.times >= 0
        self.struck -= 1

    def __str__(self) -> str:
        return f"{self.do} on {self.on}" + (f" where {self.where}" if self.where else "")


@dataclass
class Faults:
    """The rules in force. `middleware` applies the first that fits."""

    rules: list[Rule] = field(default_factory=list)
    struck: int = 0
    _healed: asyncio.Event = field(default_factory=asyncio.Event)

    def heal(self) -> None:
        """Take every rule away; what hangs is answered."""
        self.rules.clear()
        self._healed.set()
        self._healed = asyncio.Event()

    def idle(self) -> list[str]:
        """Return the rules that have not struck yet."""
        return [str(rule) for rule in self.rules if not rule.struck]

    def middleware(self) -> Any:
        """Return the middleware that strikes requests."""

        @web.middleware
        async def strike(request: web.Request, handler: Any) -> web.StreamResponse:
            rule = await self._fitting(request)
            if rule is None:
                response: web.StreamResponse = await handler(request)
                return response
            return await self._apply(rule, request, handler)

        return strike

    async def _fitting(self, request: web.Request) -> Rule | None:
        if not self.rules or request.path.startswith("/sim/"):
            return None
        if request.path == "/order" and "POLY_API_KEY" not in request.headers:
            return None  # somebody asks whether this region may trade: no order is on its way
        text = request.path_qs
        if request.method != "GET" and any(rule.where for rule in self.rules):
            text += await request.text()
        what = f"{request.method} {request.path}"
        found = next((rule for rule in self.rules if rule.strikes(what, text)), None)
        self.struck += found is not None
        return found

    async def _apply(self, rule: Rule, request: web.Request, handler: Any) -> web.StreamResponse:
        if rule.do == "reset":
            return _cut(request)
        if rule.do == "status":
            headers = {} if rule.retry_after is None else {"Retry-After": rule.retry_after}
            return web.Response(
                status=rule.status,
                body=rule.body,
                headers=headers,
                content_type="application/json",
            )
        if rule.do == "bot_filter":
            return web.Response(status=403, body=_FILTER, content_type="text/html")
        await request.read()  # all of it is here before anything happens to it
        if rule.do == "hang":
            await self._healed.wait()
            if request.transport is None or request.transport.is_closing():
                return web.Response()
        await asyncio.sleep(rule.seconds if rule.do == "slow" else rule.before_s)
        # A client that hangs up does not stop the exchange from doing what it was asked.
        answer: web.Response = await asyncio.shield(asyncio.ensure_future(handler(request)))
        if rule.do == "late":
            await asyncio.sleep(rule.seconds)
        if rule.do == "bad_row" and not _damage(rule, request.path, answer):
            rule.missed()
            self.struck -= 1
        return _cut(request) if rule.do == "drop" else _changed(rule, answer)


def _changed(rule: Rule, answer: web.Response) -> web.Response:
    body = answer.body if isinstance(answer.body, bytes) else b""
    changed = {
        "error": (500, b'{"error":"could not run the execution"}'),
        "empty": (200, b""),
        "half": (200, body[: len(body) // 2]),
        "malformed": (200, b'{"success":"perhaps","orderID":7,"status":[]}'),
        "html": (502, _PAGE.encode()),
        "endless": (200, body + b" " * (9 << 20)),
        "killed": (400, json.dumps({"error": NO_FAK}).encode()),
        "no_rows": (200, json.dumps(_NO_ROWS).encode()),
    }.get(rule.do)
    if changed is None:
        return answer
    return web.Response(status=changed[0], body=changed[1], content_type="application/json")


def _damage(rule: Rule, path: str, answer: web.Response) -> bool:
    """Damage one row of a list; return whether there was one."""
    body = json.loads(answer.body) if isinstance(answer.body, bytes) else None
    rows = body
    if isinstance(body, dict):
        rows = body.get("data", body.get("markets", body.get("result")))
    if not isinstance(rows, list) or not -len(rows) <= rule.row < len(rows):
        return False
    name, value = (rule.field, rule.value) if rule.field else _DAMAGE.get(path, ("", MISSING))
    if name not in rows[rule.row]:
        return False
    if value == MISSING:
        del rows[rule.row][name]
    else:
        rows[rule.row][name] = value
    answer.body = json.dumps(body).encode()
    return True


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
