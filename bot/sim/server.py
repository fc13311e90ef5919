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
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.errors import ConfigError
from bot.sim import crypto, feed, logs, wallets
from bot.sim.auth import Keys
from bot.sim.catalogue import CatalogueServer
from bot.sim.chain import Block
from bot.sim.clob import ClobServer, answer_refusals
from bot.sim.crowd import Crowd
from bot.sim.data import DataServer
from bot.sim.director import Director
from bot.sim.entities import MICRO, Account, SimTrade
from bot.sim.exchange import Exchange, Timing
from bot.sim.faults import Faults
from bot.sim.gate import Gate
from bot.sim.limits import Limits
from bot.sim.plan import Plan
from bot.sim.quotes import QuoteServer
from bot.sim.relayer import RelayerServer
from bot.sim.resolutions import ResolutionServer
from bot.sim.rows import FeedRow, rows_of
from bot.sim.rpc import RpcServer
from bot.sim.scenario import DEPTH, LEVELS, RICH, Scenario
from bot.sim.stopwatch import Stopwatch
from bot.sim.streams import Streams

TICK_S = 0.02


class Simulation:
    """One running simulated Polymarket."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        timing = Timing(
            block=plan.block_ms * 1000,
            mined=plan.mined_ms * 1000,
            confirmed=plan.confirmed_ms * 1000,
            failed_share=plan.failed_share,
            retried_share=plan.retried_share,
        )
        self.exchange = Exchange(self.rng, timing, now_us=_now(), grit=plan.grit)
        self.keys = Keys(self.exchange, plan.seed)
        self.clob = ClobServer(self.exchange, self.keys, ended_lookups=plan.ended_lookups)
        self.data = DataServer(self.exchange, *plan.data_lags_us())
        self.catalogue = CatalogueServer(self.exchange)
        self.stopwatch = Stopwatch()
        self.exchange.chain.listeners.append(self._sealed)  # before anybody is told
        self.rpc = RpcServer(self.exchange, self.exchange.chain)
        self.streams = Streams(self.exchange, self.keys, plan.max_assets)
        self.faults, self.gate, self.limits = Faults(), Gate(), Limits(plan.limits)
        self.key = crypto.random_key(self.rng)
        owner = crypto.address_of(self.key)
        self.trader = self.exchange.add_account(
            Account(
                wallets.derived(owner, plan.signature_type, beacon=not plan.uups),
                owner=owner,
                signature_type=plan.signature_type,
                collateral=plan.collateral,
                name="trader",
            )
        )
        self.director: Director | None = None
        self.crowd: Crowd | None = None
        self.facts: list[FeedRow] = []
        self.undone: list[FeedRow] = []  #: was in a block, and is in none
        self.credits: dict[str, int] = {}  #: cash of ours that moved by itself, by kind
        self.finished, self._looping = False, plan.loop
        self._waiting: list[tuple[int, list[FeedRow], bool]] = []
        self._steps = self._script(plan)
        self.exchange.listeners.append(self._on)

    def routes(self) -> list[web.RouteDef]:
        """Return every route of Polymarket."""
        servers = (
            self.keys,
            self.clob,
            QuoteServer(self.exchange),
            self.catalogue,
            self.data,
            ResolutionServer(self.catalogue, self.data),
            RelayerServer(self.exchange),
            self.gate,
            self.rpc,
            self.streams,
        )
        return [route for server in servers for route in server.routes()]

    def middlewares(self) -> list[Any]:
        """Return what a request passes through, outermost first."""
        passed = (self.stopwatch, self.faults, self.limits, self.gate)
        return [*(each.middleware() for each in passed), answer_refusals]

    def _script(self, plan: Plan) -> list[tuple[int, Callable[[], None]]]:
        if plan.feed is None:
            self.story = Scenario(self.exchange, trades=plan.trades, gap_us=plan.gap_ms * 1000)
            self.leaders = [account.wallet for account in self.story.leaders]
            self.director = Director(self, self.story)
            if plan.crowd is not None:
                self.crowd = Crowd(self, *plan.crowd)
                self.leaders = self.crowd.wallets
                return []
            return self._tell_again()
        markets, recorded = feed.load(Path(plan.feed), self.rng, _now() // MICRO)
        for market in markets:
            self.exchange.add_market(market)
        self._quoter = self.exchange.add_account(
            Account(crypto.random_address(self.rng), name="maker", collateral=RICH)
        )
        self.leaders = sorted({row.wallet for tx in recorded for row in tx.facts})
        return [
            (
                tx.at_us // plan.feed_speed,
                lambda tx=tx: self._replay(tx),  # type: ignore[misc]
            )
            for tx in recorded
        ]

    def stop(self) -> None:
        """End the story: nothing more is told."""
        self._looping, self._steps = False, []

    def _tell_again(self) -> list[tuple[int, Callable[[], None]]]:
        return [(i * self.story.gap_us, step) for i, step in enumerate(self.story.write())]

    def _replay(self, tx: feed.Recorded) -> None:
        now_s = self.exchange.now_us // MICRO
        facts, sent = (
            [replace(row, traded_s=now_s) for row in rows] for rows in (tx.facts, tx.sent)
        )
        self._quote_around(facts[0])
        self.facts += facts
        self.data.publish(facts)
        self._mine(facts)
        for _ in range(self.plan.repeat if sent else 0):
            self.announce(list(sent))

    def _crowd_on(self, crowd: Crowd, now_us: int) -> None:
        for rows, leads in crowd.due(now_us):
            self.announce(rows)
            self.data.publish(rows)
            if leads:
                self.facts.append(rows[0])
                self._hold(rows[0])
            self.exchange.chain.include(logs.recorded(rows))

    def announce(self, rows: list[FeedRow], *, after_us: int = 0, mined: bool = False) -> None:
        """Let the real-time stream show rows, as late as it always is, and `after_us` later.

        `mined`: they are of one transaction, which is in a block soon after.
        """
        shown_us = self.exchange.now_us + self.plan.rtds_delay_ms * 1000
        self._waiting.append((shown_us + after_us, rows, mined))

    def _mine(self, rows: Sequence[FeedRow]) -> None:
        """Let what was recorded, or made up, be in a block, and in the wallets' balances."""
        for row in rows:
            self._hold(row)
        self.exchange.chain.include(logs.recorded(rows))

    def _hold(self, row: FeedRow) -> None:
        known = self.exchange.accounts.get(row.wallet.lower())
        who = known or self.exchange.add_account(Account(row.wallet, name=row.name))
        if row.side == "BUY":
            self.exchange.move(who, row.token, row.shares)
        elif who.shares.get(row.token, 0) >= row.shares:
            self.exchange.move(who, row.token, -row.shares)
        else:  # what it had before the recording began is not known: it had this
            self.exchange.move(who, row.token, -who.shares.get(row.token, 0))

    def _sealed(self, _: list[Block], come: list[Block]) -> None:
        if self.crowd is not None:
            return
        leaders = {wallet.lower() for wallet in self.leaders}
        for block in come:
            for transaction in block.transactions:
                self.stopwatch.mined(t for wallet, t in transaction.changes if wallet in leaders)

    def _quote_around(self, row: FeedRow) -> None:
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
            rows = rows_of(data, data.at_us // MICRO)
            self.facts += [row for row in rows if row.wallet in self.leaders]
            self.announce(rows)
        elif kind == "rehashed":
            old, new = data
            self.facts = [replace(row, tx=new) if row.tx == old else row for row in self.facts]
        elif kind == "trade":
            self._settled(data)
        elif kind == "cash":
            self.data.moved(data)
            if data.wallet == self.trader.wallet:
                self.credits[data.kind] = self.credits.get(data.kind, 0) + data.usdc

    def _settled(self, trade: SimTrade) -> None:
        # The stream tells of a match. The index, and the truth, know what came of it.
        if trade.status == "MINED":
            self.data.mined(trade)
        elif trade.status == "FAILED":
            self.facts = [row for row in self.facts if row.tx != trade.tx]

    async def run(self, started: asyncio.Event) -> None:
        """Drive time; once `started`, play the story to its end."""
        begun: int | None = None
        leaders = frozenset(self.leaders)
        while True:
            now = _now()
            self.exchange.tick(now)
            if started.is_set():
                begun = begun or now
                while self._steps and self._steps[0][0] <= now - begun:
                    self._steps.pop(0)[1]()
                if self.crowd is not None:
                    self._crowd_on(self.crowd, now)
            muted = self.director is not None and self.director.mute_feed
            for _, rows, mined in [w for w in self._waiting if w[0] <= now and not muted]:
                if mined:
                    self._mine(rows)
                self.stopwatch.announced(row for row in rows if row.wallet in leaders)
                self.streams.activity(rows)
            if self._looping and begun is not None and not self._steps and self.plan.feed is None:
                begun, self._steps = now, self._tell_again()
            self._waiting = [w for w in self._waiting if w[0] > now]
            waits = self._waiting or self.exchange.settlement.on_the_way()
            self.finished = begun is not None and not self.steps_left and not waits
            await asyncio.sleep(TICK_S)

    @property
    def steps_left(self) -> int:
        """Return how much of the story, or of the crowd, is still to come."""
        return len(self._steps) + (self.crowd.total - self.crowd.made if self.crowd else 0)

    def addresses(self, port: int) -> dict[str, Any]:
        """Return what a client needs to trade here."""
        http, ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        return {
            "clob_url": http, "market_ws_url": f"{ws}/ws/market", "user_ws_url": f"{ws}/ws/user",
            "data_url": http, "gamma_url": f"{http}/gamma", "rtds_url": f"{ws}/rtds",
            "rpc_urls": [f"{http}/rpc/a", f"{http}/rpc/b"],
            "rpc_ws_urls": [f"{ws}/rpc/a", f"{ws}/rpc/b"],
            "site_url": http, "chain_id": 137, "private_key": self.key,
            "wallet": self.trader.wallet, "signature_type": self.plan.signature_type,
            "leaders": self.leaders,
            "markets": [
                {"condition": m.condition, "tokens": m.tokens, "title": m.title, "kind": m.kind}
                for m in self.exchange.markets.values()
            ],
        }  # fmt: skip

    def truth(self) -> dict[str, Any]:
        """Return what is true at this moment, for the checker."""
        pending = [
            t.id for t in self.exchange.trades.values() if t.status not in ("CONFIRMED", "FAILED")
        ]
        return {
            "finished": self.finished, "settled": not pending and not self.exchange.coming,
            "steps_left": self.steps_left,
            "leader_trades": _by_group(self.facts), "undone": _by_group(self.undone),
            "orders": self.exchange.outside, "duplicates_refused": self.exchange.duplicates,
            "collateral": self.trader.collateral,
            "shares": {t: s for t, s in self.trader.shares.items() if s},
            "credits": self.credits,
            "payouts": {
                m.condition: m.payouts for m in self.exchange.markets.values() if m.payouts
            },
        }  # fmt: skip


def _by_group(rows: Iterable[FeedRow]) -> list[list[Any]]:
    groups: Counter[tuple[str, str, str, str]] = Counter()
    for row in rows:
        groups[row.group()] += row.shares
    return [[*group, shares] for group, shares in groups.items()]


def _now() -> int:
    return time.time_ns() // 1000


@contextlib.asynccontextmanager
async def serving(
    plan: Plan, *, start: bool = False
) -> AsyncIterator[tuple[Simulation, dict[str, Any]]]:
    """Serve a simulation on loopback; yield it and its addresses.

    Raises ConfigError for a taken port.
    """
    simulation = Simulation(plan)
    started = asyncio.Event()

    async def begin(_: web.Request) -> web.Response:
        started.set()
        return web.json_response({"ok": True})

    async def truth(_: web.Request) -> web.Response:
        return web.json_response(simulation.truth())

    app = web.Application(middlewares=simulation.middlewares(), client_max_size=1 << 20)
    app.add_routes(simulation.routes())
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
        raise ConfigError(
            f"--port {plan.port}: {error.strerror or error}; choose another, or 0 for any"
        ) from None
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
