"""The Data API alone: late rows, pairs, everybody's trades, an index that stands still."""

import asyncio
import contextlib
import dataclasses

import pytest

from bot.config.schema import DetectSettings
from bot.detect.activity import SLOW_S, Activity
from bot.detect.authority import PATIENCE_US, Authority
from bot.detect.freshness import Freshness
from bot.detect.intake import Intake
from bot.detect.tail import Tail
from bot.ledger import control, facts, leaders
from bot.ledger.markets import learn
from bot.model.leader import LeaderFill
from bot.model.market import Facts, Side
from bot.polymarket.data_api import DataApi, Refused
from bot.polymarket.transport import Transport
from bot.runtime import now_us
from bot.sim.plan import Plan
from tests.rig import M, rig, until

QUIET = Plan(failed_share=0, retried_share=0, data_lag_ms=0, global_lag_ms=0, limits=None)


class Index:
    """A rig and the Data API as its only source."""

    def __init__(self, r, transport):
        self.r, self.acts = r, r.sim.director.acts
        self.api = DataApi(transport)
        self.intake = Intake(r.ledger, lambda _: None, now_us)
        self.moved = []
        self.activity = Activity(
            self.api, r.ledger, self.intake, DetectSettings(), now_us,
            lambda wallet, conditions: self.moved.append((wallet, conditions)),
        )  # fmt: skip

    def believed(self):
        found = self.r.query("SELECT token, shares FROM leader_position WHERE shares <> 0")
        return {row["token"]: row["shares"] for row in found}

    async def trades(self, leader=0, **more):
        tx = self.acts.do_trade(leader=leader, **more)["tx"]
        await until(lambda: self.shown(tx), "it shows")
        return tx

    def shown(self, tx):
        now_us = self.r.sim.exchange.now_us
        return any(f.row.tx == tx and f.visible_us <= now_us for f in self.r.sim.data._rows)

    async def knows_market(self, number=0):
        market = self.r.market(number)
        known = Facts(market.condition, tuple(market.tokens), tuple(market.outcomes))
        await self.r.ledger.transact(learn, known, "gamma", as_of_us=now_us())


@contextlib.asynccontextmanager
async def index(tmp_path, plan=QUIET):
    async with rig(tmp_path, plan) as r:
        transport = Transport(r.addresses["data_url"], timeout_s=10, requests_per_s=500)
        found = Index(r, transport)
        await found.intake.load()
        try:
            yield found
        finally:
            await transport.close()


async def test_a_row_that_shows_ten_minutes_late_is_found(tmp_path):
    async with index(tmp_path) as i:
        await i.trades(leader=0)
        await i.activity.poll(i.r.leader)
        await i.activity.poll(i.r.leader)
        i.r.sim.director.do_lags(aged_s=600)
        tx = await i.trades(leader=0, market=1)
        await i.activity.poll(i.r.leader)
        late = i.r.query("SELECT traded_s, seen_us FROM leader_trade WHERE tx = ?", tx)
        assert late and late[0]["seen_us"] // M - late[0]["traded_s"] >= 600
        # The next life as well: it reads from when the last answer came, not from the last trade.
        again = Activity(i.api, i.r.ledger, i.intake, DetectSettings(), now_us)
        tx = await i.trades(leader=0, market=2)
        await again.poll(i.r.leader)
        assert i.r.value("SELECT COUNT(*) FROM leader_trade WHERE tx = ?", tx) == 1


async def test_a_cursor_ahead_of_our_clock_hides_nothing(tmp_path):
    async with index(tmp_path) as i:
        ahead_s = now_us() // M + 7_200
        await i.r.ledger.transact(leaders.advance, "data_api", i.r.leader, ahead_s, now_us=now_us())
        tx = await i.trades(leader=0)
        await i.activity.poll(i.r.leader)
        assert i.r.value("SELECT COUNT(*) FROM leader_trade WHERE tx = ?", tx) == 1


