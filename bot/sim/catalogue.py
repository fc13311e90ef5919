"""Lists of markets: the CLOB's pages and Gamma, and how each of them shows a market that ended.

Traps of the real ones that are kept: Gamma hides closed markets and version v2 unless it is asked
for them, shows at most 100 rows, ignores what it does not know, and is kept by caches on its way
(`kept_s`: the same question gets the same answer for so long); some closed rows of the CLOB still
say that orders are accepted; a split has no winner; what is new is listed late.
"""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from bot.sim import markets
from bot.sim.clob import failure, page
from bot.sim.entities import MICRO, SimMarket, text
from bot.sim.exchange import Exchange

CLOB_PAGE = 1000
GAMMA_PAGE = 20
GAMMA_MOST = 100
DEEPEST = 2000  #: offset that the old list goes to
ORDERS = ("id", "volume24hr", "endDate", "startDate", "liquidityNum", "volumeNum")
_UMA = {"proposed": "proposed", "disputed": "disputed", "resolved": "resolved", "paid": "resolved"}
_END = "2030-01-01T00:00:00Z"


class CatalogueServer:
    """Routes over all markets of one exchange, oldest first."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.kept_s = 0
        self._kept: dict[str, tuple[int, Any]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        return [
            web.get("/markets", self.clob_markets),
            web.get("/sampling-markets", self.clob_sampling),
            web.get("/markets/{condition}", self.clob_market),
            web.get("/gamma/markets", self.gamma_markets),
            web.get("/gamma/markets/keyset", self.gamma_keyset),
            web.get("/gamma/events", self.gamma_events),
        ]

    def number(self, market: SimMarket) -> int:
        """Return a market's place in the list of all."""
        return list(self.exchange.markets).index(market.condition)

    async def clob_markets(self, request: web.Request) -> web.Response:
        """GET /markets: all there ever were, 1000 a page."""
        rows = [clob_row(market) for market in self.exchange.markets.values()]
        return page(rows, request.query.get("next_cursor"), CLOB_PAGE)

    async def clob_sampling(self, request: web.Request) -> web.Response:
        """GET /sampling-markets: those with rewards, none of them closed."""
        rows = [clob_row(m) for m in self.exchange.markets.values() if not m.ended]
        return page(rows, request.query.get("next_cursor"), CLOB_PAGE)

    async def clob_market(self, request: web.Request) -> web.Response:
        """GET /markets/{condition}."""
        market = self.exchange.markets.get(request.match_info["condition"])
        if market is None or market.listed_us > self.exchange.now_us:
            return failure("market not found", 404)
        return web.json_response(clob_row(market))

    async def gamma_markets(self, request: web.Request) -> web.Response:
        """GET /markets of Gamma, by ids, conditions, tokens or slugs, or page by page."""
        q = request.query
        offset = int(q.get("offset", "0"))
        if offset > DEEPEST:
            return web.json_response({"error": "offset is too large"}, status=422)
        found = self._asked(request)
        if isinstance(found, web.Response):
            return found
        return self._answer(request, _shown(request, found[offset : offset + _limit(request)]))

    async def gamma_events(self, request: web.Request) -> web.Response:
        """GET /events of Gamma by ids, in its own order: each with all its markets."""
        found = []
        for event in sorted(set(_all(request, "id")), reverse=True):
            nested = [
                gamma_row(i, market)
                for i, market in enumerate(self.exchange.markets.values())
                if event_of(i, market) == event and market.listed_us <= self.exchange.now_us
            ]
            if nested:
                found.append({"id": event, "slug": event, "title": event, "markets": nested})
        return self._answer(request, found[: _limit(request)])

    def _answer(self, request: web.Request, answer: Any) -> web.Response:
        now, asked = self.exchange.now_us, request.path_qs
        until, kept = self._kept.get(asked, (0, None))
        if now < until:
            return web.json_response(kept)
        self._kept.pop(asked, None)
        if self.kept_s:
            self._kept[asked] = (now + self.kept_s * MICRO, answer)
        return web.json_response(answer)

    async def gamma_keyset(self, request: web.Request) -> web.Response:
        """GET /markets/keyset of Gamma: `offset` is refused, the last page has no cursor."""
        if "offset" in request.query:
            return web.json_response({"error": "offset is not supported"}, status=422)
        found = self._asked(request)
        if isinstance(found, web.Response):
            return found
        cursor = request.query.get("after_cursor")
        start = int(base64.b64decode(cursor)) if cursor else 0
        after = start + _limit(request)
        answer: dict[str, Any] = {"markets": _shown(request, found[start:after])}
        if after < len(found):
            answer["next_cursor"] = base64.b64encode(str(after).encode()).decode()
        return self._answer(request, answer)

    def _asked(self, request: web.Request) -> list[tuple[int, SimMarket]] | web.Response:
        q = request.query
        if q.get("order", "id") not in ORDERS:
            return web.json_response({"error": "order: unknown field"}, status=422)
        closed = q.get("closed", "false").lower() == "true"
        versions = _all(request, "version") or ["v1"]
        found = [
            (i, market)
            for i, market in enumerate(self.exchange.markets.values())
            if market.ended == closed
            and market.listed_us <= self.exchange.now_us
            and market.version in versions
            and _fits(request, "id", str(i + 1))
            and _fits(request, "slug", market.slug)
            and _fits(request, "condition_ids", market.condition)
            and _fits(request, "question_ids", market.question)
            and _fits(request, "clob_token_ids", *market.tokens)
        ]
        return found if q.get("ascending", "true").lower() != "false" else found[::-1]


