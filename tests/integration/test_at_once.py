"""A purchase that rings is decided at once, where nothing of its position comes before it."""

import asyncio

import pytest

from bot.execution.decide import Later
from bot.ledger import agenda, signals
from bot.model.market import Side
from bot.model.order import Order
from tests.rig import M, rig, until


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


async def test_a_ring_before_recovery_decides_nothing(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        await r.sees()
        r.execution.doorbell.clear()
        r.execution.loop.ring(await last_purchase(r))
        await asyncio.sleep(0)
        assert r.execution.doorbell.is_set()
        assert r.reasons() == []


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
