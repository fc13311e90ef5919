"""Measure the hot path against its own floors on this machine; ratios travel, milliseconds do not.

Floors: what one durable commit, one signature, one socket hop and one loopback POST cost alone.
The path: from the frame of a leader's trade to the first byte of our order, two commits included.
"""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bot.config.schema import Contracts
from bot.lab import demo
from bot.ledger.db import PRAGMAS
from bot.model.amounts import market_amounts
from bot.model.market import Side, TokenId
from bot.polymarket.signer import OrderSigner
from bot.polymarket.transport import Transport
from bot.queue import Ping, Sender, serve
from bot.sim.server import Plan, serving

ROUNDS = 200
_TOKEN = TokenId("32338220190071351435772801779725302244575775216413325951443816017994629993401")


@dataclass(frozen=True, slots=True)
class Bench:
    """Medians in milliseconds, and the ratio of the path to the sum of its floors."""

    commit_ms: float
    signature_ms: float
    hop_ms: float
    post_ms: float
    floors_ms: float  #: two commits, one signature, one hop, one POST
    detect_to_post_ms: float
    ratio: float
    orders: int


def run() -> Bench:
    """Measure the floors, then the path in a demo with real workers; takes about 20 seconds."""
    commit = _commit()
    signature = _signature()
    hop, post = asyncio.run(_hop_and_post())
    verdict = demo.run(demo.Options(), lambda _: None)
    path = verdict.latency_ms["detect_to_post"]["p50"] or 0.0
    floors = 2 * commit + signature + hop + post
    commit, signature, hop, post, floors, path, ratio = (
        round(value, 3) for value in (commit, signature, hop, post, floors, path, path / floors)
    )
    return Bench(commit, signature, hop, post, floors, path, ratio, verdict.orders)


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
