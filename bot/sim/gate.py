"""What stands before the exchange: the region of whoever asks, and how much the engine takes.

Both are looked at before any signature is. Reads stay open whatever happens here.
"""

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.errors import ConfigError

REGION = (
    "Trading restricted in your region, please refer to available regions -"
    " https://docs.polymarket.com/developers/CLOB/geoblock"
)
ORDERS = ("taken", "refused", "reduce")
MODES = {
    "open": "everything is taken",
    "restart": "the engine restarts: orders and cancels answer 425",
    "post_only": "503 with the code `post_only_mode`, but for post-only orders and cancels",
    "cancel_only": "503 for orders; cancels work",
    "disabled": "503 for orders and cancels",
}
_CANCEL_ONLY = (
    "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."
)
_DISABLED = "Trading is currently disabled. Check polymarket.com for updates"
_POST_ONLY = "post-only mode: only post-only orders and cancels are allowed"
_CANCELS = ("/order", "/orders", "/cancel-all", "/cancel-market-orders")


@dataclass
class Gate:
    """The region and the engine's mode."""

    country: str = "IE"
    blocked: bool = False  #: what /api/geoblock says; also true where one may only close
    orders: str = "taken"
    mode: str = "open"
    struck: int = 0  #: requests that were refused

    def routes(self) -> list[web.RouteDef]:
        """Return the one route of the web site."""
        return [web.get("/api/geoblock", self.geoblock)]

    async def geoblock(self, _: web.Request) -> web.Response:
        """GET /api/geoblock: about the address it is asked from."""
        found = {"blocked": self.blocked, "ip": "192.0.2.7", "country": self.country, "region": ""}
        return web.json_response(found)

    def settle_in(self, country: str, *, blocked: bool, orders: str) -> None:
        """Move whoever asks to another country; raises ConfigError for unknown treatment."""
        if orders not in ORDERS:
            raise ConfigError(f"orders {orders[:40]!a}: expected one of {', '.join(ORDERS)}")
        self.country, self.blocked, self.orders = country, blocked, orders

    def set_mode(self, mode: str) -> None:
        """Change what the engine takes; raises ConfigError for an unknown mode."""
        if mode not in MODES:
            raise ConfigError(f"mode {mode[:40]!a}: expected one of {', '.join(MODES)}")
        self.mode = mode

    def heal(self) -> None:
        """Be at home, with the engine open."""
        self.country, self.blocked, self.orders, self.mode = "IE", False, "taken", "open"

    def middleware(self) -> Any:
        """Return the middleware that refuses what does not pass."""

        @web.middleware
        async def pass_gate(request: web.Request, handler: Any) -> web.StreamResponse:
            posts = request.method == "POST" and request.path in ("/order", "/orders")
            cancels = request.method == "DELETE" and request.path in _CANCELS
            refusal = None
            if posts and self.orders != "taken":
                refusal = self._region(await request.text())
            if refusal is None and posts:
                refusal = self._engine(await request.text())
            elif cancels and self.mode in ("restart", "disabled"):
                refusal = self._closed()
            self.struck += refusal is not None
            answer: web.StreamResponse = refusal or await handler(request)
            return answer

        return pass_gate

    def _region(self, body: str) -> web.Response | None:
        sides = {_side(order) for order in _orders(body)}
        if self.orders == "reduce" and sides == {"SELL"}:
            return None
        return web.json_response({"error": REGION}, status=403)

    def _engine(self, body: str) -> web.Response | None:
        if self.mode in ("restart", "disabled"):
            return self._closed()
        if self.mode == "cancel_only":
            return web.json_response({"error": _CANCEL_ONLY}, status=503)
        orders = _orders(body)
        resting = bool(orders) and all(order.get("postOnly") is True for order in orders)
        if self.mode == "post_only" and not resting:
            answer = {"error": _POST_ONLY, "code": "post_only_mode", "retry_after_seconds": 2}
            return web.json_response(answer, status=503, headers={"Retry-After": "2"})
        return None

    def _closed(self) -> web.Response:
        if self.mode == "restart":
            return web.json_response({"error": "the matching engine is restarting"}, status=425)
        return web.json_response({"error": _DISABLED}, status=503)


def _orders(body: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(body)
    except ValueError:
        return []
    return [o for o in (found if isinstance(found, list) else [found]) if isinstance(o, dict)]


def _side(order: dict[str, Any]) -> str:
    fields = order.get("order")
    return str(fields.get("side")) if isinstance(fields, dict) else ""
