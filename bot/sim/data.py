"""Data API v2 and Gamma of the simulation, with their traps.

Rows appear `lag` after the trade; an answer without a new parameter is served stale from a
cache; `next_cursor` as a parameter is ignored; an omitted `start` is a bounded window; /v2/trades
hides maker fills unless asked.
"""

import base64
import json
from collections import OrderedDict
from typing import Any

from aiohttp import web

from bot.sim.exchange import Exchange
from bot.sim.world import MICRO, Row, SimMarket, text

CACHE_US = 15 * MICRO
DEFAULT_WINDOW_S = 3 * 365 * 86_400
CACHED_ANSWERS = 1000


class DataApi:
    """Public history of every wallet."""

    def __init__(self, exchange: Exchange, lag_us: int) -> None:
        self.exchange, self.lag_us = exchange, lag_us
        self._rows: list[tuple[int, Row, bool]] = []  #: (visible from, row, taker)
        self._cache: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """Return every route, Gamma's included."""
        return [
            web.get("/v2/activity", self.activity),
            web.get("/v2/trades", self.trades),
            web.get("/v2/positions", self.positions),
            web.get("/gamma/markets", self.gamma_markets),
            web.get("/gamma/markets/keyset", self.gamma_keyset),
        ]

    def publish(self, rows: list[Row], *, taker_first: bool = True) -> None:
        """Index the rows of one transaction; they show after the lag."""
        visible = self.exchange.now_us + self.lag_us
        self._rows += [(visible, row, taker_first and i == 0) for i, row in enumerate(rows)]

    def _visible(self) -> list[tuple[Row, bool]]:
        now = self.exchange.now_us
        return [(row, taker) for visible, row, taker in self._rows if visible <= now]

    async def activity(self, request: web.Request) -> web.Response:
        """GET /v2/activity: both roles."""
        q = request.query
        user = q.get("user", "").lower()
        if not user:
            return web.json_response(
                {"error": "user is required", "code": "bad_request", "retryable": False}, status=400
            )
        rows = (
            [row for row, _ in self._visible() if row.wallet.lower() == user]
            if "TRADE" in q.get("type", "TRADE")
            else []
        )
        return self._answer(request, [row.activity() for row in self._window(rows, request)])

    async def trades(self, request: web.Request) -> web.Response:
        """GET /v2/trades: taker rows only, unless taker_only=false."""
        q = request.query
        taker_only = q.get("taker_only", "true") != "false"
        rows = [row for row, taker in self._visible() if taker or not taker_only]
        if "user" in q:
            rows = [row for row in rows if row.wallet.lower() == q["user"].lower()]
        found = [row.activity() for row in self._window(rows, request)]
        return self._answer(request, [{k: v for k, v in r.items() if k not in ("type", "usdc_size")} for r in found])

    def _window(self, rows: list[Row], request: web.Request) -> list[Row]:
        q = request.query
        start = int(q.get("start") or self.exchange.now_us // MICRO - DEFAULT_WINDOW_S)
        end = int(q.get("end") or 2**40)
        kept = [r for r in rows if start <= r.traded_s <= end and q.get("side", r.side) == r.side]
        return sorted(kept, key=lambda r: r.traded_s, reverse=q.get("sort_direction", "DESC") != "ASC")

    async def positions(self, request: web.Request) -> web.Response:
        """GET /v2/positions."""
        account = self.exchange.accounts.get(request.query.get("user", "").lower())
        rows: list[dict[str, Any]] = []
        for token, shares in account.shares.items() if account else ():
            market = self.exchange.by_token[token]
            index = market.tokens.index(token)
            if shares > 0 and account is not None:
                rows.append({
                    "proxy_wallet": account.wallet.lower(), "token_id": token, "condition_id": market.condition,
                    "current_size": shares / MICRO, "avg_price": 0.5, "status": "OPEN", "redeemable": False,
                    "mergeable": False, "negative_risk": market.neg_risk, "title": market.title, "slug": market.slug,
                    "outcome": market.outcomes[index], "outcome_index": index, "opposite_token_id": market.other(token),
                })  # fmt: skip
        return self._answer(request, rows)

    def _answer(self, request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
        key, now = request.path_qs, self.exchange.now_us
        cached = self._cache.get(key)
        if cached is not None and now - cached[0] < CACHE_US:
            return web.json_response(cached[1])
        limit = min(max(int(request.query.get("limit", "100")), 1), 1000)
        start = int(base64.urlsafe_b64decode(request.query.get("cursor", "MA==")))
        more = start + limit < len(rows)
        answer = {
            "data": rows[start : start + limit],
            "pagination": {
                "limit": limit,
                "has_more": more,
                "next_cursor": base64.urlsafe_b64encode(str(start + limit).encode()).decode() if more else None,
            },
        }
        self._cache[key] = (now, answer)
        if len(self._cache) > CACHED_ANSWERS:
            self._cache.popitem(last=False)
        return web.json_response(answer)

    async def gamma_markets(self, request: web.Request) -> web.Response:
        """GET /markets of Gamma, by condition_ids, clob_token_ids or slug."""
        q = request.query
        conditions, tokens = q.getall("condition_ids", []), q.getall("clob_token_ids", [])
        found = [
            m for m in self.exchange.markets.values()
            if (not conditions or m.condition in conditions) and (not tokens or set(m.tokens) & set(tokens))
            and q.get("slug", m.slug) == m.slug
        ]  # fmt: skip
        return web.json_response([gamma_market(i, m) for i, m in enumerate(found)])

    async def gamma_keyset(self, request: web.Request) -> web.Response:
        """GET /markets/keyset of Gamma; `offset` is refused."""
        if "offset" in request.query:
            return web.json_response({"error": "offset is not supported"}, status=422)
        markets = [gamma_market(i, m) for i, m in enumerate(self.exchange.markets.values())]
        start, limit = int(request.query.get("after_cursor", "0")), min(int(request.query.get("limit", "100")), 100)
        after = str(start + limit) if start + limit < len(markets) else None
        return web.json_response({"markets": markets[start : start + limit], "next_cursor": after})


def gamma_market(number: int, market: SimMarket) -> dict[str, Any]:
    """Return a market as Gamma shows it: lists are JSON inside strings."""
    return {
        "id": str(number + 1), "conditionId": market.condition, "question": market.title, "slug": market.slug,
        "version": market.version, "outcomes": json.dumps(market.outcomes), "clobTokenIds": json.dumps(market.tokens),
        "outcomePrices": json.dumps([text(market.last_price), text(MICRO - market.last_price)]),
        "negRisk": market.neg_risk, "active": True, "closed": not market.accepting,
        "archived": False, "acceptingOrders": market.accepting, "enableOrderBook": True,
        "orderPriceMinTickSize": market.tick / MICRO,
        "orderMinSize": market.min_shares / MICRO, "feesEnabled": market.fee_rate > 0,
        "endDate": "2030-01-01T00:00:00Z",
        "feeSchedule": {"rate": market.fee_rate / MICRO, "exponent": market.fee_exponent, "takerOnly": True},
    }  # fmt: skip
