"""The model in numbers: what we buy, what an exit is, and what ends it (stories 1 to 14).

L is the leader's holding, S ours, N an exit's target, all of one token. Ten dollars buy a little
less than 20 shares here, so that targets are told as parts of what we hold.
"""

import asyncio
import dataclasses

import pytest

from bot.ledger import control, markets, roster
from bot.ledger.db import Ledger
from bot.ledger.files import backup
from bot.model.control import ControlMode
from bot.model.market import Side
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.exits import (
    CENT,
    RESTS,
    assert_lawful,
    at,
    bids,
    deaf,
    decided,
    empties,
    entered,
    exit_of,
    held,
    later,
    offers_only,
    rests_at,
    shares,
    sold,
    waits,
)
from tests.rig import M, Rig, rig, steer, until


async def test_story_1_two_sales_before_our_first_exit_has_gone(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await steer(r, ControlMode.HALTED)  # so that the first exit has not gone
        await r.sees(Side.SELL, shares=100 * M)
        await decided(r, 2)
        first = exit_of(r)
        assert first["target"] == ours * 9 // 10
        await r.sees(Side.SELL, shares=100 * M)
        await decided(r, 3)
        assert exit_of(r) == first | {
            "target": ours * 8 // 10,
            "due_us": exit_of(r)["due_us"],
            "waits": exit_of(r)["waits"],
            "tries": exit_of(r)["tries"],
        }
        await steer(r, ControlMode.RUNNING)
        await rests_at(r, ours * 8 // 10)


async def test_story_2_half_a_filled_entry_follows_half_a_sale(tmp_path):
    async with rig(tmp_path) as r:
        # Between our look at the book and our order, most of it is taken.
        with at("decide.committed", lambda: offers_only(r, 12)):
            async with r.working():
                ours = await entered(r, shares=1000 * M)
                assert ours == 12 * M
                cover = r.query("SELECT shares, leader FROM cover")
                assert cover == [{"shares": 12 * M, "leader": 1000 * M}]
                await r.sees(Side.SELL, shares=500 * M)
                await until(lambda: sold(r) > 0, "an exit")
                await rests_at(r, 6 * M)


async def test_story_3_an_increase_that_we_skip_sets_the_cover_anew(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await r.sees(shares=500 * M, age_s=300)
        await decided(r, 2)
        assert r.reasons()[1] == "stale"
        await r.sees(Side.SELL, shares=750 * M)
        await until(lambda: sold(r) > 0, "an exit")
        await rests_at(r, ours // 2)


async def test_story_4_an_increase_raises_a_standing_exit_and_only_then_may_an_entry_open(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=200 * M)  # too small to rest
        await until(lambda: "bids" in waits(r), "nobody buys")
        assert exit_of(r)["target"] == ours * 8 // 10
        await r.sees(shares=100 * M)
        await decided(r, 3)
        assert r.reasons()[2] == "own_exit_stands"
        assert exit_of(r)["target"] == ours * 9 // 10 and exit_of(r)["state"] == "open"
        bids(r, 480_000, 100)
        await rests_at(r, ours * 9 // 10)
        r.sim.story.quote(r.market())
        await later(r)
        await r.sees(shares=100 * M)
        await decided(r, 4)
        assert r.reasons()[3] == "copied", "only then an entry opens"
        await r.settled()


@pytest.mark.parametrize("landed", [True, False])
async def test_story_5_an_exit_takes_the_place_of_an_unknown_entry(tmp_path, landed):
    async with rig(tmp_path) as r, r.working():
        lost = "drop" if landed else "reset"
        r.sim.faults.rules.append(Rule("POST /order", lost, times=-1, where='"BUY"'))
        deaf(r)
        await r.sees(shares=1000 * M)
        await until(lambda: r.value("SELECT 1 FROM orders WHERE state <> 'posting'"), "sent")
        await r.sees(Side.SELL, shares=1000 * M)
        await decided(r, 2)
        states = {row["kind"]: row["state"] for row in r.query("SELECT kind, state FROM intent")}
        assert states["entry"] in ("withdrawn", "reached") and exit_of(r)["target"] == 0
        await rests_at(r, 0)
        assert (sold(r) > 0) == landed
        assert r.value("SELECT COUNT(*) FROM orders WHERE side = 'BUY'") == 1


async def test_story_6_a_fill_that_shows_after_killed_is_no_reason_for_another_attempt(tmp_path):
    async with rig(tmp_path, execution={"evidence_lag_s": 8}) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        deaf(r)
        r.sim.director.do_quirk("killed_late", ms=2000)
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: sold(r) > 0, "the fill that showed late")
        await rests_at(r, ours % CENT)
        assert r.value("SELECT COUNT(*) FROM orders WHERE side = 'SELL'") == 1


async def test_story_7_who_is_removed_is_followed_out(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            ours = await entered(r, shares=1000 * M)
        kept = r.settings.leaders
        r.settings = r.settings.model_copy(update={"leaders": kept[1:]})
        follow = [(s.wallet, "") for s in r.settings.leaders]
        await r.ledger.transact(roster.follow, follow, now_s=now_us() // M)
        await r.intake.load()
        async with r.working():
            await r.sees(shares=100 * M, market=1)
            await decided(r, 2)
            assert r.reasons()[1] == "not_followed"
            await r.sees(Side.SELL, shares=500 * M)
            await until(lambda: sold(r) > 0, "in proportion")
            await r.settled()
            assert abs(held(r) - ours // 2) < 2 * CENT
            await r.sees(Side.SELL, shares=500 * M)
            await until(lambda: held(r) < CENT, "out")
            await r.settled()


@pytest.mark.parametrize("rule", [{"do": "status", "status": 404}, {"do": "hang"}])
async def test_story_8_an_exit_lives_on_the_last_known_facts(tmp_path, rule):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        r.clob.public.forget_market(r.market().condition)
        r.sim.faults.rules.append(Rule("GET /clob-markets", times=-1, **rule))
        await r.sees(Side.SELL)
        await until(lambda: held(r) < 10_000, "sold all the same")
        r.sim.faults.rules.clear()
        await r.settled()
        r.assert_equal_to_exchange()


async def test_story_8_a_hanging_market_delays_no_other_exit(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        await r.sees(market=1)
        await until(lambda: r.value("SELECT COUNT(DISTINCT token) FROM position") == 2, "two held")
        await r.settled()
        slow = r.market(0)
        r.sim.faults.rules.append(Rule("GET /book", "hang", where=slow.tokens[0], times=-1))
        r.books._levels.clear()
        await r.sees(Side.SELL, market=0)
        await r.sees(Side.SELL, market=1)
        other = r.market(1).tokens[0]
        await until(lambda: sold(r, other) > 0, "the other market's exit")
        assert sold(r, slow.tokens[0]) == 0
        r.sim.faults.rules.clear()


@pytest.mark.parametrize("payouts", [(1, 0), (0, 1), (1, 1)])
async def test_story_9_a_market_that_ends_ends_our_position(tmp_path, payouts):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: r.value(RESTS), "an exit rests")
        before = r.query("SELECT shares, cost FROM position")[0]
        r.sim.director.acts.do_life(0, "resolved", payouts)
        condition = r.market().condition
        for _ in range(2):  # a second report changes nothing
            await r.ledger.transact(markets.end, condition, payouts, source="test", now_us=now_us())
            r.execution.doorbell.set()
            await r.settled()
        paid = before["shares"] * payouts[0] // sum(payouts)
        assert r.query("SELECT shares, usdc FROM settlement") == [
            {"shares": before["shares"], "usdc": paid}
        ]
        assert r.query("SELECT shares, cost, realized FROM position") == [
            {"shares": 0, "cost": 0, "realized": paid - before["cost"]}
        ]
        assert r.value("SELECT realized FROM daily_pnl") == paid - before["cost"]
        assert exit_of(r)["state"] == "market_ended"
        assert_lawful(r)


async def restored(r: Rig, tmp_path) -> Rig:
    """Return the same wallet's bot on a ledger from before its exit, which it then makes."""
    copy = tmp_path / "restored.db"
    await asyncio.to_thread(backup, r.path, copy)
    async with r.working():
        await r.sees(Side.SELL, tx="0x" + "5e" * 32)
        await until(lambda: sold(r) > 0, "the exit")
        await r.settled()
    return dataclasses.replace(r, path=copy)


async def test_story_10_a_restored_ledger_sells_nothing_again(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r)
        old = await restored(r, tmp_path)
        orders_there = len(r.sim.exchange.outside)
        async with r.working():
            await r.sees(leader=1)  # somebody else's shares of the same token
            await until(lambda: held(r) > 19 * M, "another leader's copy")
            await r.settled()
        orders_there += 1
        async with Ledger(old.path).open() as ledger:
            old.ledger = ledger
            old.intake = type(r.intake)(
                ledger, lambda _: old.execution.doorbell.set(), now_us, provisional=lambda: True
            )
            await old.intake.load()
            await old.boots()
            await ledger.transact(control.lock, control.UNCOMPARED, "not compared")
            await old.execution.reconciler.compare(now_us=now_us(), balances=False)
            async with old.working():
                await old.sees(Side.SELL, tx="0x" + "5e" * 32)
                await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
                await old.execution.reconciler.compare(now_us=now_us())
                await until(lambda: len(old.reasons()) == 2, "his sale was read again")
                await old.settled()
                assert held(old) > 19 * M, "what another leader's copy bought is external"
                assert old.value("SELECT portfolio FROM position WHERE shares > 1e6") == "external"
        assert len(r.sim.exchange.outside) == orders_there, "nothing was sold again"


async def test_story_11_after_an_unproven_attempt_only_the_wallets_word_lets_another_go(tmp_path):
    brief = {"validity_s": 2, "timeout_s": 2}
    async with rig(tmp_path, execution=brief) as r, r.working():
        await entered(r, shares=1000 * M, leader=0)
        await entered(r, shares=1000 * M, leader=1)
        both = held(r)
        # Its answer is lost and no lookup shows it for an hour, but it is matched and mined.
        r.sim.faults.rules.append(Rule("POST /order", "drop", where='"SELL"'))
        r.sim.director.do_lookups(lag_ms=3_600_000)
        deaf(r)
        await r.sees(Side.SELL, shares=1000 * M, leader=0)
        await until(lambda: "the wallet has less" in waits(r), "expired, and no second attempt")
        assert r.value("SELECT COUNT(*) FROM orders WHERE side = 'SELL'") == 1
        r.sim.director.do_lookups()
        await r.execution.reconciler.compare(now_us=now_us())
        await r.settled()
        assert shares(r, 0) < CENT and abs(shares(r, 1) - both // 2) < CENT
        r.assert_equal_to_exchange()


async def test_story_12_dust_makes_no_side_taken(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        await r.sees(Side.SELL)
        await until(lambda: 0 < held(r) < 10_000, "a round trip that leaves dust")
        await r.settled()
        await r.sees(outcome=1, leader=1)
        await until(lambda: len(r.reasons()) == 3, "decided")
        assert r.reasons()[-1] == "copied"
        await r.settled()
        r.assert_equal_to_exchange()


async def test_story_13_the_first_side_counts_and_an_exit_never_buys(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M, leader=0)
        await r.sees(shares=1000 * M, outcome=1, leader=1)
        await decided(r, 2)
        assert r.reasons()[1] == "opposite_held"
        await r.sees(shares=1000 * M, outcome=1, leader=0)
        await until(lambda: held(r) < CENT, "A is out, by the other side")
        await r.settled()
        assert shares(r, 0, outcome=1) == 0, "an exit never buys"
        await r.sees(shares=1000 * M, outcome=1, leader=1)
        await decided(r, 4)
        assert r.reasons()[3] == "copied"
        await r.settled()


async def test_story_14_we_do_not_trade_with_ourselves(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M, leader=0)
        await empties(r)
        await r.sees(Side.SELL, shares=1000 * M, leader=0)
        await until(lambda: r.value(RESTS), "A's exit rests")
        await r.sees(shares=1000 * M, leader=1)
        await decided(r, 3)
        assert r.reasons()[2] == "own_exit_stands"