async def test_a_long_answer_is_stored_in_parts_and_its_cursor_with_the_last(tmp_path):
    async with index(tmp_path) as i:
        sizes, transact = [], i.r.ledger.transact

        async def counted(work, *args, **more):
            before = i.r.value("SELECT COUNT(*) FROM leader_trade")
            known = i.r.value("SELECT COUNT(*) FROM cursor WHERE source = 'data_api'")
            found = await transact(work, *args, **more)
            more_now = i.r.value("SELECT COUNT(*) FROM leader_trade") - before
            noted = i.r.value("SELECT COUNT(*) FROM cursor WHERE source = 'data_api'") > known
            sizes.append((more_now, noted))
            return found

        market, i.r.ledger.transact = i.r.market(), counted
        one = LeaderFill(
            "", i.r.leader.lower(), market.tokens[0], Side.BUY, M, M, market.condition, "Yes", "t",
            now_us() // M,
        )  # fmt: skip
        seen = [(dataclasses.replace(one, tx=f"0x{n}"), (M, M)) for n in range(120)]
        cursor = ("data_api", i.r.leader, 5)
        assert await i.intake.absorb("data_api", seen, seen_us=now_us(), cursor=cursor) == 120
        assert sizes == [(50, False), (50, False), (20, True)]


async def test_how_far_a_leader_was_read_is_stored_once_a_minute(tmp_path):
    async with index(tmp_path) as i:
        wallet, shift_s = i.r.leader, 0
        activity = Activity(
            i.api, i.r.ledger, i.intake, DetectSettings(), lambda: now_us() + shift_s * M
        )
        await activity.poll(wallet)
        first = await i.r.ledger.look(leaders.cursor, "data_api", wallet)
        shift_s = 30
        await activity.poll(wallet)
        assert await i.r.ledger.look(leaders.cursor, "data_api", wallet) == first
        shift_s = 61
        await activity.poll(wallet)
        assert await i.r.ledger.look(leaders.cursor, "data_api", wallet) >= first + 60


async def test_pairs_made_and_given_back_are_in_what_he_holds(tmp_path):
    async with index(tmp_path) as i:
        yes, no = i.r.market().tokens
        await i.trades(leader=0, usdc=100)
        bought = i.r.sim.story.leaders[0].shares[yes]
        i.acts.do_pair(market=0, shares=50, leader=0)
        await i.activity.poll(i.r.leader)
        assert i.believed() == {yes: bought}, "nobody has said yet which tokens these are"
        await i.knows_market()
        await i.activity.poll(i.r.leader)
        assert i.believed() == {yes: bought + 50 * M, no: 50 * M}
        i.acts.do_pair(market=0, shares=50, leader=0, merge=True)
        await i.activity.poll(i.r.leader)
        await i.activity.poll(i.r.leader)
        assert i.believed() == {yes: bought}
        kinds = {row["kind"] for row in i.r.query("SELECT kind FROM leader_trade")}
        assert kinds == {"trade", "split", "merge"}
        assert i.r.value("SELECT COUNT(*) FROM signal") == 1, "they are no trades"


async def test_pairs_are_no_trades_both_ways(tmp_path):
    async with index(tmp_path) as i:
        market, wallet = i.r.market(), i.r.leader
        await i.knows_market()
        await i.trades(leader=0, usdc=100)
        i.acts.do_pair(market=0, shares=5_000, leader=0)
        await i.activity.poll(wallet)
        bought = i.r.value("SELECT shares FROM leader_trade WHERE kind = 'trade'")
        for token, ways in zip(market.tokens, ((bought, 0), (0, bought)), strict=True):
            found = await i.r.ledger.look(facts.both_ways, wallet, market.condition, token, 0)
            assert found == ways


async def test_what_a_row_does_not_say_is_doubted(tmp_path):
    async with index(tmp_path) as i:
        await i.trades(leader=0)
        market = i.r.market()
        i.r.sim.director.acts.do_life(0, "resolved")
        i.acts.do_redeem(market=0, leader=0)
        await i.activity.poll(i.r.leader)
        assert i.moved == [(i.r.leader, [market.condition])]


async def test_the_tail_finds_what_nobody_is_asked_about(tmp_path):
    async with index(tmp_path) as i:
        tail = Tail(i.api, i.intake, now_us)
        txs = [await i.trades(leader=n % 3, market=n, split=True) for n in range(4)]
        txs += i.acts.do_drip(leader=3, market=6, fills=2)["tx"]  # a resting order of his
        await until(lambda: i.shown(txs[-1]), "it shows")
        assert await tail.read() >= 5
        assert await tail.read() == 0, "what is read again is no news"
        known = {row["tx"] for row in i.r.query("SELECT tx FROM leader_trade")}
        assert known.issuperset(txs)
        tx = await i.trades(leader=0, market=5)
        await tail.read()
        assert i.r.value("SELECT state FROM leader_trade WHERE tx = ?", tx) == "mined"


