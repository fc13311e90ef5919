"""CLOB REST of the simulation: L1 and L2 checks, orders, evidence, books, balances."""

import base64
import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.sim import crypto
from bot.sim.exchange import Exchange
from bot.sim.rules import Refused
from bot.sim.shown import shown_book, shown_order, shown_trade
from bot.sim.world import CHAIN_ID, CONTRACTS, MICRO, Account, SimMarket, SimOrder, SimTrade, text

SKEW_S = 60
END = "LTE="
_UNLIMITED = str(2**256 - 1)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """API credentials of a signing address."""

    key: str
    secret: str
    passphrase: str
    address: str

    def shown(self) -> dict[str, str]:
        """Return the answer of the auth endpoints."""
        return {"apiKey": self.key, "secret": self.secret, "passphrase": self.passphrase}


def failure(message: str, status: int, **extra: Any) -> web.Response:
    """Return an error answer in the exchange's shape."""
    return web.json_response({"error": message, **extra}, status=status)


class Clob:
    """Routes over one exchange."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self.exchange, self._seed = exchange, seed
        self.keys: dict[str, ApiKey] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        get, post, delete = web.get, web.post, web.delete
        return [
            get("/time", self.time), get("/ok", self.ok), get("/version", self.version),
            post("/auth/api-key", self.create_key), get("/auth/derive-api-key", self.derive_key),
            get("/auth/api-keys", self.list_keys), get("/auth/ban-status/closed-only", self.closed_only),
            get("/book", self.book), post("/books", self.books), get("/price", self.price),
            get("/midpoint", self.midpoint), get("/spread", self.spread), get("/tick-size", self.tick_size),
            get("/neg-risk", self.neg_risk), get("/fee-rate", self.fee_rate),
            get("/last-trade-price", self.last_trade_price), get("/markets-by-token/{token}", self.by_token),
            get("/clob-markets/{condition}", self.clob_market),
            post("/order", self.post_order), post("/orders", self.post_orders),
            delete("/order", self.cancel_order), delete("/orders", self.cancel_orders),
            delete("/cancel-all", self.cancel_all), delete("/cancel-market-orders", self.cancel_market),
            get("/data/order/{id}", self.order), get("/data/orders", self.orders), get("/data/trades", self.trades),
            get("/balance-allowance", self.balance), get("/balance-allowance/update", self.balance_update),
        ]  # fmt: skip

    # --- authentication

    def _login(self, request: web.Request) -> str | web.Response:
        h = request.headers
        address, nonce, stamp = h.get("POLY_ADDRESS", ""), h.get("POLY_NONCE", ""), h.get("POLY_TIMESTAMP", "")
        fresh = stamp.isdigit() and abs(int(stamp) - self.exchange.clock_s) <= SKEW_S
        if not fresh or not nonce.isdigit() or len(address) != 42:
            return failure("Invalid L1 Request headers", 401)
        signer = crypto.login_signer(address, stamp, int(nonce), CHAIN_ID, h.get("POLY_SIGNATURE", ""))
        if signer is None or signer.lower() != address.lower():
            return failure("Invalid L1 Request headers", 401)
        return f"{signer}:{nonce}"

    async def create_key(self, request: web.Request) -> web.Response:
        """POST /auth/api-key: 400 where a key exists for the nonce."""
        who = self._login(request)
        if isinstance(who, web.Response):
            return who
        if any(f"{k.address}:0" == who for k in self.keys.values()):
            return failure("Could not create api key", 400)
        return web.json_response(self._derive(who).shown())

    async def derive_key(self, request: web.Request) -> web.Response:
        """GET /auth/derive-api-key."""
        who = self._login(request)
        return who if isinstance(who, web.Response) else web.json_response(self._derive(who).shown())

    def _derive(self, who: str) -> ApiKey:
        digest = hashlib.sha256(f"{self._seed}:{who}".encode()).digest()
        key = str(uuid.UUID(bytes=digest[:16], version=4))
        secret = base64.urlsafe_b64encode(hashlib.sha256(digest).digest()).decode()
        found = ApiKey(key, secret, digest.hex(), who.split(":")[0])
        self.keys[key] = found
        return found

    def _known(self, request: web.Request, body: str) -> ApiKey:
        h = request.headers
        key, stamp = self.keys.get(h.get("POLY_API_KEY", "")), h.get("POLY_TIMESTAMP", "")
        fresh = stamp.isdigit() and abs(int(stamp) - self.exchange.clock_s) <= SKEW_S
        if key is None or not fresh or h.get("POLY_ADDRESS", "").lower() != key.address.lower():
            raise Refused("Unauthorized/Invalid api key", 401)
        message = stamp + request.method + request.path + body
        right = base64.urlsafe_b64encode(
            hmac.new(base64.urlsafe_b64decode(key.secret), message.encode(), hashlib.sha256).digest()
        ).decode()
        if not hmac.compare_digest(right, h.get("POLY_SIGNATURE", "")) or h.get("POLY_PASSPHRASE") != key.passphrase:
            raise Refused("Unauthorized/Invalid api key", 401)
        return key

    async def _private(self, request: web.Request) -> tuple[ApiKey, Any]:
        raw = await request.text()
        key = self._known(request, raw)
        try:
            return key, json.loads(raw) if raw else None
        except ValueError:
            raise Refused("Invalid order payload") from None

    async def list_keys(self, request: web.Request) -> web.Response:
        """GET /auth/api-keys."""
        key, _ = await self._private(request)
        return web.json_response({"apiKeys": [k.key for k in self.keys.values() if k.address == key.address]})

    async def closed_only(self, request: web.Request) -> web.Response:
        """GET /auth/ban-status/closed-only."""
        await self._private(request)
        return web.json_response({"closed_only": False})

    # --- orders

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
                answers.append({"success": True, "errorMsg": str(error), "orderID": "", "status": ""})
        return web.json_response(answers)

    def _cancel(self, ids: list[str], key: ApiKey) -> web.Response:
        reasons = {order_id: self.exchange.cancel(order_id, key.key) for order_id in ids}
        gone = [order_id for order_id, reason in reasons.items() if reason is None]
        return web.json_response(
            {"canceled": gone, "not_canceled": {i: r for i, r in reasons.items() if r is not None}}
        )

    async def cancel_order(self, request: web.Request) -> web.Response:
        """DELETE /order."""
        key, body = await self._private(request)
        return self._cancel([body["orderID"]], key)

    async def cancel_orders(self, request: web.Request) -> web.Response:
        """DELETE /orders."""
        key, body = await self._private(request)
        return self._cancel(body, key)

    def _open(self, key: ApiKey) -> list[SimOrder]:
        seen = self.exchange.now_us - self.exchange.lookup_lag_us
        live = [o for b in self.exchange.books.values() for o in b.orders.values()]
        live += [o for _, _, o in self.exchange.held]
        return [o for o in live if o.owner_key == key.key and o.created_s * MICRO <= seen]

    async def cancel_all(self, request: web.Request) -> web.Response:
        """DELETE /cancel-all."""
        key, _ = await self._private(request)
        return self._cancel([o.id for o in self._open(key)], key)

    async def cancel_market(self, request: web.Request) -> web.Response:
        """DELETE /cancel-market-orders."""
        key, body = await self._private(request)
        wanted = (body.get("market"), body.get("asset_id"))
        return self._cancel(
            [o.id for o in self._open(key) if o.market.condition == wanted[0] or o.token == wanted[1]], key
        )

    # --- evidence

    async def order(self, request: web.Request) -> web.Response:
        """GET /data/order/{id}: live orders only."""
        key, _ = await self._private(request)
        found = next((o for o in self._open(key) if o.id == request.match_info["id"]), None)
        return web.json_response(shown_order(found)) if found else failure("Order not found", 404)

    async def orders(self, request: web.Request) -> web.Response:
        """GET /data/orders: open orders."""
        key, _ = await self._private(request)
        q = request.query
        found = [
            o for o in self._open(key)
            if q.get("market", o.market.condition) == o.market.condition
            and q.get("asset_id", o.token) == o.token and q.get("id", o.id) == o.id
        ]  # fmt: skip
        return _page([shown_order(o) for o in found], q.get("next_cursor"))

    async def trades(self, request: web.Request) -> web.Response:
        """GET /data/trades: ours, as taker or maker."""
        key, _ = await self._private(request)
        q = request.query
        after, before = int(q.get("after") or 0), int(q.get("before") or 2**60)
        visible = self.exchange.clock_s * MICRO + MICRO - self.exchange.lookup_lag_us
        found = [
            shown_trade(t, key.key) for t in self.exchange.trades.values()
            if t.at_us <= visible and self._concerns(t, key)
            and q.get("id", t.id) == t.id and q.get("market", t.taker.market.condition) == t.taker.market.condition
            and q.get("asset_id", t.taker.token) == t.taker.token and after <= t.at_us // MICRO <= before
        ]  # fmt: skip
        return _page(found, q.get("next_cursor"))

    @staticmethod
    def _concerns(trade: SimTrade, key: ApiKey) -> bool:
        """Return whether a trade is of the key's wallet, whichever of its keys placed the order."""
        signed = [o for o in (trade.taker, *(p.order for p in trade.pieces)) if o.owner_key]
        return any(o.owner_key == key.key or o.account.owner.lower() == key.address.lower() for o in signed)

    async def balance(self, request: web.Request) -> web.Response:
        """GET /balance-allowance: the wallet is derived from (key, signature type)."""
        key, _ = await self._private(request)
        kind = int(request.query.get("signature_type", "0"))
        account = next(
            (a for a in self.exchange.accounts.values() if a.owner == key.address and a.signature_type == kind),
            Account(""),
        )
        token = request.query.get("token_id", "")
        market = self.exchange.by_token.get(token)
        conditional = "CONDITIONAL-V2" if market is not None and market.version == "v2" else "CONDITIONAL"
        if request.query.get("asset_type") not in ("COLLATERAL", conditional):
            account = Account("")  # a wrong type is no error there: it answers zero
        asset = "" if request.query.get("asset_type") == "COLLATERAL" else token
        allowance = _UNLIMITED if account.allowed else "0"
        return web.json_response(
            {"balance": str(account.balance(asset)), "allowances": dict.fromkeys(CONTRACTS.values(), allowance)}
        )

    async def balance_update(self, request: web.Request) -> web.Response:
        """GET /balance-allowance/update: nothing is cached here."""
        await self._private(request)
        return web.json_response({})

    # --- public reads

    async def time(self, _: web.Request) -> web.Response:
        """GET /time."""
        return web.json_response(self.exchange.clock_s)

    async def ok(self, _: web.Request) -> web.Response:
        """GET /ok."""
        return web.json_response("OK")

    async def version(self, _: web.Request) -> web.Response:
        """GET /version: the CLOB order version."""
        return web.json_response({"version": 2})

    def _market(self, request: web.Request) -> tuple[str, SimMarket]:
        token = request.query.get("token_id", "")
        market = self.exchange.by_token.get(token)
        if market is None:
            raise Refused("No orderbook exists for the requested token id", 404)
        return token, market

    async def book(self, request: web.Request) -> web.Response:
        """GET /book."""
        return web.json_response(shown_book(self.exchange, *self._market(request)))

    async def books(self, request: web.Request) -> web.Response:
        """POST /books: unknown ids are dropped."""
        wanted = [item["token_id"] for item in await request.json()]
        known = [(t, self.exchange.by_token[t]) for t in wanted if t in self.exchange.by_token]
        return web.json_response([shown_book(self.exchange, t, m) for t, m in known])

    def _best(self, token: str, market: SimMarket) -> tuple[int, int]:
        bids, asks = self.exchange.books[market.condition].levels(token)
        return max(bids, default=0), min(asks, default=MICRO)

    async def price(self, request: web.Request) -> web.Response:
        """GET /price: BUY gives the best bid, SELL the best ask."""
        bid, ask = self._best(*self._market(request))
        return web.json_response({"price": text(bid if request.query.get("side") == "BUY" else ask)})

    async def midpoint(self, request: web.Request) -> web.Response:
        """GET /midpoint."""
        return web.json_response({"mid": text(sum(self._best(*self._market(request))) // 2)})

    async def spread(self, request: web.Request) -> web.Response:
        """GET /spread."""
        bid, ask = self._best(*self._market(request))
        return web.json_response({"spread": text(ask - bid)})

    async def tick_size(self, request: web.Request) -> web.Response:
        """GET /tick-size: a number, unlike everywhere else."""
        return web.json_response({"minimum_tick_size": self._market(request)[1].tick / MICRO})

    async def neg_risk(self, request: web.Request) -> web.Response:
        """GET /neg-risk."""
        return web.json_response({"neg_risk": self._market(request)[1].neg_risk})

    async def fee_rate(self, request: web.Request) -> web.Response:
        """GET /fee-rate: a cap, not the fee."""
        self._market(request)
        return web.json_response({"base_fee": 1000})

    async def last_trade_price(self, request: web.Request) -> web.Response:
        """GET /last-trade-price: per market, not per token."""
        return web.json_response({"price": text(self._market(request)[1].last_price), "side": "BUY"})

    async def by_token(self, request: web.Request) -> web.Response:
        """GET /markets-by-token/{token}."""
        market = self.exchange.by_token.get(request.match_info["token"])
        if market is None:
            raise Refused("market not found", 404)
        names = ("condition_id", "primary_token_id", "secondary_token_id")
        return web.json_response(dict(zip(names, (market.condition, *market.tokens), strict=True)))

    async def clob_market(self, request: web.Request) -> web.Response:
        """GET /clob-markets/{condition}: neg-risk is left out where false."""
        market = self.exchange.markets.get(request.match_info["condition"])
        if market is None:
            raise Refused("market not found", 404)
        facts: dict[str, Any] = {
            "t": [{"t": t, "o": o} for t, o in zip(market.tokens, market.outcomes, strict=True)],
            "c": market.condition, "mos": market.min_shares / MICRO, "mts": market.tick / MICRO, "mbf": 1000,
            "tbf": 1000, "fd": {"r": market.fee_rate / MICRO, "e": market.fee_exponent, "to": True},
            "ao": market.accepting, "v": market.version, "r": {"mi": 0, "ma": 0, "moas": 0},
        }  # fmt: skip
        return web.json_response(facts | ({"nr": True} if market.neg_risk else {}))


@web.middleware
async def answer_refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn a refusal into the exchange's error answer."""
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except Refused as error:
        return failure(str(error), error.status, **({"orderID": error.order_id} if error.order_id else {}))
    except (KeyError, TypeError, ValueError):
        return failure("Invalid order payload", 400)


def _page(found: list[Any], cursor: str | None, limit: int = 100) -> web.Response:
    start = int(base64.b64decode(cursor or "MA==")) if cursor != END else len(found)
    after = start + limit
    next_cursor = base64.b64encode(str(after).encode()).decode() if after < len(found) else END
    rows = found[start:after]
    return web.json_response({"data": rows, "next_cursor": next_cursor, "limit": limit, "count": len(rows)})
