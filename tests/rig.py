"""A rig for integration tests.

Simulated exchange, real ledger and the executor's own objects in one loop.
"""

import asyncio
import contextlib
import dataclasses
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from bot import report
from bot.config.schema import Settings
from bot.detect.intake import Intake
from bot.execution.assemble import Execution, assemble
from bot.execution.learned import Learned, informed
from bot.ledger import account, control, roster, signals
from bot.ledger.db import Ledger
from bot.ledger.files import migrate
from bot.model.control import ControlMode
from bot.model.leader import LeaderFill
from bot.model.market import Side
from bot.model.order import Order
from bot.polymarket.books import Books
from bot.polymarket.clob import Clob
from bot.polymarket.signer import OrderSigner
from bot.polymarket.transport import Transport
from bot.polymarket.user_stream import UserStream
from bot.report import audit
from bot.runtime import now_us
from bot.sim.plan import Plan
from bot.sim.server import Simulation, serving

M = 1_000_000
#: How long a test waits for what must happen; sabotaged code need not be waited for as long.
PATIENCE_S = float(os.environ.get("COPYBOT_TEST_PATIENCE_S", "30"))
QUICK = {"evidence_lag_s": 1, "settle_poll_s": 1}


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, generously: machines are slow at times."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.02)


@dataclasses.dataclass
class Rig:
    """One wallet at one simulated exchange, with a ledger of its own."""

    sim: Simulation
    addresses: dict
    path: Path
    ledger: Ledger
    settings: Settings
    clob: Clob
    books: Books
    signer: OrderSigner
    learned: Learned
    boot_id: int = 0
    execution: Execution | None = None
    intake: Intake | None = None
    _counter: int = 0

    @property
    def leader(self) -> str:
        return self.addresses["leaders"][0]

    def market(self, index: int = 0):
        return list(self.sim.exchange.markets.values())[index]

    def query(self, sql: str, *values):
        with report.read(self.path) as found:
            return found.rows(sql, *values)

    def value(self, sql: str, *values):
        with report.read(self.path) as found:
            return found.value(sql, *values)

    async def sees(
        self,
        side: Side = Side.BUY,
        shares: int = 100 * M,
        *,
        price: int | None = None,
        market: int = 0,
        outcome: int = 0,
        leader: int = 0,
        tx: str | None = None,
        source: str = "data_api",
        age_s: int = 0,
    ):
        """Let the intake observe one leader trade at the market's price, in a block."""
        self._counter += 1
        found = self.market(market)
        at = price or 510_000
        fill = LeaderFill(
            tx or f"0x{self._counter:064x}",
            self.addresses["leaders"][leader].lower(),
            found.tokens[outcome],
            side,
            shares,
            shares * at // M,
            found.condition,
            found.outcomes[outcome],
            found.title,
            int(time.time()) - age_s,
        )
        await self.intake.absorb(source, [(fill, (shares, fill.usdc))], seen_us=now_us())
        return fill

    async def boots(self, venue=None) -> None:
        """Begin a new life of the executor on the same ledger, at another venue if one is given."""
        self.boot_id = await self.ledger.transact(
            control.boot, "executor", 1, 1, "test", now_us=now_us()
        )
        self.execution = assemble(
            self.ledger,
            venue or self.clob,
            self.books,
            self.signer,
            self.settings,
            boot_id=self.boot_id,
            now_us=now_us,
        )

    @contextlib.asynccontextmanager
    async def working(self, venue=None) -> AsyncIterator[None]:
        """Run the executor with its streams until the block ends, then drain it."""
        await self.boots(venue)
        user = UserStream(self.settings.venue.user_ws_url, self.clob, self.execution.prover.apply)
        stopping = asyncio.Event()
        beside = (self.books.run(), user.run(), self.learned.run())
        streams = [asyncio.create_task(work) for work in beside]
        await until(lambda: user.stream.connected and self.books.connected, "streams connect")
        work = asyncio.create_task(self.execution.loop.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await asyncio.wait_for(work, PATIENCE_S)
            for task in streams:
                task.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until nothing is undecided, in flight or unsettled."""
        self.execution.doorbell.set()
        await until(self.rests, "everything settles")

    def rests(self) -> bool:
        with report.read(self.path) as found:
            return audit.rests(found)

    def reasons(self) -> list[str]:
        return [
            r["reason"] or r["verdict"]
            for r in self.query("SELECT reason, verdict FROM decision ORDER BY decided_us")
        ]

    def assert_equal_to_exchange(self) -> None:
        """The ledger equals the exchange, to the micro-unit."""
        truth = self.sim.truth()
        assert self.value("SELECT cash FROM account") == truth["collateral"]
        held = self.query(
            "SELECT token, SUM(shares) AS shares FROM position GROUP BY token"
            " HAVING SUM(shares) <> 0"
        )
        assert {r["token"]: r["shares"] for r in held} == truth["shares"]


def settings_for(addresses: dict, **sections) -> Settings:
    names = ("clob_url", "market_ws_url", "user_ws_url", "data_url", "gamma_url", "rtds_url")
    sections["execution"] = {**QUICK, **sections.get("execution", {})}
    sections["strategy"] = {"max_signal_age_s": 60, **sections.get("strategy", {})}
    return Settings(
        mode="demo",
        venue={name: addresses[name] for name in names},
        account={
            "signature_type": addresses["signature_type"],
            "funder": addresses["wallet"] if addresses["signature_type"] else None,
        },
        leaders=tuple({"wallet": wallet} for wallet in addresses["leaders"]),
        **sections,
    )


@contextlib.asynccontextmanager
async def rig(tmp_path: Path, plan: Plan | None = None, **sections) -> AsyncIterator[Rig]:
    """Serve an exchange and open a ledger; nothing works until `working`."""
    async with serving(plan or Plan(failed_share=0, retried_share=0)) as (sim, addresses):
        settings = settings_for(addresses, **sections)
        path = tmp_path / "ledger-demo.db"
        await asyncio.to_thread(migrate, path, "demo")
        transport = Transport(addresses["clob_url"], timeout_s=10, requests_per_s=200)
        signer = OrderSigner(
            addresses["private_key"],
            chain_id=137,
            contracts=settings.venue.exchanges,
            signature_type=addresses["signature_type"],
            funder=settings.account.funder,
        )
        try:
            async with Ledger(path).open() as ledger:
                known = informed(transport, ledger, now_us)
                kind, public = addresses["signature_type"], known.public
                clob = Clob(transport, signer, kind, timeout_s=10, public=public)
                await clob.login()
                books = Books(settings.venue.market_ws_url, public, now_us=now_us)
                found = Rig(
                    sim, addresses, path, ledger, settings, clob, books, signer, known.learned
                )
                cash = await clob.collateral()
                await ledger.transact(account.open_account, signer.maker, cash, now_us=now_us())
                wallets = [(leader.wallet, "") for leader in settings.leaders]
                await ledger.transact(roster.follow, wallets, now_s=int(time.time()) - 3600)
                found.intake = Intake(
                    ledger,
                    lambda s: found.execution and found.execution.loop.ring(s.purchase),
                    now_us,
                    provisional=lambda: True,
                )
                await found.intake.load()
                yield found
        finally:
            await transport.close()


async def steer(r: Rig, mode: ControlMode) -> None:
    """Set the control row as an operator would."""
    await r.ledger.transact(control.steer, mode, reason="test", actor="test", now_us=now_us())


async def stored_order(r, *, posted: bool) -> Order:
    """Store a decision with a signed order, as a life that ended before its answer would have."""
    await r.boots()
    await r.sees()
    signal = (await r.ledger.look(signals.pending, 1))[0]
    order = await r.execution.decider.decide(signal, asyncio.Event())
    if posted:
        await r.clob.post(order)
    return order
