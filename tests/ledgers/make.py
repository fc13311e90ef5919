"""Make the ledgers beside this file with the code that wrote them, and what their exchange knew.

They cannot be made by today's code. Check the first design out elsewhere and run this over it:

    git worktree add --detach ../first 5eecb5e
    PYTHONPATH=../first .venv/bin/python tests/ledgers/make.py

Each is written twice: NAME.sql, the ledger as text, and NAME.json, the exchange: markets, accounts,
orders with our signature, trades of ours. A kill is a task that is cancelled, and a ledger that is
copied as it stands.
"""

import asyncio
import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw.shell

from bot.execution.reconcile import Reconciler
from bot.ledger import leaders
from bot.ledger.db import Ledger
from bot.ledger.files import backup
from bot.model import Order, Side
from bot.runtime import now_us
from bot.sim.faults import Rule
from bot.sim.plan import Plan
from tests.rig import M, Rig, rig, until

HERE = Path(__file__).parent
SEED = 7
#: Nothing here waits for a settlement longer than it must.
QUICK = {"mined_ms": 50, "confirmed_ms": 50, "failed_share": 0.0, "retried_share": 0.0}


@contextlib.asynccontextmanager
async def killed(r: Rig) -> AsyncIterator[None]:
    """Let the executor work for the block, then take it away without a drain."""
    await r.boots()
    work = asyncio.create_task(r.executor.run(asyncio.Event()))
    books = asyncio.create_task(r.books.run())
    try:
        yield
    finally:
        tasks = [work, books, *r.executor._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def decided(r: Rig, count: int) -> None:
    await until(lambda: len(r.reasons()) >= count, f"{count} decisions")


async def entered(r: Rig, *, market: int, leader: int = 0) -> None:
    """Follow an entry to its settled end."""
    before = len(r.reasons())
    async with r.working():
        await r.sees(market=market, leader=leader)
        await decided(r, before + 1)
        await r.settled()


async def in_flight(r: Rig) -> None:
    """Orders open, unknown and posting, and an exit on its way.

    Of those posting one landed, and one was never sent.
    """
    await entered(r, market=0)
    r.sim.exchange.lookup_lag_us = 3600 * M
    for market, answer, state in ((3, "killed", "open"), (2, "drop", "unknown")):
        r.sim.faults.rules.append(Rule("POST /order", answer, times=-1))
        async with killed(r):
            await r.sees(market=market)
            await until(
                lambda state=state: r.value("SELECT COUNT(*) FROM orders WHERE state = ?", state),
                state,
            )
        r.sim.faults.rules.clear()
    await r.boots()
    await r.sees(market=4)
    await decide(r, Side.BUY)
    await r.sees(market=1)
    await r.clob.post(await decide(r, Side.BUY))
    await r.sees(Side.SELL, market=0)
    await decide(r, Side.SELL)
    r.sim.exchange.lookup_lag_us = 0


async def decide(r: Rig, side: Side) -> Order:
    """Decide the pending signal of a side, as a life does that ends before its POST."""
    pending = await r.ledger.transact(lambda tx: leaders.pending(tx, 9, now_us=now_us()))
    order = await r.executor._decider.decide(
        next(s for s in pending if s.side is side), asyncio.Event()
    )
    assert isinstance(order, Order), order
    return order


async def unsettled(r: Rig) -> None:
    """Fills that are matched and not mined: an entry's, and an exit's."""
    await entered(r, market=0)
    r.sim.exchange.timing.mined = 3600 * M
    async with killed(r):
        await r.sees(market=1)
        await r.sees(Side.SELL, market=0)
        await until(
            lambda: r.value("SELECT COUNT(*) FROM fill WHERE settlement = 'matched'") >= 2,
            "two unsettled fills",
        )


async def waiting(r: Rig) -> None:
    """A retry pending, an undecided exit, and an undecided BUY.

    The BUY is of the other side of what we hold.
    """
    for market in (0, 1, 2):
        await entered(r, market=market)
    r.sim.director._do_depth(0, 0)
    async with killed(r):
        await r.sees(Side.SELL, market=0)
        await until(lambda: "no_liquidity" in r.reasons(), "an exit that found nobody")
    await r.sees(Side.SELL, 40 * M, market=1)
    await r.sees(market=2, outcome=1)


async def adopted(r: Rig) -> None:
    """What happened past the bot, made good by the operator: a trade, shares, collateral."""
    await entered(r, market=0)
    r.sim.director._do_by_hand(2, 20)
    r.sim.director._do_gift(3, 7)
    r.sim.director._do_gift(0, -3)
    r.sim.director._do_drain(100)
    await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
    await adopt(r)


async def adopt(r: Rig) -> None:
    await r.boots()
    reconciler = Reconciler(r.ledger, r.clob, r.signer.maker, r.executor.book)

    async def agrees() -> None:
        while (found := await reconciler.compare(now_us=now_us())).differences or not found.quiet:
            await reconciler.adopt(now_us=now_us())

    await asyncio.wait_for(agrees(), 60)


async def impossible(r: Rig) -> Path:
    """An old backup restored, its exit sold again, and adopted: prices above 1.

    It was sold out of another leader's shares.
    """
    await entered(r, market=0)
    copy = r.path.with_name("backup.db")
    await asyncio.to_thread(backup, r.path, copy)
    async with r.working():
        await r.sees(Side.SELL, market=0, tx="0x" + "5e" * 32)
        await decided(r, 2)
        await r.settled()
    await asyncio.sleep(1.1)  # the exchange tells match times in whole seconds
    await entered(r, market=0, leader=1)
    await entered(r, market=0, leader=2)
    await asyncio.sleep(1.1)
    async with Ledger(copy).open() as ledger:
        again = dataclasses.replace(r, path=copy, ledger=ledger)
        again.intake = type(r.intake)(ledger, lambda _: again.executor.doorbell.set(), now_us)
        await again.intake.load()
        async with again.working():
            await again.sees(Side.SELL, market=0, tx="0x" + "5e" * 32)
            await decided(again, 2)
            await again.settled()
        await adopt(again)
    return copy


async def dust(r: Rig) -> None:
    """A full round trip that leaves less than a hundredth of a share."""
    await entered(r, market=0)
    async with r.working():
        await r.sees(Side.SELL, market=0)
        await decided(r, 2)
        await r.settled()
    left = r.value("SELECT SUM(shares) FROM position")
    assert 0 < left < 10_000, f"expected dust, found {left}"


SCENES: dict[str, Callable[[Rig], Awaitable[Path | None]]] = {
    scene.__name__: scene for scene in (in_flight, unsettled, waiting, adopted, impossible, dust)
}


def exchange(r: Rig) -> dict[str, Any]:
    """Return what the exchange knows of us, as JSON."""
    sim = r.sim.exchange
    ours = [t for t in sim.trades.values() if t.taker.account is r.sim.trader]
    makers = {p.order.id: p.order for t in ours for p in t.pieces}
    orders = (
        {t.taker.id: t.taker for t in ours}
        | {i: sim.orders[i] for i in sim.outside if i in sim.orders}
        | makers
    )
    return {
        "seed": SEED,
        "private_key": r.addresses["private_key"],
        "markets": [dataclasses.asdict(m) for m in sim.markets.values()],
        "trader": dataclasses.asdict(r.sim.trader),
        "orders": [_order(o) for o in orders.values()],
        "outside": sim.outside,
        "trades": [
            {
                "id": t.id, "taker": t.taker.id, "fee": t.fee, "tx": t.tx, "at_us": t.at_us,
                "status": t.status,
                "pieces": [
                    {
                        "order": p.order.id,
                        **{
                            n: getattr(p, n)
                            for n in ("shares", "maker_usdc", "taker_usdc", "mint")
                        },
                    }
                    for p in t.pieces
                ],
            }
            for t in ours
        ],
    }  # fmt: skip


def _order(order: Any) -> dict[str, Any]:
    plain = {
        f.name: getattr(order, f.name)
        for f in dataclasses.fields(order)
        if f.name not in ("account", "market")
    }
    return {**plain, "wallet": order.account.wallet, "market": order.market.condition}


async def make(name: str) -> None:
    """Play one scene and write its two files."""
    with tempfile.TemporaryDirectory() as folder:
        async with rig(
            Path(folder), Plan(seed=SEED, **QUICK), execution={"evidence_lag_s": 60}
        ) as r:
            path = await SCENES[name](r) or r.path
            (HERE / f"{name}.json").write_text(json.dumps(exchange(r), indent=1) + "\n")
            with (HERE / f"{name}.sql").open("w") as text:
                apsw.shell.Shell(stdout=text, db=apsw.Connection(str(path))).process_command(
                    ".dump"
                )


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SCENES:
        asyncio.run(make(wanted))
