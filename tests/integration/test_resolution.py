"""How a market has ended.

Believed where the CLOB and Gamma agree, stored once, told to nobody twice.
"""

import contextlib

import pytest

from bot.detect.life import MarketLife
from bot.errors import Unavailable
from bot.execution.prefetch import prefetch
from bot.ledger import markets
from bot.polymarket.resolution import Resolutions
from bot.polymarket.transport import Transport
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.exits import assert_lawful, entered
from tests.rig import M, rig, until


@contextlib.asynccontextmanager
async def asking(r):
    clob = Transport(r.settings.venue.clob_url, timeout_s=5, requests_per_s=100)
    gamma = Transport(r.settings.venue.gamma_url, timeout_s=5, requests_per_s=100)
    try:
        yield Resolutions(clob, gamma)
    finally:
        await clob.close()
        await gamma.close()


async def paid(resolutions, asked):
    return (await resolutions.ended([asked])).get(asked[0])


def ends(r, payouts=(1, 0), stage="resolved") -> None:
    r.sim.director.acts.do_life(0, stage, payouts)


@pytest.mark.parametrize("payouts", [(1, 0), (0, 1), (1, 1)])
async def test_a_market_ends_when_both_say_so(tmp_path, payouts):
    async with rig(tmp_path) as r, asking(r) as resolutions:
        market = r.market()
        asked = (market.condition, tuple(market.tokens))
        assert await paid(resolutions, asked) is None, "it trades"
        for stage in ("closed", "proposed", "disputed"):
            ends(r, payouts, stage)
            assert await paid(resolutions, asked) is None, stage
        ends(r, payouts)
        body = '[{"conditionId": "%s", "closed": true, "umaResolutionStatus": "proposed"}]'
        r.sim.faults.rules.append(
            Rule("GET /gamma/markets", "status", status=200, body=body % market.condition)
        )
        assert await paid(resolutions, asked) is None, "Gamma knows of a proposal"
        r.sim.faults.rules.append(Rule("GET /markets/", "status", status=404))
        assert await paid(resolutions, asked) is None, "the CLOB knows nothing of an end"
        assert await paid(resolutions, asked) == payouts
        swapped = (market.condition, tuple(reversed(market.tokens)))
        assert await paid(resolutions, swapped) == tuple(reversed(payouts))


async def test_who_does_not_answer_ends_no_market(tmp_path):
    async with rig(tmp_path) as r, asking(r) as resolutions:
        ends(r)
        asked = (r.market().condition, tuple(r.market().tokens))
        broken = {"do": "status", "status": 200, "body": "<html>", "times": -1}
        r.sim.faults.rules.append(Rule("GET /markets/", **broken))
        assert await paid(resolutions, asked) is None
        r.sim.faults.rules[:] = [Rule("GET /gamma/markets", **broken)]
        with pytest.raises(Unavailable):
            await paid(resolutions, asked)
        r.sim.faults.rules.clear()
        assert await paid(resolutions, asked) == (1, 0)


async def test_many_markets_are_one_question_and_an_unreadable_one_costs_no_other(tmp_path):
    async with rig(tmp_path) as r, asking(r) as resolutions:
        r.sim.director.acts.do_list(number=50 - len(r.sim.exchange.markets))
        every = list(r.sim.exchange.markets.values())
        for number in (0, 1, 2):
            r.sim.director.acts.do_life(number, "resolved", (0, 1))
        r.sim.faults.rules.append(Rule("GET /gamma/markets", "bad_row", row=1))
        asked = [(m.condition, tuple(m.tokens)) for m in every]
        found = await resolutions.ended(asked)
        assert found == {every[0].condition: (0, 1), every[2].condition: (0, 1)}
        assert r.sim.limits.asked["gamma GET /markets"] == 1
        of_each = [n for what, n in r.sim.limits.asked.items() if "clob GET /markets/" in what]
        assert sum(of_each) == 2


