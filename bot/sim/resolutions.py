"""What the Data API knows about outcomes and their resolution: /v2/tokens and /v2/resolutions."""

from typing import Any

from aiohttp import web

from bot.sim import markets
from bot.sim.catalogue import CatalogueServer
from bot.sim.data import DataServer, refusal
from bot.sim.entities import MICRO, SimMarket

LIVENESS_S = 7200
_STATUS = {
    "proposed": "proposed", "disputed": "disputed", "resolved": "resolved", "paid": "resolved",
}  # fmt: skip
_MODULES = {"standard": "v1_ctf", "neg_risk": "neg_risk", "v3": "binary"}


class ResolutionServer:
    """Routes over the ends of markets; they are as late as the Data API's other rows."""

    def __init__(self, catalogue: CatalogueServer, data: DataServer) -> None:
        self._catalogue, self._data = catalogue, data
        self.exchange = data.exchange

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        return [web.get("/v2/resolutions", self.resolutions), web.get("/v2/tokens", self.tokens)]

    async def resolutions(self, request: web.Request) -> web.Response:
        """GET /v2/resolutions by exactly one of question, conditions or events.

        No row means that nothing was proposed yet, or nothing is known: never that it is open.
        """
        names = ("question_id", "condition", "condition_id", "event_id")
        asked = [name for name in names if request.query.get(name)]
        if len(asked) != 1:
            return refusal("exactly one of question_id, condition, event_id is required", "")
        values = request.query[asked[0]].split(",")
        found = []
        for number, market in enumerate(self.exchange.markets.values()):
            key = {"question_id": market.question, "event_id": str(number + 1)}
            if key.get(asked[0], market.condition) in values and self._stages(market):
                found.append(self._resolution(market))
        return web.json_response({"data": found})

    def _stages(self, market: SimMarket) -> list[tuple[str, int]]:
        seen_us = self.exchange.now_us - self._data.activity_lag_us
        return [(stage, at) for stage, at in market.history if at <= seen_us and stage in _STATUS]

    def _resolution(self, market: SimMarket) -> dict[str, Any]:
        stages = self._stages(market)
        stage, at_us = stages[-1]
        row: dict[str, Any] = {
            "question_id": market.question, "condition_id": market.condition,
            "status": _STATUS[stage], "extended_review": False, "new_version_q": False,
            "was_disputed": any(name == "disputed" for name, _ in stages),
            "proposed_price": "69", "reproposed_price": "69", "price": "69", "payouts": None,
            "last_update_timestamp": at_us // MICRO, "transaction_hash": None, "log_index": None,
            "expected_settlement_time": None, "settlement_time_basis": None,
        }  # fmt: skip
        if _STATUS[stage] == "proposed":
            row |= {
                "proposed_price": "1", "expected_settlement_time": at_us // MICRO + LIVENESS_S,
                "settlement_time_basis": "managed_proposal_expiration",
            }  # fmt: skip
        if _STATUS[stage] == "resolved":
            at_us = next(at for name, at in stages if _STATUS[name] == "resolved")
            final = [markets.final_price(market, i) for i in (0, 1)]
            row |= {
                "payouts": final, "transaction_hash": market.resolved_tx,
                "price": str((final[0] or 0) / MICRO), "resolution_source": "reported",
                "resolved_block": 90_000_000 + at_us // MICRO % 10_000_000,
                "resolved_at": at_us // MICRO,
            }  # fmt: skip
        return row

    async def tokens(self, request: web.Request) -> web.Response:
        """GET /v2/tokens by token_id (50 at most) or condition (10 at most)."""
        q = request.query
        tokens = [t for t in q.get("token_id", "").split(",") if t]
        conditions = [
            c for name in ("condition", "condition_id") for c in q.get(name, "").split(",") if c
        ]
        if bool(tokens) == bool(conditions) or len(tokens) > 50 or len(conditions) > 10:
            return refusal("token_id (50) or condition (10) is required", "token_id")
        found = [
            self._token(market, i)
            for market in self.exchange.markets.values()
            for i in (0, 1)
            if market.tokens[i] in tokens or market.condition in conditions
        ]
        return web.json_response({"data": found})

    def _token(self, market: SimMarket, index: int) -> dict[str, Any]:
        known = any(_STATUS[stage] == "resolved" for stage, _ in self._stages(market))
        final = markets.final_price(market, index) if known else None
        number = self._catalogue.number(market) + 1
        return {
            "token_id": market.tokens[index], "condition_id": market.condition,
            "structural_condition_id": None, "module": _MODULES[market.kind],
            "outcome_index": index, "clob_index": index, "outcome": market.outcomes[index],
            "opposite_token_id": market.tokens[1 - index], "resolved": known,
            "final_price": None if final is None else final / MICRO, "title": market.title,
            "market_slug": market.slug, "closed": market.ended, "neg_risk": market.neg_risk,
            "neg_risk_market_id": None, "question_index": None, "event_id": number,
            "event_slug": market.slug,
        }  # fmt: skip
