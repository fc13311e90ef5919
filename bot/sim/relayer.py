"""The one read of the relayer that clients make before they trade from a smart wallet."""

from aiohttp import web

from bot.sim.exchange import Exchange


class RelayerServer:
    """Routes of the relayer. It carries nothing out here: a drill's director redeems."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        return [web.get("/deployed", self.deployed)]

    async def deployed(self, request: web.Request) -> web.Response:
        """GET /deployed?address=: whether there is code at a wallet's address."""
        account = self.exchange.accounts.get(request.query.get("address", "").lower())
        found = account is not None and account.signature_type != 0
        return web.json_response({"deployed": found})
