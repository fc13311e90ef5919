"""The executor against the simulated exchange: decisions, fills, recovery, limits."""

import asyncio
import dataclasses
import json
import time

import pytest

from bot.errors import InvariantBroken
from bot.ledger import control, leaders, orders
from bot.model import Accepted, ControlMode, Order, Rejected, RejectReason, Side, Unknown
from bot.polymarket.clob import Clob
from bot.runtime import now_us
from bot.sim.server import Plan
from tests.rig import M, rig, until


async def test_an_entry_is_copied_settled_and_equal_to_the_exchange(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.settled()
        order = r.query("SELECT * FROM orders")[0]
        assert order["state"] == "filled"
        assert r.sim.exchange.outside == [order["id"]]
        assert r.value("SELECT settlement FROM fill") == "confirmed"
        r.assert_equal_to_exchange()


@pytest.mark.parametrize("signature_type", [1, 2, 3])
async def test_every_kind_of_wallet_and_market_trades(tmp_path, signature_type):
    plan = Plan(signature_type=signature_type, failed_share=0, retried_share=0)
    async with rig(tmp_path, plan, risk={"min_shares": 5}) as r, r.working():
        for market in range(6):  # standard at four ticks, neg-risk, V3
            await r.sees(market=market)
        await until(lambda: len(r.reasons()) == 6, "six decisions")
        await r.settled()
        assert r.reasons() == ["copied"] * 6
        assert {row["state"] for row in r.query("SELECT state FROM orders")} == {"filled"}
        r.assert_equal_to_exchange()


async def test_exits_follow_in_proportion_and_wait_for_settlement(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees(shares=100 * M)
        await r.sees(Side.SELL, 50 * M)
        await until(lambda: len(r.reasons()) == 2, "both decided")
        await r.settled()
        sold = r.query("SELECT * FROM orders WHERE side = 'SELL'")[0]
        bought = r.query("SELECT shares FROM fill WHERE side = 'BUY'")[0]["shares"]
        assert sold["making"] == bought // 2 - bought // 2 % 10_000
        r.assert_equal_to_exchange()


async def test_the_opposite_side_of_another_leader_is_skipped(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees()
        await r.settled()
        await r.sees(outcome=1, leader=1)
        await until(lambda: len(r.reasons()) == 2, "both decided")
        assert r.reasons()[1] == "opposite_held"


async def test_buying_the_complement_sells_what_we_hold(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees(shares=100 * M)
        await r.settled()
        await r.sees(shares=100 * M, outcome=1)
        await until(lambda: len(r.reasons()) == 2, "both decided")
        await r.settled()
        assert [row["side"] for row in r.query("SELECT side FROM orders ORDER BY created_us")] == ["BUY", "SELL"]
        r.assert_equal_to_exchange()


async def test_growth_before_the_decision_joins_and_after_it_follows_up(tmp_path):
    async with rig(tmp_path) as r:
        await r.sees(shares=50 * M, tx="0x" + "e" * 64)
        await r.sees(shares=80 * M, tx="0x" + "e" * 64)
        assert r.query("SELECT shares, seq FROM signal") == [{"shares": 80 * M, "seq": 0}]
        async with r.working():
            await until(lambda: r.reasons() == ["copied"], "a decision")
            await r.sees(shares=120 * M, tx="0x" + "e" * 64, source="data_api")
            await until(lambda: len(r.reasons()) == 2, "a follow-up decision")
            await r.settled()
        assert r.query("SELECT shares, seq FROM signal ORDER BY seq")[1] == {"shares": 40 * M, "seq": 1}
        assert r.reasons()[1] == "already_copied"
        assert r.value("SELECT COUNT(*) FROM leader_trade") == 1


async def test_signals_are_decided_once_however_often_they_are_delivered(tmp_path):
    async with rig(tmp_path) as r, r.working():
        for _ in range(3):
            await r.sees(tx="0x" + "e" * 64)
            await r.sees(tx="0x" + "e" * 64, source="rtds:2")
        await r.settled()
        assert r.reasons() == ["copied"]
        assert len(r.sim.exchange.outside) == 1


class Lossy:
    """A venue whose answers are lost after the exchange has accepted."""

    def __init__(self, clob: Clob, *, answers: list) -> None:
        self._clob, self._answers = clob, answers
        self.posts: list[str] = []

    def __getattr__(self, name):
        return getattr(self._clob, name)

    async def post(self, order: Order):
        outcome = await self._clob.post(order)
        self.posts.append(order.body)
        return self._answers.pop(0) if self._answers else outcome


async def test_a_lost_answer_is_resolved_by_evidence_and_never_signed_again(tmp_path):
    async with rig(tmp_path) as r, r.working():
        venue = await lossy_in_place(r, [Unknown("timeout")])
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.settled()
        assert r.value("SELECT state FROM orders") == "filled"
        assert len(set(venue.posts)) == 1
        assert len(r.sim.exchange.outside) == 1
        r.assert_equal_to_exchange()


async def lossy_in_place(r, answers):
    venue = Lossy(r.clob, answers=answers)
    r.executor._venue = venue
    return venue


async def test_a_busy_exchange_gets_the_same_bytes_again(tmp_path):
    async with rig(tmp_path) as r, r.working():
        venue = Busy(r.clob)
        r.executor._venue = venue
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.settled()
        assert r.value("SELECT state FROM orders") == "filled"
        assert len(venue.bodies) == 2 and len(set(venue.bodies)) == 1
        r.assert_equal_to_exchange()


class Busy:
    """Answers 425 once, without asking the exchange."""

    def __init__(self, clob: Clob) -> None:
        self._clob, self.bodies = clob, []

    def __getattr__(self, name):
        return getattr(self._clob, name)

    async def post(self, order: Order):
        self.bodies.append(order.body)
        return Rejected(RejectReason.BUSY, "HTTP 425", 1) if len(self.bodies) == 1 else await self._clob.post(order)


async def stored_order(r, *, posted: bool) -> Order:
    """Store a decision with a signed order, as a life that ended before its answer would have."""
    await r.boots()
    await r.sees()
    signal = (await r.ledger.transact(lambda tx: leaders.pending(tx, 1, now_us=now_us())))[0]
    order = await r.executor._decider.decide(signal)
    if posted:
        await r.clob.post(order)
    return order


@pytest.mark.parametrize("posted", [False, True], ids=["killed before the POST", "killed after the POST"])
async def test_a_new_life_finishes_what_an_earlier_one_left(tmp_path, posted):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=posted)
        async with r.working():
            await r.settled()
        assert r.value("SELECT state FROM orders") == "filled"
        assert r.sim.exchange.outside == [order.id]
        r.assert_equal_to_exchange()


async def test_an_order_that_never_arrived_expires_and_frees_its_budget(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        past = now_us() - 60 * M

        async def age(tx):
            await tx.execute("UPDATE orders SET deadline_us = ?, created_us = ? WHERE id = ?", (past, past, order.id))

        await r.ledger.transact(age)
        async with r.working():
            await r.settled()
        assert r.query("SELECT state, reserved FROM orders") == [{"state": "expired", "reserved": 0}]
        assert r.sim.exchange.outside == []


async def test_a_second_executor_stops_the_first(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        old = r.executor
        await r.boots()
        await r.sees()
        with pytest.raises(InvariantBroken, match="another executor"):
            await old.run(asyncio.Event())
        assert r.reasons() == []


async def test_a_failed_settlement_is_taken_back_once(tmp_path):
    async with rig(tmp_path, Plan(failed_share=1.0)) as r, r.working():
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.settled()
        assert r.value("SELECT settlement FROM fill") == "failed"
        assert r.query("SELECT shares, cost, realized FROM position") == [{"shares": 0, "cost": 0, "realized": 0}]
        assert r.query("SELECT realized, fees, bought FROM daily_pnl") == [{"realized": 0, "fees": 0, "bought": 0}]
        r.assert_equal_to_exchange()


async def test_a_retried_settlement_ends_with_its_new_hash(tmp_path):
    async with rig(tmp_path, Plan(failed_share=0, retried_share=1.0)) as r, r.working():
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.settled()
        trade = next(iter(t for t in r.sim.exchange.trades.values() if t.taker.owner_key))
        assert r.query("SELECT settlement, tx FROM fill") == [{"settlement": "confirmed", "tx": trade.tx}]
        r.assert_equal_to_exchange()


async def test_a_killed_order_is_a_business_outcome(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.books.watch(list(r.market().tokens), max_age_us=0)
        await until(lambda: r.books.book(r.market().tokens[0]) is not None, "a book")
        # The liquidity vanishes between the decision and the match.
        original = r.clob.post

        async def post(order):
            r.sim.exchange.books[r.market().condition].orders.clear()
            return await original(order)

        r.clob.post = post
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.settled()
        assert r.value("SELECT state FROM orders") == "rejected"
        assert "no_match" in r.value("SELECT reason FROM orders")
        assert r.value("SELECT errors FROM control") == 0
        r.assert_equal_to_exchange()


@pytest.mark.parametrize(
    ("risk", "strategy", "reason"),
    [
        ({"max_daily_volume_usdc": 9}, {}, "daily_volume"),
        ({"min_shares": 50}, {}, "below_min_size"),
        ({}, {"fixed_usdc": 1100}, "no_balance"),
        ({}, {"min_price": "0.6"}, "price_band"),
        ({}, {"max_price": "0.4"}, "price_band"),
        ({}, {"min_leader_usdc": 1000}, "too_small"),
    ],
)
async def test_each_limit_trips_through_the_executor(tmp_path, risk, strategy, reason):
    if reason == "no_balance":
        risk = {"max_market_usdc": 5000, "max_exposure_usdc": 5000}
    if "max_depth_ratio" not in strategy:
        strategy = {**strategy, "max_depth_ratio": 1}
    async with rig(tmp_path, risk=risk, strategy=strategy) as r, r.working():
        if reason == "no_balance":
            r.sim.trader.collateral = 10 * M
            await r.ledger.transact(lambda tx: orders.add_cash(tx, -990 * M, now_us=now_us()))
        await r.sees(shares=1000 * M if reason == "no_balance" else 100 * M)
        await until(lambda: r.reasons() == [reason], reason)
        assert r.sim.exchange.outside == []


async def test_the_market_limit_counts_all_leaders(tmp_path):
    async with rig(tmp_path, risk={"max_market_usdc": 15}) as r, r.working():
        await r.sees()
        await r.settled()
        await r.sees(leader=1)
        await until(lambda: r.reasons() == ["copied", "market_limit"], "the second is over the limit")


async def test_opposite_sides_milliseconds_apart_are_not_both_bought(tmp_path):
    async with rig(tmp_path) as r:
        await r.sees()
        await r.sees(outcome=1, leader=1)
        async with r.working():
            await until(lambda: len(r.reasons()) == 2, "both decided")
            await r.settled()
        assert r.reasons() == ["copied", "opposite_held"]


async def test_exposure_counts_all_markets(tmp_path):
    async with rig(tmp_path, risk={"max_exposure_usdc": 12, "max_market_usdc": 12}) as r, r.working():
        await r.sees()
        await r.settled()
        await r.sees(market=1)
        await until(lambda: r.reasons() == ["copied", "exposure"], "the second is over the limit")


async def test_concurrent_signals_never_exceed_the_caps(tmp_path):
    async with rig(tmp_path, risk={"max_exposure_usdc": 35, "max_market_usdc": 35}) as r, r.working():
        await asyncio.gather(*(r.sees(market=i % 6, leader=i % 4) for i in range(24)))
        await r.settled()
        assert r.value("SELECT SUM(cost) FROM position") <= 35 * M
        assert len(r.reasons()) == 24
        r.assert_equal_to_exchange()


async def test_stale_entries_are_skipped_and_stale_exits_run(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees(age_s=60)
        await until(lambda: r.reasons() == ["stale"], "too late to enter")
        await r.sees(market=1)
        await r.settled()
        await r.sees(Side.SELL, market=1, age_s=60)
        await until(lambda: r.reasons() == ["stale", "copied", "copied"], "never too late to leave")
        await r.settled()
        r.assert_equal_to_exchange()


async def test_pause_stops_entries_and_halt_stops_everything(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees()
        await r.settled()
        await steer(r, ControlMode.PAUSED)
        await r.sees(market=1)
        await r.sees(Side.SELL, 40 * M)
        await until(lambda: len(r.reasons()) == 3, "all decided")
        await r.settled()
        assert sorted(r.reasons()) == ["copied", "copied", "paused"]
        await steer(r, ControlMode.HALTED)
        await r.sees(Side.SELL, 30 * M)
        await until(lambda: len(r.reasons()) == 4, "all decided")
        assert r.reasons()[3] == "halted"
        r.assert_equal_to_exchange()


async def steer(r, mode):
    await r.ledger.transact(lambda tx: control.steer(tx, mode, reason="test", actor="test", now_us=now_us()))


async def test_the_breaker_trips_on_consecutive_errors_and_survives_a_new_life(tmp_path):
    async with rig(tmp_path, risk={"breaker_errors": 2}) as r:
        async with r.working():
            r.sim.trader.allowed = False
            await r.sees()
            await r.settled()
            await r.sees(market=1)
            await r.settled()
        async with r.working():
            await r.sees(market=2)
            await until(lambda: len(r.reasons()) == 3, "all decided")
        assert r.reasons()[2] == "paused"
        row = r.query("SELECT mode, reason, actor FROM control")[0]
        assert row == {"mode": "paused", "reason": "breaker: 2 consecutive errors", "actor": "breaker"}
        assert r.value("SELECT COUNT(*) FROM alert WHERE cleared_us IS NULL") == 1


async def test_the_breaker_trips_on_the_days_loss(tmp_path):
    async with rig(tmp_path, risk={"breaker_loss_usdc": "0.5"}) as r, r.working():
        await r.sees()
        await r.settled()
        r.sim.exchange.books[r.market().condition].orders.clear()
        maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
        r.sim.exchange.inside(maker, r.market().tokens[0], "BUY", 300_000, 400 * M, "GTC")
        await asyncio.sleep(0.2)
        await r.sees(Side.SELL)
        await until(lambda: len(r.reasons()) == 2, "sold at a loss")
        await r.settled()
        assert r.value("SELECT mode FROM control") == "paused"
        assert "daily loss" in r.value("SELECT reason FROM control")


async def test_decisions_keep_the_numbers_they_were_made_on(tmp_path):
    async with rig(tmp_path, strategy={"min_leader_usdc": 1000}) as r, r.working():
        await r.sees()
        await until(lambda: r.reasons() == ["too_small"], "a skip")
        numbers = json.loads(r.value("SELECT numbers FROM decision"))
        assert numbers == {"leader_price": 510_000, "leader_usdc": 51 * M, "min_leader_usdc": 1000 * M}


async def test_stopping_lets_what_is_being_sent_come_to_its_answer(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            slow = asyncio.Event()
            original = r.clob.post

            async def post(order):
                slow.set()
                await asyncio.sleep(0.5)
                return await original(order)

            r.clob.post = post
            await r.sees()
            await slow.wait()
            await r.sees(market=1)
        assert r.value("SELECT state FROM orders") in ("open", "filled")
        assert r.value("SELECT COUNT(*) FROM orders") == 1
        assert r.value("SELECT COUNT(*) FROM signal WHERE decided = 0") <= 1


async def test_an_exit_that_nobody_buys_is_tried_again_until_it_is_sold(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees()
        await r.settled()
        book = r.sim.exchange.books[r.market().condition]
        for order in list(book.orders.values()):
            r.sim.exchange.cancel(order.id, "")
        await until(lambda: r.books.book(r.market().tokens[0]).bids == (), "an empty book")
        await r.sees(Side.SELL)
        await until(lambda: r.reasons() == ["copied", "no_liquidity"], "nobody buys")
        maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
        r.sim.exchange.inside(maker, r.market().tokens[0], "BUY", 480_000, 7 * M, "GTC")

        async def now(tx):
            await tx.execute("UPDATE signal SET seen_us = ? WHERE decided = 0", (now_us(),))

        await r.ledger.transact(now)
        await until(lambda: r.value("SELECT SUM(shares) FROM fill WHERE side = 'SELL'") == 7 * M, "a first part")
        r.sim.exchange.inside(maker, r.market().tokens[0], "BUY", 470_000, 100 * M, "GTC")
        await until(lambda: r.value("SELECT COUNT(*) FROM signal WHERE decided = 0") == 1, "another follow-up")
        await r.ledger.transact(now)
        await r.settled()
        assert r.value("SELECT SUM(shares) FROM position") < 10_000
        assert r.query("SELECT source FROM signal ORDER BY seen_us")[-1] == {"source": "retry"}
        r.assert_equal_to_exchange()


class Script:
    """A venue that tells its own story for a while: scripted answers to posts, blind lookups."""

    def __init__(self, clob: Clob, *, answers=(), blind_s: float = 0) -> None:
        self._clob, self._answers = clob, list(answers)
        self._sees_at = time.monotonic() + blind_s
        self.bodies: list[str] = []

    def __getattr__(self, name):
        return getattr(self._clob, name)

    async def post(self, order: Order):
        self.bodies.append(order.body)
        outcome = await self._clob.post(order)
        return self._answers.pop(0) if self._answers else outcome

    async def trades(self, market, *, after_s):
        return [] if time.monotonic() < self._sees_at else await self._clob.trades(market, after_s=after_s)


async def carried(r, venue) -> None:
    """Carry one entry to its end without the user channel: lookups are the only evidence."""
    await r.boots()
    r.executor._venue = venue
    stopping = asyncio.Event()
    books = asyncio.create_task(r.books.run())
    work = asyncio.create_task(r.executor.run(stopping))
    await r.sees()
    await until(lambda: r.reasons() == ["copied"], "a decision")
    await r.settled()
    stopping.set()
    await work
    books.cancel()


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param((), id="matched, lookups blind for longer than their lag"),
        pytest.param((Accepted("matched"),), id="matched without amounts"),
        pytest.param((Accepted("duplicate"),), id="duplicate"),
        pytest.param((Unknown("timeout"), Rejected(RejectReason.NO_BALANCE, "spent")), id="the re-post is refused"),
        pytest.param((Unknown("timeout"), Rejected(RejectReason.CREDENTIALS, "401")), id="the re-post is unauthorised"),
    ],
)
async def test_only_evidence_ends_what_the_exchange_has(tmp_path, answers):
    async with rig(tmp_path, execution={"evidence_lag_s": 3, "timeout_s": 5}) as r:
        venue = Script(r.clob, answers=answers, blind_s=5 if not answers else 1.5)
        await carried(r, venue)
        assert r.value("SELECT state FROM orders") == "filled"
        assert len(set(venue.bodies)) == 1
        assert len(r.sim.exchange.outside) == 1
        r.assert_equal_to_exchange()


async def test_no_byte_leaves_after_the_deadline(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        venue = Script(r.clob)
        r.executor._venue = venue
        await r.executor._send(dataclasses.replace(order, deadline_us=now_us() - 1), again=True)
        assert venue.bodies == []


async def test_a_halt_stops_bytes_that_were_to_be_sent_again(tmp_path):
    async with rig(tmp_path) as r:
        await stored_order(r, posted=False)
        await steer(r, ControlMode.HALTED)
        venue = Script(r.clob)
        await r.boots()
        r.executor._venue = venue
        await r.executor.settle(first=True)
        assert venue.bodies == []


async def test_an_exit_during_a_halt_is_made_good_after_it(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees()
        await r.settled()
        await steer(r, ControlMode.HALTED)
        await r.sees(Side.SELL)
        await until(lambda: r.reasons() == ["copied", "halted"], "halted")
        await steer(r, ControlMode.RUNNING)
        await r.ledger.transact(lambda tx: tx.execute("UPDATE signal SET seen_us = 0 WHERE decided = 0"))
        await r.settled()
        assert r.value("SELECT SUM(shares) FROM position") < 10_000
        r.assert_equal_to_exchange()


async def test_a_sale_that_fails_on_the_chain_is_sold_again(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees()
        await r.settled()
        r.sim.exchange.timing.failed_share = 1.0
        await r.sees(Side.SELL)
        await until(lambda: r.value("SELECT COUNT(*) FROM fill WHERE settlement = 'failed'") == 1, "the sale fails")
        r.sim.exchange.timing.failed_share = 0.0
        await r.ledger.transact(lambda tx: tx.execute("UPDATE signal SET seen_us = 0 WHERE decided = 0"))
        await r.settled()
        assert r.value("SELECT SUM(shares) FROM position") < 10_000
        r.assert_equal_to_exchange()


async def test_a_market_that_is_not_understood_stops_nothing_else(tmp_path):
    async with rig(tmp_path) as r, r.working():
        r.market(0).tick = 20_000
        r.sim.exchange.markets.pop(r.market(1).condition)
        await r.sees(market=0)
        await r.sees(market=1)
        await until(lambda: len(r.reasons()) == 2, "both decided")
        assert r.reasons().count("market_unknown") >= 1
        assert set(r.reasons()) <= {"market_unknown", "copied"}


async def test_a_timed_pause_does_not_outlast_the_breaker(tmp_path):
    async with rig(tmp_path, risk={"breaker_errors": 1}) as r, r.working():
        await r.ledger.transact(lambda tx: control.count_error(tx, reset=False))
        await r.sees()
        await until(lambda: r.reasons() == ["paused"], "the breaker is a guard of its own")