def _shown(request: web.Request, found: list[tuple[int, SimMarket]]) -> list[dict[str, Any]]:
    return [gamma_row(i, market, tags="include_tag" in request.query) for i, market in found]


def _limit(request: web.Request) -> int:
    return min(max(int(request.query.get("limit", GAMMA_PAGE)), 1), GAMMA_MOST)


def _all(request: web.Request, name: str) -> list[str]:
    return [part for value in request.query.getall(name, []) for part in value.split(",")]


def _fits(request: web.Request, name: str, *values: str) -> bool:
    asked = _all(request, name)
    return not asked or bool(set(asked) & set(values))


def event_of(number: int, market: SimMarket) -> str:
    """Return the id of the event that a market belongs to."""
    return market.event or str(number + 1)


def clob_row(market: SimMarket) -> dict[str, Any]:
    """Return a market as the CLOB lists it."""
    prices = (market.last_price, MICRO - market.last_price)
    split = market.payouts is not None and 0 not in market.payouts
    return {
        "enable_order_book": True, "active": True, "closed": market.ended, "archived": False,
        "accepting_orders": market.lingers if market.ended else market.accepting,
        "accepting_order_timestamp": None, "minimum_order_size": market.min_shares / MICRO,
        "minimum_tick_size": market.tick / MICRO, "condition_id": market.condition,
        "question_id": market.question, "question": market.title, "description": "",
        "market_slug": market.slug, "end_date_iso": _END[:10], "game_start_time": None,
        "seconds_delay": 0, "fpmm": "", "maker_base_fee": 1000, "taker_base_fee": 1000,
        "notifications_enabled": True, "neg_risk": market.neg_risk, "neg_risk_market_id": "",
        "neg_risk_request_id": "", "icon": "", "image": "", "is_50_50_outcome": split,
        "rewards": {"rates": None, "min_size": 0, "max_spread": 0}, "tags": ["All"],
        "tokens": [
            {
                "token_id": token, "outcome": market.outcomes[i], "price": prices[i] / MICRO,
                "winner": market.payouts is not None and not split and market.payouts[i] > 0,
            }
            for i, token in enumerate(market.tokens)
        ],
    }  # fmt: skip


def gamma_row(number: int, market: SimMarket, *, tags: bool = False) -> dict[str, Any]:
    """Return a market as Gamma shows it: lists are JSON inside strings."""
    prices = (market.last_price, MICRO - market.last_price)
    row: dict[str, Any] = {
        "id": str(number + 1), "conditionId": market.condition, "questionID": market.question,
        "question": market.title, "slug": market.slug, "version": market.version,
        "outcomes": json.dumps(market.outcomes), "clobTokenIds": json.dumps(market.tokens),
        "outcomePrices": json.dumps([text(price) for price in prices]),
        "negRisk": market.neg_risk, "negRiskOther": False, "active": True,
        "closed": market.ended, "archived": False,
        "acceptingOrders": market.lingers if market.stage == "closed" else market.accepting,
        "enableOrderBook": True, "orderPriceMinTickSize": market.tick / MICRO,
        "orderMinSize": market.min_shares / MICRO, "secondsDelay": 0,
        "feesEnabled": market.fee_rate > 0, "startDate": "2026-01-01T00:00:00Z", "endDate": _END,
        "lastTradePrice": market.last_price / MICRO, "restricted": True,
        "feeSchedule": {
            "rate": market.fee_rate / MICRO, "exponent": market.fee_exponent, "takerOnly": True,
            "rebateRate": 0,
        },
        "events": [
            {"id": event_of(number, market), "slug": market.slug, "title": market.title}
        ],
    }  # fmt: skip
    if tags:
        row["tags"] = [{"id": "1", "slug": "all", "label": "All"}]
    return row | (_ended_v2(market) if market.version == "v2" else _ended_v1(market))


def _ended_v1(market: SimMarket) -> dict[str, Any]:
    if not market.ended:
        return {}
    found: dict[str, Any] = {}
    history = [_UMA[stage] for stage, _ in market.history if stage in _UMA and stage != "paid"]
    if market.stage in _UMA:
        found["umaResolutionStatus"] = _UMA[market.stage]
        found["umaResolutionStatuses"] = json.dumps(history)
    resolved_us = markets.since_us(market, "resolved")
    if resolved_us is not None:
        # A blank instead of the T, and hours only for the zone.
        stamp = f"{datetime.fromtimestamp(resolved_us // MICRO, UTC):%Y-%m-%d %H:%M:%S}+00"
        found |= {"closedTime": stamp, "umaEndDate": stamp, "automaticallyResolved": True}
    return found


def _ended_v2(market: SimMarket) -> dict[str, Any]:
    status = "active" if market.ended else "inactive"
    return {
        "positionIds": list(market.tokens), "requestId": market.condition,
        "onchainEventId": market.condition[:60] + "000000",
        "resolutionStatus": "resolved" if market.payouts is not None else status,
    }  # fmt: skip
