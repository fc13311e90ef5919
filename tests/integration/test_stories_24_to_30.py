"""The model in numbers.

How an exit is driven, stopped, killed and let go alone (stories 24 to 30).
"""

import contextlib

import pytest

from bot.ledger import control, intents
from bot.model.control import ControlMode
from bot.model.market import Side
from bot.model.signal import Wish
from bot.runtime import now_us
from tests.exits import (
    CENT,
    RESTS,
    at,
    bids,
    decided,
    empties,
    entered,
    exit_of,
    held,
    rests_at,
    sold,
    waits,
    wishes,
)
from tests.rig import M, rig, steer, until


async def test_story_24_nothing_at_a_cent_but_resting_at_the_floor(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        bids(r, 10_000, 400)
        await r.sees(Side.SELL, shares=1000 * M, price=600_000)
        await until(lambda: r.value(RESTS), "it rests")
        assert r.value("SELECT price FROM orders WHERE kind = 'GTD'") == 510_000
        assert sold(r) == 0
        bids(r, 550_000, 400)
        await rests_at(r, ours % CENT)
        assert (
            r.value("SELECT MIN(usdc * 1000000 / shares) FROM fill WHERE side = 'SELL'") >= 510_000
        )


async def test_story_25_what_is_bid_at_once_and_the_rest_when_it_comes(tmp_path):
    async with (
        rig(tmp_path, strategy={"fixed_usdc": 50}, risk={"max_market_usdc": 200}) as r,
        r.working(),
    ):
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        bids(r, 490_000, 36)
        await until(lambda: r.books.book(r.market().tokens[0]).bids, "bids")
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: sold(r) == 36 * M, "36 at once")
        await until(lambda: r.value(RESTS), "the rest rests")
        bids(r, 490_000, 400)
        await rests_at(r, ours % CENT)


@pytest.mark.parametrize("way", ["MINED", "FAILED"])
async def test_story_26_what_has_settled_goes_the_rest_when_it_is_mined(tmp_path, way):
    async with (
        rig(tmp_path, strategy={"sizing": "proportional", "ratio": "0.02"}) as r,
        r.working(),
    ):
        settled = await entered(r, shares=1000 * M)
        r.sim.director.do_settle(ways=["STUCK"])
        await r.sees(shares=1000 * M)
        await until(lambda: held(r) > settled, "more, matched and not mined")
        await r.sees(Side.SELL, shares=2000 * M)
        await until(lambda: sold(r) == settled - settled % CENT, "the settled part goes now")
        await until(lambda: "not settled" in waits(r), "and the rest waits")
        await until(lambda: r.sim.exchange.settlement.stuck, "which is stuck")
        r.sim.director.do_release(way=way)
        await until(lambda: exit_of(r)["state"] == "reached", "reached")
        await r.settled()
        assert held(r) < 2 * CENT
        r.assert_equal_to_exchange()


async def test_story_27_halt_in_the_middle_of_an_exit(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=1000 * M)
        resting = "SELECT COUNT(*) FROM orders WHERE kind = 'GTD' AND state = 'open'"
        await until(lambda: r.value(resting) == 1, "an exit rests")
        await steer(r, ControlMode.HALTED)
        await until(lambda: r.value(resting) == 0, "what rests is taken off the book")
        bids(r, 490_000, 400)
        await until(lambda: "halted" in waits(r), "nothing in between")
        assert sold(r) == 0
        await steer(r, ControlMode.RUNNING)
        await rests_at(r, ours % CENT)


async def test_story_28_an_operators_close_locks_entries(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await wishes(r, Wish.CLOSE)
        await until(lambda: held(r) < CENT, "closed")
        await r.settled()
        await r.sees(shares=500 * M)
        await decided(r, 3)
        assert r.reasons()[2] == "position_locked"
        await rests_at(r, ours % CENT)
        lock = "SELECT until_us FROM lock WHERE scope LIKE 'position:%'"
        assert 29 * 60 * M < r.value(lock) - now_us() <= 30 * 60 * M


async def test_story_28_a_close_stands_while_the_leader_buys(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        bids(r, 490_000, ours // M - 3)
        await wishes(r, Wish.CLOSE)
        # What is left is too little to rest: nothing is in flight, and his purchase is decided.
        await until(lambda: "bids" in waits(r), "a part is sold, and nobody buys the rest")
        await r.sees(shares=500 * M)
        await decided(r, 3)
        assert exit_of(r)["target"] == 0 and exit_of(r)["state"] == "open"


class Died(BaseException):
    """The executor is gone: nothing may catch it and go on."""


@pytest.mark.parametrize(
    "point",
    ["leave.committed", "drive.committed", "cancel.asked", "cancel.answered", "end.written"],
)
async def test_story_29_whatever_an_exit_is_killed_at_the_next_life_proves_first(tmp_path, point):
    async with rig(tmp_path) as r:
        async with r.working():
            ours = await entered(r, shares=1000 * M)

        def dies() -> None:
            raise Died(point)

        with contextlib.suppress(Died), at(point, dies) as struck:
            async with r.working():
                # It rests; the halt has it cancelled; after that it is taken.
                await empties(r)
                await r.sees(Side.SELL, shares=1000 * M)
                resting = "SELECT 1 FROM orders WHERE kind = 'GTD' AND state = 'open'"
                await until(lambda: struck or r.value(resting), "it rests")
                await steer(r, ControlMode.HALTED)
                ended = "SELECT 1 FROM orders WHERE state = 'cancelled'"
                await until(lambda: struck or r.value(ended), "taken off the book")
        assert struck == [point]
        if point == "cancel.answered":
            # Nobody has stored that it is cancelled, and "not_canceled" proves nothing from now on:
            # it counts until it has expired, which is here.
            past = "UPDATE orders SET expires_us = created_us - 3600000000 WHERE kind = 'GTD'"
            await r.ledger.transact(lambda tx: tx.execute(past))
        async with r.working():
            bids(r, 490_000, 400)
            await steer(r, ControlMode.RUNNING)
            await until(lambda: held(r) < CENT, "sold in the next life")
            await rests_at(r, ours % CENT)
        assert r.sim.exchange.outside == list(dict.fromkeys(r.sim.exchange.outside))


async def test_story_30_a_gate_that_stays_shut_lets_an_exit_go_on_the_wallets_word(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        await r.ledger.transact(control.lock, control.UNCOMPARED, "not compared")
        there, token = r.sim.trader.shares, r.market().tokens[0]
        there[token], kept = there[token] // 2, there[token]
        await r.sees(Side.SELL)
        gate = "the ledger to be compared with the exchange"
        await until(lambda: waits(r) == gate, "the gate is given its time")
        r.execution.driver.born_us -= 60 * M
        await until(lambda: "the wallet has less" in waits(r), "fewer than they add up to")
        assert sold(r) == 0
        there[token] = kept
        await r.ledger.transact(intents.wake, now_us=now_us())
        await until(lambda: held(r) < 10_000, "the wallet has them: the exit goes alone")
        await r.settled()
