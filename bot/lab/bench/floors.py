"""What a durable path cannot be faster than on this machine: ratios travel, milliseconds do not."""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bot.config.venue import Contracts
from bot.ledger.db import PRAGMAS
from bot.model.amounts import market_amounts
from bot.model.market import Side, TokenId
from bot.polymarket.signer import OrderSigner
from bot.polymarket.transport import Transport
from bot.queue import Ping, Sender, serve
from bot.sim.plan import Plan
from bot.sim.server import serving

ROUNDS = 200
#: What a path that stores may take above one that does not, beside its commits and its hop.
SPARE_MS = 1.0
_TOKEN = TokenId("32338220190071351435772801779725302244575775216413325951443816017994629993401")


@dataclass(frozen=True, slots=True)
class Floors:
    """Medians, in milliseconds."""

    commit_ms: float
    signature_ms: float
    hop_ms: float
    post_ms: float

    @property
    def sum_ms(self) -> float:
        """Return what a path of two commits, one signature, one hop and one POST costs."""
        return round(2 * self.commit_ms + self.signature_ms + self.hop_ms + self.post_ms, 3)

    @property
    def allowance_ms(self) -> float:
        """Return what storing twice and passing on may add to a path that does neither."""
        return round(2 * self.commit_ms + self.hop_ms + SPARE_MS, 3)


def measure() -> Floors:
    """Measure each of them alone; takes about two seconds."""
    commit, signature = _commit(), _signature()
    hop, post = asyncio.run(_hop_and_post())
    return Floors(*(round(value, 3) for value in (commit, signature, hop, post)))


def _commit() -> float:
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "bench.db", isolation_level=None)
        for pragma in PRAGMAS:
            connection.execute(pragma)
        connection.execute("CREATE TABLE t (a INTEGER) STRICT")

        def once() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO t VALUES (1)")
            connection.execute("COMMIT")

        found = _median(once)
        connection.close()
        return found


def _signature() -> float:
    signer = OrderSigner(
        "0x" + "11" * 32, chain_id=137, contracts=Contracts(), signature_type=0, funder=None
    )
    amounts = market_amounts(Side.BUY, 570_000, 10_000_000, 10_000)
    return _median(
        lambda: signer.sign(_TOKEN, Side.BUY, amounts, neg_risk=False, owner="bench", now_us=0)
    )


async def _hop_and_post() -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="b-") as folder:
        path, arrived = Path(folder) / "run" / "b.sock", asyncio.Event()

        async def take(_: object) -> str:
            arrived.set()
            return ""

        async with serve(path, take), serving(Plan()) as (_, addresses):
            sender = Sender(path)
            delivery = asyncio.create_task(sender.run())
            transport = Transport(addresses["clob_url"], timeout_s=10, requests_per_s=10_000)

            async def hop() -> None:
                arrived.clear()
                sender.put(Ping())
                await arrived.wait()

            async def post() -> None:
                await transport.send("POST", "/order", body="{}")

            found = await _median_of(hop), await _median_of(post)
            delivery.cancel()
            await transport.close()
            return found


def _median(once: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        once()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def _median_of(once: Callable[[], Awaitable[None]]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await once()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)
