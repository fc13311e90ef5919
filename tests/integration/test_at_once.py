"""A purchase that rings is decided at once, where nothing of its position comes before it."""

import asyncio
import time

import pytest

from bot.detect.fold import Sight
from bot.execution.decide import Later
from bot.ledger import agenda, orders, signals
from bot.model.leader import LeaderFill
from bot.model.market import Side
from bot.model.order import Order, Unknown
from bot.runtime import now_us
from tests.rig import M, rig, stored_order, until


async def last_purchase(r):
    """Return the purchase that the intake has announced last."""
    found = await r.ledger.look(signals.pending, 10)
    return max(found, key=lambda signal: (signal.seen_us, signal.id)).purchase


async def alone(r, purchase) -> bool:
    return await r.ledger.look(agenda.alone, purchase.signal_id) is not None


async def test_a_purchase_is_decided_without_a_look(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        await r.sees()
        purchase = await last_purchase(r)
        found = await r.execution.decider.at_once(purchase, asyncio.Event())
        assert isinstance(found, Order)
        assert r.reasons() == ["copied"]
        assert await r.execution.decider.at_once(purchase, asyncio.Event()) is Later.GONE
        assert r.value("SELECT COUNT(*) FROM orders") == 1


async def test_nothing_is_decided_at_once_that_something_comes_before(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        await r.sees()
        first = await last_purchase(r)
        await r.sees()
        second = await last_purchase(r)
        assert await alone(r, first)
        assert not await alone(r, second)  # the first one's turn comes before
        assert await r.execution.decider.at_once(second, asyncio.Event()) is Later.GONE
        await r.sees(market=1)
        assert await alone(r, await last_purchase(r))  # another position waits for neither
        await r.sees(Side.SELL, 10 * M)
        assert not await alone(r, first)  # exits go first
        assert r.reasons() == []


async def test_an_order_in_flight_is_waited_for(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        await r.sees()
        await r.execution.decider.at_once(await last_purchase(r), asyncio.Event())
        await r.sees(outcome=1)
        later = await last_purchase(r)
        assert not await alone(r, later)
        assert await r.execution.decider.at_once(later, asyncio.Event()) is Later.GONE


async def test_who_holds_the_other_token_is_left_to_the_look(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await r.sees()
            await until(lambda: r.reasons() == ["copied"], "an entry")
            await r.settled()
        await r.sees(outcome=1)
        # Buying the other side is how he may leave: that is an exit's matter.
        assert not await alone(r, await last_purchase(r))


async def test_no_purchase_is_decided_once_it_is_to_stop(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        await r.sees()
        stopping = asyncio.Event()
        stopping.set()
        purchase = await last_purchase(r)
        assert await r.execution.decider.at_once(purchase, stopping) is Later.BUSY
        assert r.reasons() == []


async def test_nothing_is_decided_before_what_was_left_is_settled(tmp_path):
    async with rig(tmp_path) as r:
        await stored_order(r, posted=False)
        slow = Slow(r.clob, seconds=3600)  # recovery waits for what becomes of that order
        await r.boots(slow)
        work = asyncio.create_task(r.execution.loop.run(asyncio.Event()))
        try:
            await until(lambda: slow.begun == 1, "recovery")
            await r.sees(market=1)  # it rings
            assert deciding(r) == []
        finally:
            left = [work, *r.execution.loop._tasks.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


async def test_a_loop_that_has_failed_decides_nothing_more(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        work = asyncio.create_task(r.execution.loop.run(asyncio.Event()))
        await until(lambda: r.execution.loop.progress_us is not None, "a pass")
        r.execution.loop._failure = RuntimeError("a task has failed")
        await r.sees()
        with pytest.raises(RuntimeError, match="a task has failed"):
            await work
        r.execution.loop._failure = None  # it may as well have failed in a look
        await r.sees(market=1)
        assert deciding(r) == [] and r.reasons() == []


def deciding(r) -> list[str]:
    """Return what is being decided: what rings begins at once, or not at all."""
    return [name for name in r.execution.loop._tasks if name.startswith("position:")]


async def test_a_purchase_that_rings_is_decided_though_no_look_comes(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        stopping = asyncio.Event()
        work = asyncio.create_task(r.execution.loop.run(stopping))
        await until(lambda: r.execution.loop.progress_us is not None, "a pass")
        decided, look = asyncio.Event(), r.execution.loop._look

        async def late():
            await decided.wait()
            return await look()

        r.execution.loop._look = late
        await r.sees()
        try:
            await until(lambda: r.reasons() == ["copied"], "a decision")
        finally:
            decided.set()
            stopping.set()
            await work


async def test_no_position_is_decided_twice_at_a_time(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        await r.sees()
        loop, (signal,) = r.execution.loop, await r.ledger.look(signals.pending, 9)
        loop._deciding.add((signal.portfolio, signal.condition))  # it rang after the look
        loop._enter([signal], asyncio.Event())
        assert loop._tasks == {}
        assert r.execution.doorbell.is_set()


@pytest.mark.parametrize("first", [Side.BUY, Side.SELL])
async def test_an_exit_seen_with_a_purchase_of_its_token_is_decided_first(tmp_path, first):
    """One leader sells to another: we do not trade with ourselves (story 14)."""
    async with rig(tmp_path) as r, r.working():
        await r.sees(leader=1)
        await until(lambda: r.reasons() == ["copied"], "an entry")
        await r.settled()
        sale = sight(r, Side.SELL, leader=1, number=50)
        bought = sight(r, Side.BUY, leader=0, number=51)
        await r.intake.take([bought, sale] if first is Side.BUY else [sale, bought])
        await until(lambda: len(r.reasons()) == 3, "both decided")
        await r.settled()
        found = r.query(
            "SELECT s.kind, d.reason FROM decision d JOIN signal s ON s.id = d.signal_id"
            " ORDER BY d.decided_us"
        )
        assert [row["kind"] for row in found] == ["increase", "decrease", "increase"]
        assert found[2]["reason"] == "own_exit_stands"


def sight(r, side, *, leader: int, number: int) -> Sight:
    market = r.market()
    fill = LeaderFill(
        f"0x{number:064x}", r.addresses["leaders"][leader].lower(), market.tokens[0], side,
        100 * M, 51 * M, market.condition, "Yes", "t", int(time.time()),
    )  # fmt: skip
    return Sight("rtds:1", fill, (100 * M, 51 * M), now_us())


async def test_what_is_decided_in_the_last_moment_is_sent(tmp_path):
    async with rig(tmp_path) as r:
        slow = Slow(r.clob)
        await r.boots(slow)
        books = asyncio.create_task(r.books.run())
        stopping = asyncio.Event()
        work = asyncio.create_task(r.execution.loop.run(stopping))
        await until(lambda: r.execution.loop.progress_us is not None, "a pass")
        await r.sees()
        await until(lambda: slow.begun == 1, "one is being sent")
        r.execution.loop._spawn("late", later(r, slow))
        stopping.set()
        await work
        assert slow.ended == slow.begun == 2
        books.cancel()


async def later(r, venue) -> None:
    """Decide while others drain: what it sends begins after the drain has begun."""
    await until(lambda: venue.ended == 1, "the first is sent")
    (order,) = r.query("SELECT id FROM orders")
    found = await r.ledger.look(orders.order, order["id"])
    r.execution.loop._spawn("sent", r.execution.poster.send(found, again=True))


class Slow:
    """A venue that takes its time for every order."""

    def __init__(self, clob, *, seconds: float = 0.5) -> None:
        self._clob, self._seconds = clob, seconds
        self.begun = self.ended = 0

    def __getattr__(self, name):
        return getattr(self._clob, name)

    async def post(self, order):
        self.begun += 1
        await asyncio.sleep(self._seconds)
        self.ended += 1
        return Unknown("timeout")


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
async def test_only_what_raises_a_holding_is_a_purchase(tmp_path, side):
    async with rig(tmp_path) as r:
        await r.sees(side)
        (signal,) = await r.ledger.look(signals.pending, 10)
        assert (signal.purchase is not None) is (side is Side.BUY)


async def test_a_leaders_purchases_at_one_go_all_come_to_a_decision(tmp_path):
    async with rig(tmp_path) as r, r.working():
        for number in range(12):
            await r.sees(market=number % 3, outcome=number % 2)
        await until(lambda: len(r.reasons()) == 12, "twelve decisions")
        await r.settled()
        r.assert_equal_to_exchange()