async def test_an_end_is_stored_once(tmp_path):
    async with rig(tmp_path) as r, asking(r) as resolutions:
        async with r.working():
            await entered(r)
        told: list[str] = []
        life = MarketLife(r.ledger, resolutions, told.append, now_us)
        await life.look()
        assert told == []
        ends(r)
        await life.look()
        await life.look()
        assert told == [r.market().condition]
        again = await r.ledger.transact(
            markets.end, r.market().condition, (0, 1), source="later", now_us=now_us()
        )
        assert not again
        assert (await r.ledger.look(markets.ended, r.market().condition)).payouts == (1, 0)


async def test_what_is_held_in_a_market_that_nobody_has_told_of_yet_ends_all_the_same(tmp_path):
    """A ledger of an earlier version has positions without facts; so has a purchase by hand."""
    async with rig(tmp_path) as r, asking(r) as resolutions, r.working():
        await entered(r)
        ends(r)
        await r.ledger.transact(lambda tx: tx.execute("DELETE FROM market"))
        r.clob.public.forget_market(r.market().condition)
        await prefetch(r.ledger, r.books, r.clob.public, now_us=now_us())
        await r.learned.store()
        life = MarketLife(r.ledger, resolutions, lambda _: r.execution.doorbell.set(), now_us)
        await life.look()
        await until(lambda: r.value("SELECT 1 FROM settlement"), "settled")


async def test_what_somebody_redeems_is_owed_no_more_and_no_profit_again(tmp_path):
    async with rig(tmp_path) as r, asking(r) as resolutions, r.working():
        await entered(r)
        life = MarketLife(r.ledger, resolutions, lambda _: r.execution.doorbell.set(), now_us)
        ends(r)
        await life.look()
        await until(lambda: r.value("SELECT 1 FROM settlement"), "settled")
        owed = "SELECT COALESCE(SUM(usdc), 0) FROM settlement WHERE redeemed_us IS NULL"
        cash, profit = (
            r.value("SELECT cash FROM account"),
            r.value("SELECT realized FROM daily_pnl"),
        )
        paid = r.value(owed)
        assert paid > 0
        r.sim.director.acts.do_credit("DEPOSIT", 3 * M)
        await r.execution.reconciler.compare(now_us=now_us())
        assert r.value(owed) == paid, "its shares are still there: somebody's deposit"
        r.sim.director.acts.do_redeem(0)
        r.sim.director.acts.do_credit("YIELD", 1 * M)
        found = await r.execution.reconciler.compare(now_us=now_us())
        assert found.differences == () and len(found.booked) == 2
        assert "redeemed no more" in found.booked[0] and "came from elsewhere" in found.booked[1]
        assert r.value(owed) == 0
        assert r.value("SELECT cash FROM account") == cash + paid + 4 * M
        assert r.value("SELECT realized FROM daily_pnl") == profit
        assert_lawful(r)
        r.assert_equal_to_exchange()


async def test_what_is_bought_by_hand_before_the_end_is_settled_once(tmp_path):
    """The wallet keeps what is settled here until it is redeemed: that is no difference."""
    async with rig(tmp_path) as r, asking(r) as resolutions, r.working():
        await entered(r)
        r.sim.director.acts.do_by_hand(0, 7)
        await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
        ends(r)
        life = MarketLife(r.ledger, resolutions, lambda _: r.execution.doorbell.set(), now_us)
        await life.look()
        await until(lambda: r.value("SELECT 1 FROM settlement"), "settled")
        adopted, booked = await r.execution.reconciler.adopt(now_us=now_us())
        assert adopted == [] and len(booked) == 1
        r.execution.doorbell.set()
        await until(lambda: r.value("SELECT COUNT(*) FROM settlement") == 2, "the hand's as well")
        found = await r.execution.reconciler.compare(now_us=now_us())
        assert found.differences == ()
        owed = "SELECT SUM(usdc) FROM settlement WHERE redeemed_us IS NULL"
        assert r.value(owed) == r.sim.trader.shares[r.market().tokens[0]]
        assert_lawful(r)
