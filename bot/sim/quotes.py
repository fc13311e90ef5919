"""Public reads of the CLOB about one market: books, prices, ticks, facts."""

from typing import Any

from aiohttp import web

from bot.sim.entities import MICRO, SimMarket, text
from bot.sim.exchange import Exchange
from bot.sim.render import shown_book
from bot.sim.rules import Refused


class QuoteServer:
    """Routes over the books of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        get, post = web.get, web.post
        return [
            get("/time", self.time), get("/ok", self.ok), get("/version", self.version),
            get("/book", self.book), post("/books", self.books), get("/price", self.price),
            get("/midpoint", self.midpoint), get("/spread", self.spread),
            get("/tick-size", self.tick_size), get("/neg-risk", self.neg_risk),
            get("/fee-rate", self.fee_rate), get("/last-trade-price", self.last_trade_price),
            get("/markets-by-token/{token}", self.by_token),
            get("/clob-markets/{condition}", self.clob_market),
        ]  # fmt: skip

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
        if market is None or market.ended:
            raise Refused("No orderbook exists for the requested token id", 404)
        return token, market

    async def book(self, request: web.Request) -> web.Response:
        """GET /book: gone for good once trading is over."""
        return web.json_response(shown_book(self.exchange, *self._market(request)))

    async def books(self, request: web.Request) -> web.Response:
        """POST /books: unknown ids, and those of ended markets, are dropped without a word."""
        found = []
        for item in await request.json():
            market = self.exchange.by_token.get(item["token_id"])
            if market is not None and not market.ended:
                found.append(shown_book(self.exchange, item["token_id"], market))
        return web.json_response(found)

    def _best(self, token: str, market: SimMarket) -> tuple[int, int]:
        bids, asks = self.exchange.books[market.condition].levels(token)
        return max(bids, default=0), min(asks, default=MICRO)

    async def price(self, request: web.Request) -> web.Response:
        """GET /price: BUY gives the best bid, SELL the best ask."""
        bid, ask = self._best(*self._market(request))
        price = bid if request.query.get("side") == "BUY" else ask
        return web.json_response({"price": text(price)})

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
        price = text(self._market(request)[1].last_price)
        return web.json_response({"price": price, "side": "BUY"})

    async def by_token(self, request: web.Request) -> web.Response:
        """GET /markets-by-token/{token}."""
        market = self.exchange.by_token.get(request.match_info["token"])
        if market is None:
            raise Refused("market not found", 404)
        names = ("condition_id", "primary_token_id", "secondary_token_id")
        values = (market.condition, *market.tokens)
        return web.json_response(dict(zip(names, values, strict=True)))

    async def clob_market(self, request: web.Request) -> web.Response:
        """GET /clob-markets/{condition}: no `nr` where false, no `fd` where there is no fee.

        A market that was only named so far is not found, or has tokens without ids.
        """
        market = self.exchange.markets.get(request.match_info["condition"])
        early = market is not None and market.listed_us > self.exchange.now_us
        if market is None or (early and int(market.condition[-1], 16) % 2):
            raise Refused("market not found", 404)
        facts: dict[str, Any] = {
            "t": [{"t": t, "o": o} for t, o in zip(market.tokens, market.outcomes, strict=True)],
            "c": market.condition, "mos": market.min_shares / MICRO, "mts": market.tick / MICRO,
            "mbf": 1000, "tbf": 1000, "ao": market.accepting, "v": market.version,
            "fd": {"r": market.fee_rate / MICRO, "e": market.fee_exponent, "to": True},
            "r": {"mi": 0, "ma": 0, "moas": 0}, "cbos": False,
        }  # fmt: skip
        if market.neg_risk:
            facts["nr"] = True
        if not market.fee_rate:
            del facts["fd"]
        if early:
            facts["t"] = [{"t": "", "o": ""}, {"t": "", "o": ""}]
        return web.json_response(facts)
