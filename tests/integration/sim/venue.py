"""A served simulation, a client that signs for it, and what its streams have said."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from py_clob_client_v2 import ClobClient, MarketOrderArgs, OrderArgs, OrderType, Side
from py_clob_client_v2.clob_types import RequestArgs
from py_clob_client_v2.headers.headers import create_level_2_headers
from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2

from bot.sim.plan import Plan
from bot.sim.server import Simulation, serving
from tests.rig import PATIENCE_S, until

__all__ = ["CALM", "M", "Plan", "Venue", "until", "venue"]
M = 1_000_000
CALM = Plan(failed_share=0, retried_share=0, rtds_delay_ms=0, data_lag_ms=0)
TYPES = {name: getattr(OrderType, name) for name in ("GTC", "GTD", "FAK", "FOK")}


@dataclass
class Heard:
    """One websocket and everything it has said so far."""

    socket: aiohttp.ClientWebSocketResponse
    frames: list[Any] = field(default_factory=list)
    pongs: int = 0

    async def say(self, frame: Any) -> None:
        await self.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def read(self) -> None:
        async for message in self.socket:
            if message.data in ("", "PONG"):
                self.pongs += 1
            else:
                self.frames.append(json.loads(message.data))

    async def pinged(self) -> None:
        """Wait for the answer to a PING: whatever was sent before it has been heard then."""
        before = self.pongs
        await self.say("PING")
        await until(lambda: self.pongs > before, "a pong")

    def of(self, kind: str) -> list[Any]:
        return [f for f in self.frames if kind in (f.get("event_type"), f.get("topic"))]


@dataclass
class Venue:
    """A running simulation as a drill sees it."""

    sim: Simulation
    addresses: dict[str, Any]
    http: aiohttp.ClientSession
    client: ClobClient

    def market(self, number: int = 0):
        return list(self.sim.exchange.markets.values())[number]

    async def do(self, order: str, **arguments: Any) -> dict[str, Any]:
        """Give an order to the director; it must succeed."""
        answer = await self.ask(order, **arguments)
        assert answer.get("ok"), answer
        return answer

    async def ask(self, order: str, **arguments: Any) -> dict[str, Any]:
        url = f"{self.addresses['clob_url']}/sim/do"
        async with self.http.post(url, json={"order": order, **arguments}) as answer:
            return await answer.json()

    async def idle(self) -> list[str]:
        return (await self.do("idle"))["idle"]

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        """Read something public."""
        async with self.http.get(self.addresses["clob_url"] + path, params=params) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text[:1] in '{["' else text

    async def asked(
        self, method: str, path: str, body: Any = None, **params: Any
    ) -> tuple[int, Any]:
        """Send a request signed with our API key."""
        text = "" if body is None else json.dumps(body, separators=(",", ":"))
        request = RequestArgs(method=method, request_path=path, serialized_body=text or None)
        headers = create_level_2_headers(self.client.signer, self.client.creds, request)
        url = self.addresses["clob_url"] + path
        async with self.http.request(
            method, url, data=text or None, headers=headers, params=params
        ) as answer:
            found = await answer.text()
            return answer.status, json.loads(found) if found[:1] in "{[" else found

    def signed(
        self,
        price: float,
        size: float,
        side: str = "BUY",
        kind: str = "GTC",
        *,
        market: int = 0,
        outcome: int = 0,
        expiration: int = 0,
        post_only: bool = False,
    ) -> dict[str, Any]:
        """Return the body of a POST /order; for a market BUY `size` is dollars."""
        asset, sides = self.market(market).tokens[outcome], {"BUY": Side.BUY, "SELL": Side.SELL}
        if kind in ("FAK", "FOK"):
            order = self.client.create_market_order(
                MarketOrderArgs(
                    token_id=asset,
                    amount=size,
                    price=price,
                    side=sides[side],
                    order_type=TYPES[kind],
                )
            )
        else:
            order = self.client.create_order(
                OrderArgs(
                    token_id=asset, price=price, size=size, side=sides[side], expiration=expiration
                )
            )
        body = order_to_json_v2(order, self.client.creds.api_key, TYPES[kind])
        return {**body, "postOnly": True} if post_only else body

    async def order(self, *args: Any, **more: Any) -> tuple[int, Any]:
        """Sign and post an order."""
        body = await asyncio.to_thread(lambda: self.signed(*args, **more))
        return await self.asked("POST", "/order", body)

    async def trades(self) -> list[dict[str, Any]]:
        return (await self.asked("GET", "/data/trades"))[1]["data"]

    async def activity(self, wallet: str, **params: Any) -> list[dict[str, Any]]:
        self.sim.data._cache.clear()
        return (await self.get("/v2/activity", user=wallet, **params))[1]["data"]

    async def positions(self, wallet: str, **params: Any) -> list[dict[str, Any]]:
        self.sim.data._cache.clear()
        return (await self.get("/v2/positions", user=wallet, **params))[1]["data"]

    async def eventually(self, read: Any, what: str) -> Any:
        """Ask again and again until the answer is a true one; return it."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := await read()):
            assert time.monotonic() < deadline, f"never happened: {what}"
            await asyncio.sleep(0.02)
        return found

    @contextlib.asynccontextmanager
    async def listening(self, channel: str, *frames: Any) -> AsyncIterator[Heard]:
        """Open a channel and subscribe."""
        async with self.http.ws_connect(
            self.addresses[f"{channel}_ws_url" if channel != "rtds" else "rtds_url"]
        ) as ws:
            heard = Heard(ws)
            reader = asyncio.create_task(heard.read())
            for frame in frames or (self.subscription(channel),):
                await heard.say(frame)
            await heard.pinged()
            try:
                yield heard
            finally:
                reader.cancel()

    def subscription(self, channel: str) -> dict[str, Any]:
        creds = self.client.creds
        auth = {
            "apiKey": creds.api_key,
            "secret": creds.api_secret,
            "passphrase": creds.api_passphrase,
        }
        return {
            "user": {"type": "user", "auth": auth},
            "market": {
                "type": "market", "assets_ids": list(self.market().tokens),
                "custom_feature_enabled": True,
            },
            "rtds": {"action": "subscribe", "subscriptions": [
                {"topic": "activity", "type": "trades"},
                {"topic": "activity", "type": "orders_matched"},
            ]},
        }[channel]  # fmt: skip


@contextlib.asynccontextmanager
async def venue(plan: Plan = CALM) -> AsyncIterator[Venue]:
    """Serve a simulation whose leaders do only what they are told, and log in."""
    async with serving(plan) as (sim, addresses), aiohttp.ClientSession() as http:

        def login() -> ClobClient:
            client = ClobClient(
                host=addresses["clob_url"],
                chain_id=137,
                key=addresses["private_key"],
                signature_type=addresses["signature_type"],
                funder=addresses["wallet"] if addresses["signature_type"] else None,
            )
            client.set_api_creds(client.create_or_derive_api_key())
            return client

        yield Venue(sim, addresses, http, await asyncio.to_thread(login))
