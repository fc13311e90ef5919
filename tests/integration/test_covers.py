"""Covers where things happen at once: found by an independent look."""

from bot.execution import fills, foreign
from bot.ledger import intents, orders, signals
from bot.ledger.db import Tx
from bot.model.intent import EXTERNAL
from bot.model.market import Side
from bot.model.signal import Wish
from bot.runtime import now_us
from tests.exits import (
    CENT,
    RESTS,
    deaf,
    decided,
    empties,
    entered,
    exit_of,
    follower,
    held,
    later,
    wishes,
)
from tests.rig import M, Rig, rig, stored_order, until


async def leaves(r: Rig) -> None:
    """Decide what asks for an exit, before any entry, as the loop does."""
    for signal in await r.ledger.look(signals.pending, 100):
        await r.ledger.transact(r.execution.leaver.decide, signal.id, now_us=now_us())


async def test_a_purchase_and_a_sale_that_overtakes_it_leave_the_proportion(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            ours = await entered(r, shares=1000 * M)
        await r.sees(Side.SELL, shares=500 * M)
        await leaves(r)
        for _ in range(3):
            await r.sees(shares=250 * M)
            await r.sees(Side.SELL, shares=250 * M)
            await leaves(r)
            assert abs(exit_of(r)["target"] - ours // 2) < CENT, "he holds half of what he held"


async def test_the_same_while_our_entry_is_on_its_way(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=True)  # he bought 100
        await r.sees(Side.SELL, shares=50 * M)
        await leaves(r)
        await r.sees(shares=10 * M)
        await r.sees(Side.SELL, shares=10 * M)
        await leaves(r)
        await until(lambda: r.sim.exchange.trades, "a trade")
        await r.execution.prover.resolve(order)
        fresh = await r.ledger.look(orders.order, order.id)
        await r.ledger.transact(fills.finish, fresh, evidence_complete=True, now_us=now_us())
        assert held(r) > M
        assert abs(exit_of(r)["target"] - held(r) // 2) < 2 * CENT, "he holds 50 of 100"


async def test_a_purchase_that_fails_under_a_standing_exit_takes_its_part_alone(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        r.sim.director.do_settle(ways=["STUCK+FAILED"])
        await later(r)
        await r.sees(shares=1000 * M)
        await until(lambda: r.sim.exchange.settlement.stuck, "stuck")
        await until(lambda: r.value("SELECT COUNT(*) FROM fill") == 2, "booked")
        flying = "SELECT 1 FROM orders WHERE state IN ('posting', 'unknown', 'open')"
        await until(lambda: not r.value(flying), "ended")
        await empties(r)
        await r.sees(Side.SELL, shares=1000 * M)  # half
        await until(lambda: r.value(RESTS), "it rests")
        await r.sees(shares=100 * M)
        await r.sees(Side.SELL, shares=100 * M)
        await decided(r, 5)
        r.sim.director.do_release()
        await until(lambda: r.value("SELECT 1 FROM fill WHERE settlement = 'failed'"), "fails")
        assert abs(exit_of(r)["target"] - held(r) // 2) < 2 * CENT


async def test_an_exit_is_never_owed_more_than_we_hold(tmp_path):
    """While our sale rests he comes back with more than ever: only what we hold follows him out."""
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=500 * M)
        await until(lambda: r.value(RESTS), "it rests")
        await r.sees(shares=1500 * M)
        await r.sees(Side.SELL, shares=500 * M)
        await decided(r, 4)
        assert abs(exit_of(r)["target"] - ours * 3 // 4) < 2 * CENT, "1,500 of 2,000 are left"
        await r.sees(Side.SELL, shares=750 * M)
        await decided(r, 5)
        assert abs(exit_of(r)["target"] - ours * 3 // 8) < 2 * CENT, "750 of 2,000"


async def test_what_is_assigned_under_a_standing_exit_follows_him_too(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            ours = await entered(r, shares=1000 * M)
        await r.sees(Side.SELL, shares=500 * M)
        await leaves(r)
        where = (r.market().condition, r.market().tokens[0])
        await r.ledger.transact(foreign.move_shares, EXTERNAL, *where, 1 * M, now_us=now_us())
        await wishes(r, f"{Wish.ASSIGN} {follower(r)}", EXTERNAL)
        await leaves(r)
        assert abs(exit_of(r)["target"] - (ours // 2 + M)) < CENT
        await r.sees(Side.SELL, shares=250 * M)
        await leaves(r)
        assert abs(exit_of(r)["target"] - (ours // 4 + M // 2)) < CENT, "half of what was left"


async def test_a_short_that_is_assigned_asks_for_no_less_than_nothing(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r, shares=1000 * M)
        await r.sees(Side.SELL, shares=900 * M)
        await leaves(r)
        where = (r.market().condition, r.market().tokens[0])
        await r.ledger.transact(foreign.move_shares, EXTERNAL, *where, -15 * M, now_us=now_us())
        await wishes(r, f"{Wish.ASSIGN} {follower(r)}", EXTERNAL)
        await leaves(r)
        assert exit_of(r)["target"] == 0


async def test_an_exit_by_the_other_half_is_raised_when_that_is_sold(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            ours = await entered(r, shares=1000 * M)
        await r.sees(shares=500 * M, outcome=1)
        await leaves(r)
        assert abs(exit_of(r)["target"] - ours // 2) < CENT
        await r.sees(Side.SELL, shares=500 * M, outcome=1)
        await leaves(r)
        assert exit_of(r)["target"] >= ours - CENT, "his net exposure is whole again"


async def test_whoever_left_dust_has_left(tmp_path):
    """His peak of long ago makes no full exit of one percent."""
    async with rig(tmp_path) as r, r.working():
        await r.sees(shares=100_000 * M, age_s=1200)
        await decided(r, 1)
        await r.sees(Side.SELL, shares=100_000 * M - 4_000, age_s=900)
        await decided(r, 2)
        ours = await entered(r, shares=4000 * M)
        await r.sees(Side.SELL, shares=40 * M)
        await decided(r, 4)
        await r.settled()
        assert held(r) > ours * 9 // 10


async def test_a_cancel_ends_what_its_order_is_for_and_nothing_that_came_after(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=500 * M)
        await until(lambda: r.value(RESTS), "an exit rests")
        r.sim.director.do_quirk("cancel_denied", times=-1)
        await wishes(r, Wish.CANCEL)
        await decided(r, 3)
        await r.sees(Side.SELL, shares=500 * M)  # he leaves altogether
        await decided(r, 4)
        await wishes(r, Wish.CANCEL)  # of the same order, which rests still
        await decided(r, 5)
        assert (exit_of(r)["state"], exit_of(r)["target"]) == ("open", 0)
        r.sim.exchange.quirks.waiting.clear()


async def test_doubt_is_told_by_numbers_and_not_by_a_clock(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r, shares=1000 * M)
            await r.sees(Side.SELL, shares=500 * M)
            await decided(r, 2)
            await r.settled()
            await r.sees(Side.SELL, shares=250 * M)
            await decided(r, 3)
            await r.settled()

        def leapt(tx: Tx) -> bool:
            tx.execute("UPDATE orders SET created_us = created_us + 1e10 WHERE intent_id = 2")
            tx.execute("UPDATE orders SET doubted = 1 WHERE intent_id = 3")
            newest = intents.latest_on(tx, follower(r), r.market().tokens[0])
            return newest is not None and intents.doubted(tx, newest)

        assert await r.ledger.transact(leapt)


async def test_a_clock_that_was_set_back_puts_no_evidence_off(tmp_path):
    """What was noted an hour ahead is from before: lag and pauses count from now on."""
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        r.sim.director.do_quirk("killed_late", ms=300)
        deaf(r)
        await r.sees(Side.SELL, shares=1000 * M)
        killed = "SELECT id FROM orders WHERE side = 'SELL' AND state = 'open'"
        await until(lambda: r.value(killed), "killed, says the answer")
        noted, ident = r.execution.in_flight, r.value(killed)
        noted.heard[ident] = noted.not_before[ident] = now_us() + 3600 * M
        await until(lambda: held(r) < CENT, "its late fill is looked up")
        await r.settled()
