"""Websockets of the simulation: market channel, user channel, RTDS."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from bot.sim.book import Levels
from bot.sim.clob import Clob
from bot.sim.exchange import Exchange
from bot.sim.faults import Tap
from bot.sim.shown import shown_book, shown_trade
from bot.sim.world import MICRO, Row, SimMarket, SimOrder, SimTrade, text

QUEUE = 10_000  #: frames waiting for one client; a slower one is closed with 1013


@dataclass(eq=False)
class Client:
    """One open websocket and what it asked for."""

    tap: Tap
    wants: set[str] = field(default_factory=set)
    frames: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    slow: bool = False

    def send(self, frame: Any) -> None:
        """Queue a frame, or what its channel's fault makes of it."""
        self.put(self.tap.pour(frame if isinstance(frame, str) else json.dumps(frame)))
        self.slow |= self.tap.mode == "hang_up"

    def put(self, frames: list[str]) -> None:
        """Queue frames as they are."""
        for frame in frames:
            try:
                self.frames.put_nowait(frame)
            except asyncio.QueueFull:
                self.slow = True


class Streams:
    """Turns what happens at the exchange into frames."""

    def __init__(self, exchange: Exchange, clob: Clob) -> None:
        self.exchange, self._clob = exchange, clob
        self.market_clients: set[Client] = set()
        self.user_clients: set[Client] = set()
        self.rtds_clients: set[Client] = set()
        self._taps = {"user": Tap(), "market": Tap(), "rtds": Tap()}
        self._shown: dict[str, tuple[Levels, Levels]] = {}
        exchange.listeners.append(self._on)

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""

        async def market(request: web.Request) -> web.WebSocketResponse:
            return await self._serve(request, "market", self.market_clients, self._market_frame)

        async def user(request: web.Request) -> web.WebSocketResponse:
            return await self._serve(request, "user", self.user_clients, self._user_frame)

        async def rtds(request: web.Request) -> web.WebSocketResponse:
            return await self._serve(request, "rtds", self.rtds_clients, self._rtds_frame)

        return [web.get("/ws/market", market), web.get("/ws/user", user), web.get("/rtds", rtds)]

    def tap(self, channel: str, mode: str) -> None:
        """Change what becomes of a channel's frames: one of `Tap.MODES`."""
        held = self._taps[channel].set(mode)
        clients = {"user": self.user_clients, "market": self.market_clients, "rtds": self.rtds_clients}[channel]
        for client in clients:
            client.put(held)

    async def _serve(
        self, request: web.Request, channel: str, clients: set[Client], on_frame: Callable[[Client, Any], bool]
    ) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        await socket.prepare(request)
        client = Client(self._taps[channel])
        clients.add(client)
        writer = asyncio.create_task(self._write(socket, client))
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                if message.data == "PING":
                    # Silence is not an answer to PING either: that is what makes it hard to see.
                    client.put([] if client.tap.mode == "silent" else ["" if channel == "rtds" else "PONG"])
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
        tokens = set(frame.get("assets_ids", []))
        if frame.get("operation") == "unsubscribe":
            client.wants -= tokens
            return True
        client.wants |= tokens
        for token in sorted(tokens & self.exchange.by_token.keys()):
            client.send({"event_type": "book", **shown_book(self.exchange, token, self.exchange.by_token[token])})
        return True

    def _user_frame(self, client: Client, frame: Any) -> bool:
        auth = frame.get("auth") or {}
        key = self._clob.keys.get(auth.get("apiKey", ""))
        if key is None or (auth.get("secret"), auth.get("passphrase")) != (key.secret, key.passphrase):
            return False  # bad credentials: a silent close
        client.wants = {key.key}
        return True

    def _rtds_frame(self, client: Client, frame: Any) -> bool:
        if frame.get("action") == "subscribe":
            if not client.wants:
                client.send("")
            for item in frame.get("subscriptions", []):
                # Filters are accepted and deliver nothing, like the real ones.
                if item.get("topic") == "activity" and not item.get("filters"):
                    client.wants.add(item.get("type", ""))
        return True

    def activity(self, rows: list[Row]) -> None:
        """Announce the rows of one transaction: `trades` shows all, `orders_matched` the taker's."""
        for i, row in enumerate(rows):
            for kind in ("trades", "orders_matched") if i == 0 else ("trades",):
                frame = {
                    "connection_id": "sim", "topic": "activity", "type": kind,
                    "timestamp": self.exchange.now_us // 1000, "payload": row.rtds(),
                }  # fmt: skip
                text_frame = json.dumps(frame)
                for client in self.rtds_clients:
                    if kind in client.wants:
                        client.send(text_frame)

    def tick_changed(self, market: SimMarket, old: int) -> None:
        """Announce that a market's tick is another one now."""
        for token in market.tokens:
            frame = {
                "event_type": "tick_size_change", "market": market.condition, "asset_id": token,
                "old_tick_size": text(old), "new_tick_size": text(market.tick),
                "timestamp": str(self.exchange.now_us // 1000),
            }  # fmt: skip
            self._to(self.market_clients, token, frame)

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
            old = self._shown.get(token, ({}, {}))
            self._shown[token] = new
            changes = [
                {"asset_id": token, "price": text(p), "size": text(after.get(p, 0)), "side": side, "hash": "",
                 "best_bid": text(max(new[0], default=0)), "best_ask": text(min(new[1], default=MICRO))}
                for side, before, after in (("BUY", old[0], new[0]), ("SELL", old[1], new[1]))
                for p in sorted({*before, *after}) if before.get(p) != after.get(p)
            ]  # fmt: skip
            frame = {
                "event_type": "price_change", "market": market.condition, "price_changes": changes,
                "timestamp": str(self.exchange.now_us // 1000),
            }  # fmt: skip
            if changes:
                self._to(self.market_clients, token, frame)

    def _order(self, order: SimOrder, kind: str) -> None:
        if order.owner_key:
            stamp = str(self.exchange.now_us // 1000)
            frame = {
                "event_type": "order", "type": kind, "id": order.id, "owner": order.owner_key,
                "order_owner": order.owner_key, "market": order.market.condition, "asset_id": order.token,
                "side": order.side, "original_size": text(order.size), "size_matched": text(order.matched),
                "price": text(order.price), "status": order.status, "order_type": order.kind,
                "outcome": order.market.outcomes[order.market.tokens.index(order.token)],
                "created_at": str(order.created_s), "expiration": str(order.expiration_s),
                "associate_trades": order.trades or None, "maker_address": order.account.wallet, "timestamp": stamp,
            }  # fmt: skip
            self._to(self.user_clients, order.owner_key, frame)

    def _trade(self, trade: SimTrade) -> None:
        for key in {trade.taker.owner_key, *(p.order.owner_key for p in trade.pieces)} - {""}:
            shown = shown_trade(trade, key)
            frame = {
                **shown, "event_type": "trade", "type": "TRADE", "status": trade.status,
                "matchtime": shown["match_time"], "timestamp": str(self.exchange.now_us // 1000), "trade_owner": key,
            }  # fmt: skip
            self._to(self.user_clients, key, frame)
        if trade.status == "MATCHED":
            frame = {
                "event_type": "last_trade_price", "market": trade.taker.market.condition,
                "asset_id": trade.taker.token, "price": text(trade.usdc * MICRO // trade.shares),
                "size": text(trade.shares), "fee_rate_bps": "0", "side": trade.taker.side,
                "timestamp": str(self.exchange.now_us // 1000), "transaction_hash": trade.tx,
            }  # fmt: skip
            self._to(self.market_clients, trade.taker.token, frame)

    @staticmethod
    def _to(clients: set[Client], want: str, frame: dict[str, Any]) -> None:
        if any(want in client.wants for client in clients):
            encoded = json.dumps(frame)
            for client in clients:
                if want in client.wants:
                    client.send(encoded)


def _json(raw: str) -> Any:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