async def test_the_tail_pages_back_to_where_it_was(tmp_path):
    async with index(tmp_path) as i:
        asked = []

        async def page(path, params, cursor):
            asked.append(cursor)
            return await found(path, params | {"limit": "5"}, cursor)

        found, i.api._page = i.api._page, page
        for n in range(6):
            await i.trades(leader=n % 2, market=n)
        tail = Tail(i.api, i.intake, now_us)
        await tail.read()
        assert asked == [None], "at first it has nowhere to go back to"
        for n in range(6):
            await i.trades(leader=n % 2, market=n)
        await tail.read()
        assert len(asked) > 2
        assert i.r.value("SELECT COUNT(*) FROM leader_trade") >= 12


async def test_where_no_wallet_may_be_left_out_polls_remain(tmp_path):
    async with index(tmp_path) as i:
        i.r.sim.director.do_fault(on="GET /v2/trades", do="status", status=400, times=1)
        pauses = []

        async def sleep(seconds):
            pauses.append(seconds)
            if len(pauses) == 2:
                raise asyncio.CancelledError

        tail = Tail(i.api, i.intake, now_us, sleep)
        with contextlib.suppress(asyncio.CancelledError):
            await tail.run()
        assert pauses[0] > 60 * pauses[1] / 10 and tail.answered_us is not None
        i.r.sim.director.do_fault(on="GET /v2/trades", do="status", status=422, times=1)
        with pytest.raises(Refused, match="422"):
            await tail.read()


async def test_an_index_that_stands_still_says_so_and_is_not_relied_on(tmp_path):
    async with index(tmp_path) as i:
        freshness = Freshness(i.api)
        await freshness.look()
        assert freshness.lag_s == 0 and not freshness.behind
        i.r.sim.data.stalled_us = i.r.sim.exchange.now_us - 90 * M
        await freshness.look()
        assert freshness.behind
        i.r.sim.director.do_fault(on="GET /v2/status", do="status", status=500, times=4)
        await freshness.look()
        assert freshness.behind, "what it said last stands"
        i.r.sim.director.do_heal()
        await freshness.look()
        assert not freshness.behind


def test_slow_answers_are_a_reason_to_ask_seldomer(tmp_path):
    class Api:
        slowest_s = 0.0

        def forget_times(self):
            self.slowest_s = 0.0

    api = Api()
    activity = Activity(api, None, None, DetectSettings(), now_us)
    for slowest_s, expected in ((0, 1), (SLOW_S + 1, 2), (SLOW_S + 1, 4), (0, 2), (0, 1), (0, 1)):
        api.slowest_s = slowest_s
        activity._pace()
        assert activity._stretch == expected
    for _ in range(9):
        api.slowest_s = SLOW_S + 1
        activity._pace()
    assert activity._stretch == 8


async def test_entries_stop_where_nobody_is_heard_who_knows_and_go_on_when_somebody_is(tmp_path):
    async with rig(tmp_path) as r:
        now, heard = now_us(), {}

        def authority():
            return Authority(
                r.ledger, {"A": lambda: heard.get("A"), "B": lambda: heard.get("B")}, lambda: now
            )

        def stopped():
            return r.value("SELECT reason FROM lock WHERE scope = ?", control.UNSEEN)

        first = authority()
        await first.look()
        assert stopped() is None and not first.absent("A") and first.absent("C")
        now += PATIENCE_US + 1
        assert first.absent("A")
        await first.look()
        assert "A and B" in stopped()
        alerts = "SELECT COUNT(*) FROM alert WHERE key = 'sources:unseen' AND cleared_us IS NULL"
        assert r.value(alerts) == 1
        again = authority()
        await again.look()
        assert stopped(), "who begins knows no more than who was before"
        now += PATIENCE_US + 1
        heard["B"] = now
        assert again.absent("A") and not again.absent("B")
        await again.look()
        assert stopped() is None and r.value(alerts) == 0
        now += PATIENCE_US + 1
        await again.look()
        assert stopped()
