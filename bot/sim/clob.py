"""CLOB REST of the simulation: orders, cancels, evidence, balances."""

import base64
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from bot.sim.auth import ApiKey, Keys
from bot.sim.entities import CONTRACTS, MICRO, Account, SimOrder, SimTrade
from bot.sim.exchange import Exchange
from bot.sim.render import shown_order, shown_trade
from bot.sim.rules import Refused

END = "LTE="
_UNLIMITED = str(2**256 - 1)


def failure(message: str, status: int, **extra: Any) -> web.Response:
    """Return an error answer in the exchange's shape."""
    return web.json_response({"error": message, **extra}, status=status)


class ClobServer:
    """Private routes over one exchange.

    With `ended_lookups` reads by id also answer for cancelled and matched orders, as the docs
    have it since September 2026; without, only for live ones, as clients have met it.
    """

    def __init__(self, exchange: Exchange, keys: Keys, *, ended_lookups: bool = False) -> None:
        self.exchange, self._private = exchange, keys.private
        self.ended_lookups = ended_lookups

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        get, post, delete = web.get, web.post, web.delete
        return [
            post("/order", self.post_order), post("/orders", self.post_orders),
            delete("/order", self.cancel_order), delete("/orders", self.cancel_orders),
            delete("/cancel-all", self.cancel_all),
            delete("/cancel-market-orders", self.cancel_market),
            get("/data/order/{id}", self.order), get("/data/orders", self.orders),
            get("/data/trades", self.trades), get("/balance-allowance", self.balance),
            get("/balance-allowance/update", self.balance_update),
        ]  # fmt: skip

    async def post_order(self, request: web.Request) -> web.Response:
        """POST /order."""
        key, body = await self._private(request)
        if not isinstance(body, dict):
            raise Refused("Invalid order payload")
        return web.json_response(self.exchange.place(body, api_key=key.key, api_owner=key.address))

    async def post_orders(self, request: web.Request) -> web.Response:
        """POST /orders: up to 15; failures live inside the array."""
        key, bodies = await self._private(request)
        if not isinstance(bodies, list):
            raise Refused("Invalid order payload")
        if len(bodies) > 15:
            raise Refused(f"Too many orders in payload: {len(bodies)}, max allowed: 15")
        answers: list[dict[str, Any]] = []
        for body in bodies:
            try:
                answers.append(self.exchange.place(body, api_key=key.key, api_owner=key.address))
            except Refused as error:
                answers.append(
                    {"success": True, "errorMsg": str(error), "orderID": "", "status": ""}
                )
        return web.json_response(answers)

    def _cancel(self, ids: Iterable[str], key: ApiKey) -> web.Response:
        # Named twice is asked once.
        reasons = {i: self.exchange.cancel(i, key.key) for i in dict.fromkeys(ids)}
        gone = [order_id for order_id, reason in reasons.items() if reason is None]
        left = {order_id: reason for order_id, reason in reasons.items() if reason is not None}
        return web.json_response({"canceled": gone, "not_canceled": left})

    async def cancel_order(self, request: web.Request) -> web.Response:
        """DELETE /order."""
        key, body = await self._private(request)
        return self._cancel([body["orderID"]], key)

    async def cancel_orders(self, request: web.Request) -> web.Response:
        """DELETE /orders."""
        key, body = await self._private(request)
        return self._cancel(body, key)

    async def cancel_all(self, request: web.Request) -> web.Response:
        """DELETE /cancel-all: the orders of these credentials."""
        key, _ = await self._private(request)
        return self._cancel([o.id for o in self._open(key)], key)

    async def cancel_market(self, request: web.Request) -> web.Response:
        """DELETE /cancel-market-orders: without a field it means everything."""
        key, body = await self._private(request)
        market, token = (body or {}).get("market"), (body or {}).get("asset_id")
        found = (
            o.id
            for o in self._open(key)
            if market in (None, o.market.condition) and token in (None, o.token)
        )
        return self._cancel(list(found), key)

    def _open(self, key: ApiKey) -> list[SimOrder]:
        seen = self.exchange.now_us - self.exchange.lookup_lag_us
        live = [o for b in self.exchange.books.values() for o in b.orders.values()]
        live += [o for _, _, o in self.exchange.held]
        return [o for o in live if o.owner_key == key.key and o.created_s * MICRO <= seen]

    def _named(self, key: ApiKey, order_id: str) -> SimOrder | None:
        """Return the order of an id, if a read by id shows it."""
        if not self.ended_lookups:
            return next((o for o in self._open(key) if o.id == order_id), None)
        found = self.exchange.orders.get(order_id)
        seen = self.exchange.now_us - self.exchange.lookup_lag_us
        if found is None or found.owner_key != key.key or found.created_s * MICRO > seen:
            return None
        return found if found.hidden_until_us <= self.exchange.now_us else None

    async def order(self, request: web.Request) -> web.Response:
        """GET /data/order/{id}."""
        key, _ = await self._private(request)
        found = self._named(key, request.match_info["id"])
        return web.json_response(shown_order(found)) if found else failure("Order not found", 404)

    async def orders(self, request: web.Request) -> web.Response:
        """GET /data/orders: open orders, and by id perhaps others."""
        key, _ = await self._private(request)
        q = request.query
        named = self._named(key, q["id"]) if "id" in q else None
        asked = ([named] if named else []) if "id" in q else self._open(key)
        found = [
            shown_order(o)
            for o in asked
            if q.get("market", o.market.condition) == o.market.condition
            and q.get("asset_id", o.token) == o.token
        ]
        return page(found, q.get("next_cursor"))

    async def trades(self, request: web.Request) -> web.Response:
        """GET /data/trades: ours, as taker or maker."""
        key, _ = await self._private(request)
        q = request.query
        after, before = int(q.get("after") or 0), int(q.get("before") or 2**60)
        found = [
            shown_trade(t, key.key)
            for t in self.exchange.trades.values()
            if self._shows(t)
            and self._concerns(t, key)
            and q.get("id", t.id) == t.id
            and q.get("market", t.taker.market.condition) == t.taker.market.condition
            and q.get("asset_id", t.taker.token) == t.taker.token
            and after <= t.at_us // MICRO <= before
        ]
        return page(found, q.get("next_cursor"))

    def _shows(self, trade: SimTrade) -> bool:
        visible = self.exchange.clock_s * MICRO + MICRO - self.exchange.lookup_lag_us
        return trade.at_us <= visible and trade.hidden_until_us <= self.exchange.now_us

    @staticmethod
    def _concerns(trade: SimTrade, key: ApiKey) -> bool:
        """Return whether a trade is of the key's wallet, whichever of its keys placed the order."""
        signed = [o for o in (trade.taker, *(p.order for p in trade.pieces)) if o.owner_key]
        owner = key.address.lower()
        return any(o.owner_key == key.key or o.account.owner.lower() == owner for o in signed)

    async def balance(self, request: web.Request) -> web.Response:
        """GET /balance-allowance: the wallet is derived from (key, signature type)."""
        key, _ = await self._private(request)
        kind = int(request.query.get("signature_type", "0"))
        accounts = self.exchange.accounts.values()
        account = next(
            (a for a in accounts if a.owner == key.address and a.signature_type == kind),
            Account(""),
        )
        token, asked = request.query.get("token_id", ""), request.query.get("asset_type")
        market = self.exchange.by_token.get(token)
        v2 = market is not None and market.version == "v2"
        if asked not in ("COLLATERAL", "CONDITIONAL-V2" if v2 else "CONDITIONAL"):
            account = Account("")  # a wrong type is no error there: it answers zero
        balance = account.balance("" if asked == "COLLATERAL" else token)
        allowances = dict.fromkeys(CONTRACTS.values(), _UNLIMITED if account.allowed else "0")
        return web.json_response({"balance": str(balance), "allowances": allowances})

    async def balance_update(self, request: web.Request) -> web.Response:
        """GET /balance-allowance/update: nothing is cached here."""
        await self._private(request)
        return web.json_response({})


@web.middleware
async def answer_refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn a refusal into the exchange's error answer."""
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except Refused as error:
        extra = {"orderID": error.order_id} if error.order_id else {}
        return failure(str(error), error.status, **extra)
    except (KeyError, TypeError, ValueError):
        return failure("Invalid order payload", 400)


def page(found: list[Any], cursor: str | None, limit: int = 100) -> web.Response:
    """Return one page of a CLOB list; a cursor is the base64 of an offset."""
    start = int(base64.b64decode(cursor or "MA==")) if cursor != END else len(found)
    after = start + limit
    next_cursor = base64.b64encode(str(after).encode()).decode() if after < len(found) else END
    rows = found[start:after]
    answer = {"data": rows, "next_cursor": next_cursor, "limit": limit, "count": len(rows)}
    return web.json_response(answer)
