"""What an exit that stands is about: whose shares, how many, and what may change it."""

import asyncio
import time

import pytest

from bot.errors import InvariantBroken
from bot.execution import fills
from bot.execution.attempt import GTD_MARGIN_S, REST_S
from bot.ledger import control, intents, orders, positions, signals
from bot.ledger.db import Tx, run
from bot.model.control import ControlMode
from bot.model.fill import Evidence
from bot.model.intent import IntentKind
from bot.model.market import Side
from bot.model.order import OrderState
from bot.model.signal import Wish
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.exits import (
    CENT,
    RESTS,
    assert_lawful,
    bids,
    deaf,
    decided,
    empties,
    entered,
    exit_of,
    follower,
    held,
    later,
    offers_only,
    resting,
    rests_at,
    shares,
    sold,
    waits,
    wishes,
)
from tests.rig import M, rig, steer, stored_order, until


async def test_a_sale_seen_before_our_entry_has_ended_still_finds_its_part(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=True)
        await r.sees(Side.SELL, shares=50 * M)
        prover = r.execution.prover
        await until(lambda: r.sim.exchange.trades, "a trade")
        await prover.resolve(order)
        fresh = await r.ledger.look(orders.order, order.id)
        await r.ledger.transact(fills.finish, fresh, evidence_complete=True, now_us=now_us())
        ours, pending = held(r), await r.ledger.look(signals.pending, 1)
        assert r.query("SELECT shares, leader FROM cover") == [{"shares": ours, "leader": 100 * M}]
        leaver = r.execution.leaver
        await r.ledger.transact(leaver.decide, pending[0].id, now_us=now_us())
        assert exit_of(r)["target"] == ours // 2


