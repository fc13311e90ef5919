"""The program: one exchange, its feeds and its story on one loopback port.

`/sim/...` is the checker's view and is not part of Polymarket: start the story, and read what
is true. The bot never asks it.
"""

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.errors import ConfigError
from bot.sim import crypto, feed
from bot.sim.clob import Clob, answer_refusals
from bot.sim.data import DataApi
from bot.sim.director import Director
from bot.sim.exchange import Exchange, Timing
from bot.sim.faults import Faults
from bot.sim.scenario import DEPTH, LEVELS, RICH, Scenario
from bot.sim.streams import Streams
from bot.sim.world import MICRO, Account, Row

TICK_S = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate: a seed, a port (0: any), a script or a recorded feed, and how fast."""

    seed: int = 1
    port: int = 0
    collateral: int = 1_000 * MICRO
    signature_type: int = 0
    feed: str | None = None
    trades: int = 72
    gap_ms: int = 150
    rtds_delay_ms: int = 50
    data_lag_ms: int = 1_000
    mined_ms: int = 300
    confirmed_ms: int = 500
    failed_share: float = 0.03
    retried_share: float = 0.05
    #: A recorded session is played this many times faster, and each row of it so many times.
    feed_speed: int = 20
    repeat: int = 1
    #: Tell the scripted story again and again.
    loop: bool = False


class Simulation:
    """One running simulated Polymarket."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        timing = Timing(plan.mined_ms * 1000, plan.confirmed_ms * 1000, plan.failed_share, plan.retried_share)
        self.exchange = Exchange(self.rng, timing, now_us=_now())
        self.clob = Clob(self.exchange, plan.seed)
        self.data = DataApi(self.exchange, plan.data_lag_ms * 1000)
        self.streams = Streams(self.exchange, self.clob)
        self.key = crypto.random_key(self.rng)
        owner = crypto.address_of(self.key)
        wallet = owner if plan.signature_type == 0 else crypto.random_address(self.rng)
        self.trader = self.exchange.add_account(
            Account(wallet, owner=owner, signature_type=plan.signature_type, collateral=plan.collateral, name="trader")
        )
        self.faults = Faults()
        self.director: Director | None = None
        self.facts: list[Row] = []
        self.finished, self._looping = False, plan.loop
        self._waiting: list[tuple[int, list[Row]]] = []
        self._steps = self._script(plan)
        self.exchange.listeners.append(self._on)

    def _script(self, plan: Plan) -> list[tuple[int, Callable[[], None]]]:
        if plan.feed is None:
            self._story = Scenario(self.exchange, trades=plan.trades, gap_us=plan.gap_ms * 1000)
            self.leaders = [account.wallet for account in self._story.leaders]
            self.director = Director(
                self._story, self.faults, self.streams, self.trader, lambda: list(self.facts), self._stop
            )
            return self._tell_again()
        markets, recorded = feed.load(Path(plan.feed), self.rng, _now() // MICRO)
        for market in markets:
            self.exchange.add_market(market)
        self._quoter = self.exchange.add_account(
            Account(crypto.random_address(self.rng), name="maker", collateral=RICH)
        )
        self.leaders = sorted({row.wallet for tx in recorded for row in tx.facts})
        return [(tx.at_us // plan.feed_speed, lambda tx=tx: self._replay(tx)) for tx in recorded]  # type: ignore[misc]

    def _stop(self) -> None:
        self._looping, self._steps = False, []

    def _tell_again(self) -> list[tuple[int, Callable[[], None]]]:
        return [(i * self._story.gap_us, step) for i, step in enumerate(self._story.write())]

    def _replay(self, tx: feed.Recorded) -> None:
        now_s = self.exchange.now_us // MICRO
        facts, sent = ([_at(row, now_s) for row in rows] for rows in (tx.facts, tx.sent))
        self._quote_around(facts[0])
        self.facts += facts
        self.data.publish(facts)
        for _ in range(self.plan.repeat):
            self._waiting.append((self.exchange.now_us + self.plan.rtds_delay_ms * 1000, list(sent)))

    def _quote_around(self, row: Row) -> None:
        market = row.market
        book = self.exchange.books[market.condition]
        for order in list(book.orders.values()):
            self.exchange.cancel(order.id, "")
        for token in market.tokens:
            self._quoter.shares[token] = RICH
        yes = row.price if row.token == market.tokens[0] else MICRO - row.price
        for i in range(1, LEVELS + 1):
            for side, price in (("BUY", yes - i * market.tick), ("SELL", yes + i * market.tick)):
                if market.tick <= price <= MICRO - market.tick:
                    self.exchange.inside(self._quoter, market.tokens[0], side, price, DEPTH, "GTC")

    def _on(self, kind: str, data: Any) -> None:
        if kind == "rows":
            self.facts += [row for row in data if row.wallet in self.leaders]
            self.data.publish(data)
            self._waiting.append((self.exchange.now_us + self.plan.rtds_delay_ms * 1000, data))

    async def run(self, started: asyncio.Event) -> None:
        """Drive time; once `started`, play the story to its end."""
        begun: int | None = None
        while True:
            now = _now()
            self.exchange.tick(now)
            if started.is_set():
                begun = begun or now
                while self._steps and self._steps[0][0] <= now - begun:
                    self._steps.pop(0)[1]()
            muted = self.director is not None and self.director.mute_feed
            for _, rows in [w for w in self._waiting if w[0] <= now and not muted]:
                self.streams.activity(rows)
            if self._looping and begun is not None and not self._steps and self.plan.feed is None:
                begun, self._steps = now, self._tell_again()
            self._waiting = [w for w in self._waiting if w[0] > now]
            self.finished = begun is not None and not self._steps and not self._waiting
            await asyncio.sleep(TICK_S)

    def addresses(self, port: int) -> dict[str, Any]:
        """Return what a client needs to trade here."""
        http, ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        return {
            "clob_url": http, "market_ws_url": f"{ws}/ws/market", "user_ws_url": f"{ws}/ws/user", "data_url": http,
            "gamma_url": f"{http}/gamma", "rtds_url": f"{ws}/rtds", "chain_id": 137, "private_key": self.key,
            "wallet": self.trader.wallet, "signature_type": self.plan.signature_type, "leaders": self.leaders,
            "markets": [
                {"condition": m.condition, "tokens": m.tokens, "title": m.title, "kind": m.kind}
                for m in self.exchange.markets.values()
            ],
        }  # fmt: skip

    def truth(self) -> dict[str, Any]:
        """Return what is true at this moment, for the checker."""
        groups: dict[tuple[str, str, str, str], int] = {}
        for row in self.facts:
            groups[row.group()] = groups.get(row.group(), 0) + row.shares
        pending = [t.id for t in self.exchange.trades.values() if t.status not in ("CONFIRMED", "FAILED")]
        return {
            "finished": self.finished, "settled": not pending, "steps_left": len(self._steps),
            "leader_trades": [[*group, shares] for group, shares in groups.items()],
            "orders": self.exchange.outside, "duplicates_refused": self.exchange.duplicates,
            "collateral": self.trader.collateral, "shares": {t: s for t, s in self.trader.shares.items() if s},
        }  # fmt: skip


def _at(row: Row, traded_s: int) -> Row:
    return Row(row.tx, row.wallet, row.token, row.side, row.shares, row.usdc, row.price, row.market, row.name, traded_s)


def _now() -> int:
    return time.time_ns() // 1000


@contextlib.asynccontextmanager
async def serving(plan: Plan, *, start: bool = False) -> AsyncIterator[tuple[Simulation, dict[str, Any]]]:
    """Serve a simulation on loopback; yield it and its addresses. Raises ConfigError for a taken port."""
    simulation = Simulation(plan)
    started = asyncio.Event()

    async def begin(_: web.Request) -> web.Response:
        started.set()
        return web.json_response({"ok": True})

    async def truth(_: web.Request) -> web.Response:
        return web.json_response(simulation.truth())

    app = web.Application(middlewares=[simulation.faults.middleware(), answer_refusals], client_max_size=1 << 20)
    app.add_routes([*simulation.clob.routes(), *simulation.data.routes(), *simulation.streams.routes()])
    app.add_routes([web.post("/sim/start", begin), web.get("/sim/truth", truth)])
    if simulation.director is not None:
        app.add_routes([web.post("/sim/do", simulation.director.do)])
    if start:
        started.set()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", plan.port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(f"--port {plan.port}: {error.strerror or error}; choose another, or 0 for any") from None
    driver = asyncio.create_task(simulation.run(started))
    try:
        yield simulation, simulation.addresses(runner.addresses[0][1])
    finally:
        driver.cancel()
        await asyncio.gather(driver, return_exceptions=True)
        await runner.cleanup()


async def _serve(plan: Plan, start: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unheard)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(plan, start=start) as (_, addresses):
        print(json.dumps(addresses), flush=True)
        await stop.wait()


def _unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # A client that was killed in the middle of a frame is what a simulation is for.
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)


def main(plan: Plan, *, start: bool) -> None:
    """Serve until SIGTERM or SIGINT; print the addresses as one JSON line first."""
    asyncio.run(_serve(plan, start))


if __name__ == "__main__":
    try:
        main(Plan(**json.loads(sys.argv[1])), start=False)
    except ConfigError as problem:
        print(json.dumps({"error": str(problem)}), flush=True)
        sys.exit(problem.exit_code)
