"""Websockets of the simulation: market channel, user channel, RTDS."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from bot.sim.auth import Keys
from bot.sim.book import Levels
from bot.sim.entities import SimMarket, SimOrder, SimTrade, text
from bot.sim.exchange import Exchange
from bot.sim.render import (
    changes,
    last_trade_frame,
    new_market_frame,
    order_frame,
    shown_book,
    trade_frame,
)
from bot.sim.rows import FeedRow
from bot.sim.taps import Client, Tap

#: Assets one connection of the market channel gets; more are dropped without a word (documented).
CEILING = 500


class Streams:
    """Turns what happens at the exchange into frames."""

    def __init__(self, exchange: Exchange, keys: Keys, ceiling: int = CEILING) -> None:
        self.exchange, self._keys, self.ceiling = exchange, keys, ceiling
        self.market_clients: set[Client] = set()
        self.user_clients: set[Client] = set()
        self.rtds_clients: set[Client] = set()
        self.rtt_s = 0.0  #: how long a subscription takes to arrive
        self.beyond = 0  #: assets that were asked for above the ceiling
        self.taps = {"user": Tap(), "market": Tap(), "rtds": Tap()}
        self._clients = {
            "user": self.user_clients,
            "market": self.market_clients,
            "rtds": self.rtds_clients,
        }
        self._shown: dict[str, tuple[Levels, Levels]] = {}
        exchange.listeners.append(self._on)

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""

        async def market(request: web.Request) -> web.WebSocketResponse:
            return await self._serve(request, "market", self._market_frame)

        async def user(request: web.Request) -> web.WebSocketResponse:
            return await self._serve(request, "user", self._user_frame)

        async def rtds(request: web.Request) -> web.WebSocketResponse:
            return await self._serve(request, "rtds", self._rtds_frame)

        return [web.get("/ws/market", market), web.get("/ws/user", user), web.get("/rtds", rtds)]

    def tap(self, channel: str, mode: str) -> None:
        """Change what becomes of a channel's frames: one of `Tap.MODES`."""
        held = self.taps[channel].set(mode)
        for client in self._clients[channel]:
            client.put(held)
            if mode == "lapsed":
                client.lapse()
            else:
                client.recover()

    async def _serve(
        self, request: web.Request, channel: str, on_frame: Callable[[Client, Any], bool]
    ) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        await socket.prepare(request)
        client, clients = Client(self.taps[channel]), self._clients[channel]
        clients.add(client)
        writer = asyncio.create_task(self._write(socket, client))
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                if message.data == "PING":
                    silent = client.tap.mode == "silent"
                    client.put([] if silent else ["" if channel == "rtds" else "PONG"])
                elif channel == "market" and self.rtt_s:
                    # What is asked for comes a round trip later, as every answer does.
                    later = asyncio.get_running_loop().call_later
                    later(self.rtt_s, on_frame, client, _json(message.data))
                elif not on_frame(client, _json(message.data)):
                    break
        finally:
            clients.discard(client)
            writer.cancel()
            await socket.close()
        return socket

    @staticmethod
    async def _write(socket: web.WebSocketResponse, client: Client) -> None:
        while not client.slow:
            await socket.send_str(await client.frames.get())
        await socket.close(code=1013)

    def _market_frame(self, client: Client, frame: Any) -> bool:
        tokens = list(dict.fromkeys(frame.get("assets_ids", [])))
        if frame.get("operation") == "unsubscribe":
            client.unsubscribe(set(tokens))
            return True
        client.custom |= frame.get("custom_feature_enabled") is True
        fresh = [token for token in tokens if token not in client.wants]
        room = max(self.ceiling - len(client.wants), 0)
        self.beyond += len(fresh[room:])
        # What is subscribed already is a duplicate: it is not sent again.
        for token in sorted(client.subscribe(set(fresh[:room]))):
            market = self.exchange.by_token.get(token)
            if market is not None and not market.ended:
                client.send({"event_type": "book", **shown_book(self.exchange, token, market)})
        return True

    def _user_frame(self, client: Client, frame: Any) -> bool:
        auth = frame.get("auth") or {}
        key = self._keys.known.get(auth.get("apiKey", ""))
        if key is None or (auth.get("secret"), auth.get("passphrase")) != (
            key.secret,
            key.passphrase,
        ):
            return False  # bad credentials: a silent close
        client.subscribe({key.key})
        return True

    def _rtds_frame(self, client: Client, frame: Any) -> bool:
        if frame.get("action") == "subscribe":
            if not client.wants:
                client.send("")
            for item in frame.get("subscriptions", []):
                # Filters are accepted and deliver nothing, like the real ones.
                if item.get("topic") == "activity" and not item.get("filters"):
                    client.subscribe({item.get("type", "")})
        return True

    def activity(self, rows: list[FeedRow]) -> None:
        """Announce the rows of a transaction: `trades` shows all, `orders_matched` the taker's."""
        for i, row in enumerate(rows):
            for kind in ("trades", "orders_matched") if i == 0 else ("trades",):
                frame = {
                    "connection_id": "sim", "topic": "activity", "type": kind,
                    "timestamp": self.exchange.now_us // 1000, "payload": row.rtds(),
                }  # fmt: skip
                self._to(self.rtds_clients, kind, frame)

    def tick_changed(self, market: SimMarket, old: int) -> None:
        """Announce that a market's tick is another one now."""
        for token in market.tokens:
            frame = {
                "event_type": "tick_size_change", "market": market.condition, "asset_id": token,
                "old_tick_size": text(old), "new_tick_size": text(market.tick),
                "timestamp": str(self.exchange.now_us // 1000),
            }  # fmt: skip
            self._to(self.market_clients, token, frame)

    def listed(self, market: SimMarket, number: int) -> None:
        """Announce a new market to everybody who asked for such events, whatever they watch."""
        frame = new_market_frame(market, number, self.exchange.now_us)
        for client in self.market_clients:
            if client.custom and client.wants:
                client.send(frame)

    def resolved(self, market: SimMarket, number: int, *, winner: bool) -> None:
        """Announce a resolution to those who asked for such events: without payouts.

        Who won is left out where the market is split, or where it is told to be.
        """
        frame: dict[str, Any] = {
            "event_type": "market_resolved", "id": str(number + 1), "market": market.condition,
            "assets_ids": list(market.tokens), "timestamp": str(self.exchange.now_us // 1000),
            "tags": [],
        }  # fmt: skip
        if winner and market.payouts is not None and 0 in market.payouts:
            index = 0 if market.payouts[0] else 1
            frame["winning_asset_id"] = market.tokens[index]
            frame["winning_outcome"] = market.outcomes[index]
        encoded = json.dumps(frame)
        for client in self.market_clients:
            wanted = [client.wishes(token) for token in market.tokens]
            if client.custom and any(wanted):
                client.send(encoded)

    def _on(self, kind: str, data: Any) -> None:
        if kind == "book":
            self._book(data)
        elif kind == "order":
            self._order(*data)
        elif kind == "trade":
            self._trade(data)

    def _book(self, market: SimMarket) -> None:
        for token in market.tokens:
            new = self.exchange.books[market.condition].levels(token)
            found = changes(token, self._shown.get(token, ({}, {})), new)
            self._shown[token] = new
            frame = {
                "event_type": "price_change", "market": market.condition, "price_changes": found,
                "timestamp": str(self.exchange.now_us // 1000),
            }  # fmt: skip
            if found:
                self._to(self.market_clients, token, frame)

    def _order(self, order: SimOrder, kind: str) -> None:
        if order.owner_key:
            frame = order_frame(order, kind, self.exchange.now_us)
            self._to(self.user_clients, order.owner_key, frame)

    def _trade(self, trade: SimTrade) -> None:
        now = self.exchange.now_us
        for key in {trade.taker.owner_key, *(p.order.owner_key for p in trade.pieces)} - {""}:
            self._to(self.user_clients, key, trade_frame(trade, key, now))
        if trade.status == "MATCHED":
            self._to(self.market_clients, trade.taker.token, last_trade_frame(trade, now))

    @staticmethod
    def _to(clients: set[Client], want: str, frame: dict[str, Any]) -> None:
        takers = [client for client in clients if client.wishes(want)]
        if takers:
            encoded = json.dumps(frame)
            for client in takers:
                client.send(encoded)


def _json(raw: str) -> Any:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
