"""Exits: nothing that the exchange, the operator or a restart does may lose, double or give one away."""

import asyncio
import dataclasses

import pytest

from bot.ledger import account, control, intents, leaders
from bot.ledger.db import Ledger
from bot.ledger.files import backup
from bot.model.control import ControlMode
from bot.model.market import Side
from bot.report.audit import mismatches
from bot.report.reader import read
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.rig import M, Rig, rig, steer, until


def waits(r) -> str:
    """Return what the standing exit waits for; '' if none stands."""
    return r.value("SELECT waits FROM intent WHERE state = 'open' AND kind = 'exit'") or ""


def sold(r) -> int:
    return r.value("SELECT COALESCE(SUM(shares), 0) FROM fill WHERE side = 'SELL'")


def held(r) -> int:
    return r.value("SELECT COALESCE(SUM(shares), 0) FROM position")


async def entered(r, **more) -> int:
    """Follow an entry to its settled end and return what we hold."""
    await r.sees(**more)
    await until(lambda: r.value("SELECT COUNT(*) FROM fill") > 0, "a fill")
    await r.settled()
    return held(r)


@pytest.mark.parametrize("rule", [{"do": "status", "status": 404}, {"do": "hang"}])
async def test_story_8_an_exit_lives_on_the_last_known_facts(tmp_path, rule):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        r.clob._markets.clear()
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
        await until(lambda: sold_of(r, other) > 0, "the other market's exit")
        assert sold_of(r, slow.tokens[0]) == 0
        r.sim.faults.rules.clear()


def sold_of(r, token) -> int:
    sql = "SELECT COALESCE(SUM(shares), 0) FROM fill WHERE side = 'SELL' AND token = ?"
    return r.value(sql, token)


async def test_a_leader_who_is_followed_no_more_is_followed_out(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r)
        r.settings = r.settings.model_copy(update={"leaders": r.settings.leaders[1:]})
        await r.ledger.transact(
            leaders.follow, [(s.wallet, "") for s in r.settings.leaders], now_s=now_us() // M
        )
        assert r.value("SELECT active FROM leader WHERE wallet = ?", r.leader) == 2, "leaving"
        await r.intake.load()
        async with r.working():
            await r.sees(market=1)
            await until(lambda: "not_followed" in r.reasons(), "no entry")
            await r.sees(Side.SELL)
            await until(lambda: held(r) < 10_000, "the exit")
            await r.settled()
            r.assert_equal_to_exchange()
        await r.ledger.transact(leaders.follow, [], now_s=now_us() // M)
        assert r.value("SELECT active FROM leader WHERE wallet = ?", r.leader) == 0, "gone"


async def test_a_fill_that_never_mines_holds_up_its_own_shares_only(tmp_path):
    async with rig(tmp_path) as r, r.working():
        settled = await entered(r)
        r.sim.exchange.timing.mined = 3600 * M
        await r.sees(shares=50 * M, leader=0, tx="0x" + "77" * 32)
        await until(
            lambda: r.value("SELECT COUNT(*) FROM fill WHERE settlement = 'matched'"), "stuck"
        )
        assert held(r) > settled
        await r.sees(Side.SELL, shares=150 * M)
        await until(lambda: sold(r) > 0, "what has settled is sold")
        assert sold(r) == settled - settled % 10_000
        waits = "SELECT waits FROM intent WHERE state = 'open' AND target = 0"
        await until(lambda: "not settled" in (r.value(waits) or ""), "and the rest waits")
        assert held(r) > 0


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
            old.intake = type(r.intake)(ledger, lambda _: old.execution.doorbell.set(), now_us)
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
        await until(lambda: "the wallet differs" in waits(r), "fewer than the portfolios add up to")
        assert sold(r) == 0
        there[token] = kept
        await r.ledger.transact(intents.wake, now_us=now_us())
        await until(lambda: held(r) < 10_000, "the wallet has them: the exit goes alone")
        await r.settled()


async def test_a_token_with_unread_trades_waits(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        token = f"{control.IN_TOKEN}{r.market().tokens[0]}"
        await r.ledger.transact(control.lock, token, "a trade that nobody can read")
        await r.sees(Side.SELL)
        await until(lambda: "trades of this token" in waits(r), "it waits")
        assert sold(r) == 0
        await r.ledger.transact(control.unlock, token)
        await r.ledger.transact(intents.wake, now_us=now_us())
        await until(lambda: held(r) < 10_000, "sold")
        await r.settled()


async def test_a_resume_tries_standing_exits_at_once(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        await steer(r, ControlMode.HALTED)
        await r.sees(Side.SELL)
        await until(lambda: "halted" in waits(r), "stopped")
        due_us = "SELECT due_us FROM intent WHERE state = 'open'"
        assert r.value(due_us) > now_us() + 10 * M, "due later"
        await steer(r, ControlMode.RUNNING)
        due = r.value(due_us)
        assert due is None or due <= now_us()
        await until(lambda: held(r) < 10_000, "sold")
        await r.settled()


async def test_progress_begins_the_pauses_anew(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        r.sim.director.mute_feed = True
        story, where = r.sim._story, r.market()
        story.depth = 1 * M
        story.quote(where)
        await r.ledger.transact(lambda tx: tx.execute("UPDATE intent SET tries = 5"))
        await r.sees(Side.SELL)
        await until(lambda: r.value("SELECT COUNT(*) FROM orders WHERE side = 'SELL'") > 1, "again")
        assert sold(r) > 0
        assert r.value("SELECT tries FROM intent WHERE kind = 'exit'") == 0


async def test_our_clock_ahead_hides_none_of_our_trades(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        r.sim.exchange.clock_us = -3600 * M  # ours is an hour ahead of the exchange's
        await r.clob.read_clock()
        r.sim.faults.rules.append(Rule("POST /order", "drop"))
        for client in r.sim.streams.user_clients:
            client.wants.clear()  # lookups are the only evidence
        await r.sees(Side.SELL)
        await until(lambda: held(r) < 10_000, "its lost answer is proven by the trade")
        await r.settled()
        assert len(r.sim.exchange.outside) == 2
        r.assert_equal_to_exchange()


async def test_a_share_that_cost_more_than_it_can_pay_is_named(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        await r.ledger.transact(lambda tx: tx.execute("UPDATE position SET cost = shares * 3 / 2"))
        with read(r.path) as found:
            assert "bought above 1 a share" in mismatches(found)[0]
        assert await r.ledger.look(account.cash) < 1000 * M