async def test_an_operator_ends_what_stands_and_the_position_stays(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await resting(r)
        await wishes(r, Wish.CANCEL)
        await r.settled()
        assert exit_of(r)["state"] == "withdrawn" and held(r) == ours
        assert r.value("SELECT state FROM orders WHERE kind = 'GTD'") == "cancelled"


async def test_where_he_left_at_no_known_price_the_first_bid_is_his_price(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        bid = r.books.book(r.market().tokens[0]).bids[0][0]
        await steer(r, ControlMode.HALTED)
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: "halted" in waits(r), "it stands")
        await r.ledger.transact(run, "UPDATE intent SET price = NULL WHERE kind = 'exit'")
        await steer(r, ControlMode.RUNNING)
        await r.settled()
        assert exit_of(r)["price"] == bid and held(r) < CENT


async def test_who_cancels_what_is_not_there_is_told_so(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        key = (follower(r), r.market().condition, r.market().tokens[0])
        await r.ledger.transact(signals.ask, *key, f"{Wish.CANCEL} 0xno", now_us=now_us())
        r.execution.doorbell.set()
        await decided(r, 2)
        assert r.reasons()[1] == "not_held"


class Forgetful:
    """A venue that has dropped what rested; its clock is `skew_s` ahead of ours."""

    def __init__(self, clob, skew_s: int) -> None:
        self._clob, self.skew_s = clob, skew_s

    def __getattr__(self, name):
        return getattr(self._clob, name)

    async def order(self, _):
        return None

    async def fills(self, *_, **__):
        return Evidence()


@pytest.mark.parametrize(("skew_s", "state"), [(600, "cancelled"), (0, "open"), (-600, "open")])
async def test_what_rests_has_expired_by_the_exchanges_clock(tmp_path, skew_s, state):
    async with rig(tmp_path) as r:
        async with r.working():
            await resting(r)
        rests = r.value(RESTS.replace("1", "id", 1))
        order = await r.ledger.look(orders.order, rests)
        left_s = order.expires_us / M - time.time()
        assert REST_S < left_s < REST_S + GTD_MARGIN_S + 60
        await r.boots(Forgetful(r.clob, skew_s))
        r.execution.in_flight.heard[order.id] = now_us() - 60 * M
        await r.execution.prover.resolve(order)
        assert r.value("SELECT state FROM orders WHERE kind = 'GTD'") == state


async def test_a_resting_order_is_ended_by_proof_alone(tmp_path):
    """`not_canceled` proves nothing, and neither does a lookup that finds nothing."""
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await empties(r)
        r.sim.director.do_quirk("cancel_denied", times=-1)
        blind = Rule("GET /data/order/", "status", status=404, times=-1)
        r.sim.faults.rules.append(blind)
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: r.value(RESTS), "it rests")
        await steer(r, ControlMode.HALTED)
        await until(lambda: r.sim.exchange.quirks.struck, "asked, and denied")
        seen = blind.struck
        await until(lambda: blind.struck > seen + 2, "looked up, and not found")
        assert r.value("SELECT state FROM orders WHERE kind = 'GTD'") == "open"
        r.sim.exchange.quirks.waiting.clear()
        await until(
            lambda: r.value("SELECT state FROM orders WHERE kind = 'GTD'") == "cancelled", "proven"
        )


async def test_shares_that_show_after_he_left_follow_him_out(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=True)
        await r.ledger.transact(fills.end, order, OrderState.EXPIRED, now_us=now_us())
        r.sim.director.do_lookups(lag_ms=3_600_000)
        deaf(r)
        async with r.working():
            await r.sees(Side.SELL, shares=100 * M)
            await decided(r, 2)
            assert r.reasons()[1] == "not_held"
            r.sim.director.do_lookups()
            await r.execution.reconciler.compare(now_us=now_us())
            await until(lambda: sold(r) > 0, "what was bought all the same is sold")
            await r.settled()
            assert held(r) < CENT
            assert_lawful(r)


async def test_an_increase_raises_an_exit_that_rests(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await resting(r, 500 * M)
        await r.sees(shares=250 * M)
        await until(lambda: exit_of(r)["target"] == ours * 3 // 4, "raised while its order rests")
        ended = "SELECT 1 FROM orders WHERE kind = 'GTD' AND state = 'cancelled'"
        await until(lambda: r.value(ended), "what offers too much is taken off the book")
        bids(r, 490_000, 400)
        await until(lambda: held(r) < ours, "sold")
        await r.settled()
        assert held(r) >= ours * 3 // 4


async def test_doubt_outlives_its_intent(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r, shares=1000 * M)
            await r.sees(Side.SELL, shares=500 * M)
            await until(lambda: sold(r) > 0, "a first exit")
            await r.settled()
        doubt = "UPDATE orders SET doubted = 1 WHERE side = 'SELL'"
        await r.ledger.transact(lambda tx: tx.execute(doubt))
        key = (f"mirror/{r.settings.leaders[0].wallet}", r.market().condition, r.market().tokens[0])
        intent = await r.ledger.transact(
            intents.add, IntentKind.EXIT, *key, target=0, price=None, signal_id="s", now_us=now_us()
        )
        assert await r.ledger.look(intents.doubted, intent)


async def test_a_leader_changes_nothing_about_an_operators_close(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await empties(r)
        await wishes(r, Wish.CLOSE_AT_ANY_PRICE)
        await decided(r, 2)
        await r.ledger.transact(lambda tx: tx.execute("DELETE FROM lock"))  # half an hour later
        await r.sees(Side.SELL, shares=100 * M, price=600_000)
        await decided(r, 3)
        await r.sees(shares=500 * M)
        before = r.execution.loop.progress_us
        await until(lambda: r.execution.loop.progress_us > before + 2 * M, "it was looked at")
        assert (exit_of(r)["target"], exit_of(r)["price"]) == (0, 0)


async def test_covers_count_the_other_side_and_what_was_passed_over(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            ours = await entered(r, shares=1000 * M)
        leaver = r.execution.leaver
        # +500 that nobody has decided, then -750: the purchase is passed over first.
        await r.sees(shares=500 * M, age_s=300)
        await r.sees(Side.SELL, shares=750 * M)
        pending = await r.ledger.look(signals.pending, 2)
        assert [s.side for s in pending] == [Side.SELL, Side.BUY], "exits are looked at first"
        await r.ledger.transact(leaver.decide, pending[0].id, now_us=now_us())
        assert r.reasons()[1:] == ["leader_left", "copied"]
        assert exit_of(r)["target"] == ours // 2


async def test_a_failed_sale_of_an_exit_before_the_last_one_is_sold_again(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        r.sim.director.do_settle(ways=["STUCK+FAILED"])
        await r.sees(Side.SELL, shares=200 * M)
        await until(lambda: sold(r) > 0, "a first exit, on its way to the chain")
        await until(lambda: r.sim.exchange.settlement.stuck, "which is stuck")
        await r.sees(Side.SELL, shares=800 * M)
        await until(lambda: held(r) < CENT, "a second exit, of all that is left")
        r.sim.director.do_release()
        await until(
            lambda: r.value("SELECT 1 FROM fill WHERE settlement = 'failed'"), "the first one fails"
        )
        await rests_at(r, ours % CENT)


async def test_an_exit_decided_before_its_entry_has_ended_keeps_its_part(tmp_path):
    """Half of what was bought, not half of what was to be bought."""
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        wanted = r.value("SELECT target FROM intent")
        await r.sees(Side.SELL, shares=50 * M)
        pending = await r.ledger.look(signals.pending, 1)
        leaver = r.execution.leaver
        await r.ledger.transact(leaver.decide, pending[0].id, now_us=now_us())
        assert exit_of(r)["target"] == wanted // 2
        offers_only(r, 12)
        await r.clob.post(order)
        async with r.working():
            await until(lambda: sold(r) > 0, "half of it")
            await rests_at(r, 6 * M)


async def test_shares_that_show_after_he_left_by_half_follow_him_by_half(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=True)
        await r.ledger.transact(fills.end, order, OrderState.EXPIRED, now_us=now_us())
        r.sim.director.do_lookups(lag_ms=3_600_000)
        deaf(r)
        async with r.working():
            await r.sees(Side.SELL, shares=50 * M)
            await decided(r, 2)
            assert r.reasons()[1] == "not_held"
            r.sim.director.do_lookups()
            await r.execution.reconciler.compare(now_us=now_us())
            await until(lambda: sold(r) > 0, "his part of what was bought all the same")
            bought = r.value("SELECT SUM(shares) FROM fill WHERE side = 'BUY'")
            await rests_at(r, bought // 2)


async def test_a_close_locks_entries_whether_or_not_anything_is_held_yet(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await wishes(r, Wish.CLOSE)
        await decided(r, 1)
        await r.sees(shares=500 * M)
        await decided(r, 2)
        assert r.reasons() == ["not_held", "position_locked"]


async def test_a_sale_that_may_rest_keeps_entries_out_when_its_exit_is_withdrawn(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await resting(r)
        r.sim.director.do_quirk("cancel_denied", times=-1)
        await wishes(r, Wish.CANCEL)
        await until(lambda: r.sim.exchange.quirks.struck, "asked to go, and it stays")
        bids(r, 520_000, 400, "SELL")
        await r.sees(shares=1000 * M, leader=1)
        await decided(r, 4)
        assert exit_of(r)["state"] == "withdrawn" and r.reasons()[3] == "own_exit_stands"
        r.sim.exchange.quirks.waiting.clear()
        await r.settled()


async def test_an_executor_that_was_replaced_decides_drives_and_cancels_nothing(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r, shares=1000 * M)
        await r.sees(Side.SELL, shares=500 * M)
        pending = (await r.ledger.look(signals.pending, 1))[0]
        old = r.execution
        await r.boots()
        with pytest.raises(InvariantBroken):
            await r.ledger.transact(old.leaver.decide, pending.id, now_us=now_us())
        await r.ledger.transact(r.execution.leaver.decide, pending.id, now_us=now_us())
        intent = (await r.ledger.look(intents.exits))[0]
        with pytest.raises(InvariantBroken):
            await old.driver.drive(intent, asyncio.Event())
        assert r.value("SELECT COUNT(*) FROM orders WHERE side = 'SELL'") == 0
        await r.sees(shares=250 * M)
        increase = (await r.ledger.look(signals.pending, 1))[0]
        with pytest.raises(InvariantBroken):
            await old.decider.raise_standing(increase)


async def test_a_replaced_executor_cancels_nothing(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await resting(r)
        old = r.execution
        await r.boots()
        await steer(r, ControlMode.HALTED)
        with pytest.raises(InvariantBroken):
            await old.driver.unrest()
        assert r.value("SELECT cancel_us FROM orders WHERE kind = 'GTD'") is None
        await r.execution.driver.unrest()
        assert r.value("SELECT cancel_us FROM orders WHERE kind = 'GTD'") is not None


@pytest.mark.parametrize("on_its_way", ["in", "in for long", "out"])
async def test_a_wallet_is_whole_with_all_that_may_be_in_it(tmp_path, on_its_way):
    """A gate that stays shut.

    What has not left must be there. What comes in may stand in for what has gone: until it is
    there, or has not come for long, the wallet proves nothing.
    """
    async with rig(tmp_path) as r, r.working():
        mine = await entered(r, shares=1000 * M, leader=0)
        await entered(r, shares=1000 * M, leader=1)
        r.sim.director.do_settle(ways=["STUCK"])
        side = Side.SELL if on_its_way == "out" else Side.BUY
        await later(r)
        await r.sees(side, shares=1000 * M, leader=1, source="data_api")
        await until(lambda: r.sim.exchange.settlement.stuck, "matched, and not mined")
        await until(lambda: r.value("SELECT COUNT(*) FROM fill") == 3, "and booked")
        flying = "SELECT 1 FROM orders WHERE state IN ('posting', 'unknown', 'open')"
        await until(lambda: not r.value(flying), "its order has ended")
        if on_its_way == "in for long":
            await r.ledger.transact(_long_ago)
        await r.ledger.transact(control.lock, control.UNCOMPARED, "not compared")
        r.execution.driver.born_us -= 60 * M
        await r.sees(Side.SELL, shares=1000 * M, leader=0)
        if on_its_way == "in":
            await until(lambda: "the wallet has less" in waits(r), "it waits for what comes in")
            r.sim.director.do_release(way="MINED")
            mined = "SELECT COUNT(*) FROM fill WHERE settlement IN ('mined', 'confirmed')"
            await until(lambda: r.value(mined) == 3, "it has come")
            await r.ledger.transact(intents.wake, now_us=now_us())
        await until(lambda: shares(r, 0) < CENT, "it goes alone")
        assert mine > 19 * M
        r.sim.director.do_release(way="MINED")
        await r.ledger.transact(control.unlock, control.UNCOMPARED)
        await r.settled()


def _long_ago(tx: Tx) -> None:
    tx.execute(
        "UPDATE fill SET matched_us = matched_us - ? WHERE settlement = 'matched'",
        (positions.STUCK_S * M,),
    )
