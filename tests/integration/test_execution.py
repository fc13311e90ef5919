"""The executor against the simulated exchange: decisions, fills, recovery, limits."""

import asyncio
import json

import pytest

from bot.ledger import account, control
from bot.model.control import ControlMode
from bot.model.market import Side
from bot.runtime import now_us
from bot.sim.faults import Rule
from bot.sim.plan import Plan
from tests.exits import at, entered
from tests.rig import M, rig, steer, until


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


async def test_what_is_seen_copied_and_passed_over_is_counted_once(tmp_path):
    async with rig(tmp_path) as r, r.working():
        assert r.execution.reconciler.wallet == r.signer.maker
        await entered(r, shares=1000 * M)
        await r.sees(shares=1 * M, market=1)
        await r.sees(Side.SELL, shares=1000 * M)
        await r.settled()
        counted = r.query("SELECT kind, key, n FROM tally WHERE kind <> 'realized'")
        assert {(row["kind"], row["key"]): row["n"] for row in counted} == {
            ("seen", r.leader): 3,
            ("copied", r.leader): 2,
            ("decision", "copied"): 2,
            ("decision", "too_small"): 1,
        }


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
        await until(lambda: r.reasons() == ["copied"], "an entry")
        await r.sees(Side.SELL, 50 * M)
        await until(lambda: len(r.reasons()) == 2, "both decided")
        await r.settled()
        sold = r.query("SELECT * FROM orders WHERE side = 'SELL'")[0]
        bought = r.query("SELECT shares FROM fill WHERE side = 'BUY'")[0]["shares"]
        assert sold["maker_amount"] == bought // 2 - bought // 2 % 10_000
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
        assert [row["side"] for row in r.query("SELECT side FROM orders ORDER BY created_us")] == [
            "BUY",
            "SELL",
        ]
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
        assert r.query("SELECT shares, seq FROM signal ORDER BY seq")[1] == {
            "shares": 40 * M,
            "seq": 1,
        }
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


async def test_a_failed_settlement_is_taken_back_once(tmp_path):
    async with rig(tmp_path, Plan(failed_share=1.0)) as r, r.working():
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.settled()
        assert r.value("SELECT settlement FROM fill") == "failed"
        assert r.query("SELECT shares, cost, realized FROM position") == [
            {"shares": 0, "cost": 0, "realized": 0}
        ]
        assert r.query("SELECT realized, fees, bought FROM daily_pnl") == [
            {"realized": 0, "fees": 0, "bought": 0}
        ]
        r.assert_equal_to_exchange()


async def test_a_retried_settlement_ends_with_its_new_hash(tmp_path):
    async with rig(tmp_path, Plan(failed_share=0, retried_share=1.0)) as r, r.working():
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.settled()
        trade = next(iter(t for t in r.sim.exchange.trades.values() if t.taker.owner_key))
        assert r.query("SELECT settlement, tx FROM fill") == [
            {"settlement": "confirmed", "tx": trade.tx}
        ]
        r.assert_equal_to_exchange()


async def test_a_killed_order_is_a_business_outcome(tmp_path):
    async with rig(tmp_path) as r:
        # The liquidity vanishes between the decision and the match.
        with at("decide.committed", r.sim.exchange.books[r.market().condition].orders.clear):
            async with r.working():
                await r.sees()
                await until(lambda: r.reasons() == ["copied"], "a decision")
                await r.settled()
        assert r.value("SELECT state FROM orders") == "cancelled"
        assert "killed" in r.value("SELECT reason FROM orders")
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
            await r.ledger.transact(lambda tx: account.add_cash(tx, -990 * M, now_us=now_us()))
        await r.sees(shares=1000 * M if reason == "no_balance" else 100 * M)
        await until(lambda: r.reasons() == [reason], reason)
        assert r.sim.exchange.outside == []


async def test_the_market_limit_counts_all_leaders(tmp_path):
    async with rig(tmp_path, risk={"max_market_usdc": 15}) as r, r.working():
        await r.sees()
        await r.settled()
        await r.sees(leader=1)
        await until(
            lambda: r.reasons() == ["copied", "market_limit"], "the second is over the limit"
        )


async def test_opposite_sides_milliseconds_apart_are_not_both_bought(tmp_path):
    async with rig(tmp_path) as r:
        await r.sees()
        await r.sees(outcome=1, leader=1)
        async with r.working():
            await until(lambda: len(r.reasons()) == 2, "both decided")
            await r.settled()
        assert r.reasons() == ["copied", "opposite_held"]


async def test_exposure_counts_all_markets(tmp_path):
    async with (
        rig(tmp_path, risk={"max_exposure_usdc": 12, "max_market_usdc": 12}) as r,
        r.working(),
    ):
        await r.sees()
        await r.settled()
        await r.sees(market=1)
        await until(lambda: r.reasons() == ["copied", "exposure"], "the second is over the limit")


async def test_concurrent_signals_never_exceed_the_caps(tmp_path):
    async with (
        rig(tmp_path, risk={"max_exposure_usdc": 35, "max_market_usdc": 35}) as r,
        r.working(),
    ):
        # Every signal is decided before the first fill is known: only reservations stand for it.
        r.sim.faults.rules.append(Rule("POST /order", "hang", times=-1))
        await asyncio.gather(*(r.sees(market=i % 6, leader=i % 4) for i in range(24)))
        await until(lambda: len(r.reasons()) >= 12, "each leader's market decided")
        r.sim.faults.heal()
        await r.settled()
        assert r.value("SELECT SUM(cost) FROM position") <= 35 * M
        assert len(r.reasons()) == 24
        r.assert_equal_to_exchange()


async def test_stale_entries_are_skipped_and_stale_exits_run(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees(age_s=300)
        await until(lambda: r.reasons() == ["stale"], "too late to enter")
        await r.sees(market=1)
        await r.settled()
        await r.sees(Side.SELL, market=1, age_s=300)
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
        waits = "SELECT waits FROM intent WHERE state = 'open'"
        await until(lambda: "halted" in (r.value(waits) or ""), "it waits")
        assert r.value("SELECT COUNT(*) FROM orders WHERE side = 'SELL'") == 1
        r.assert_equal_to_exchange()


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
        assert row == {
            "mode": "paused",
            "reason": "breaker: 2 consecutive errors",
            "actor": "breaker",
        }
        assert r.value("SELECT COUNT(*) FROM alert WHERE cleared_us IS NULL") == 1


async def test_the_breaker_trips_on_the_days_loss(tmp_path):
    async with rig(tmp_path, risk={"breaker_loss_usdc": "0.5"}) as r, r.working():
        await r.sees()
        await r.settled()
        r.sim.exchange.books[r.market().condition].orders.clear()
        maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
        r.sim.exchange.inside(maker, r.market().tokens[0], "BUY", 300_000, 400 * M, "GTC")
        token = r.market().tokens[0]
        await until(
            lambda: (b := r.books.book(token)) and b.bids and b.bids[0][0] == 300_000,
            "the price has fallen",
        )
        await r.sees(Side.SELL, price=310_000)
        await until(lambda: len(r.reasons()) == 2, "sold at a loss")
        await r.settled()
        assert r.value("SELECT mode FROM control") == "paused"
        assert "daily loss" in r.value("SELECT reason FROM control")


async def test_decisions_keep_the_numbers_they_were_made_on(tmp_path):
    async with rig(tmp_path, strategy={"min_leader_usdc": 1000}) as r, r.working():
        await r.sees()
        await until(lambda: r.reasons() == ["too_small"], "a skip")
        numbers = json.loads(r.value("SELECT numbers FROM decision"))
        assert numbers == {
            "leader_price": 510_000,
            "leader_usdc": 51 * M,
            "min_leader_usdc": 1000 * M,
        }


async def test_stopping_lets_what_is_being_sent_come_to_its_answer(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            slow = Rule("POST /order", "slow", seconds=0.5)
            r.sim.faults.rules.append(slow)
            await r.sees()
            await until(lambda: slow.struck, "it is being sent")
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
        await until(lambda: r.value("SELECT 1 FROM orders WHERE kind = 'GTD'"), "it rests")
        maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
        r.sim.exchange.inside(maker, r.market().tokens[0], "BUY", 480_000, 7 * M, "GTC")
        await until(
            lambda: r.value("SELECT SUM(shares) FROM fill WHERE side = 'SELL'") == 7 * M,
            "a first part",
        )
        r.sim.exchange.inside(maker, r.market().tokens[0], "BUY", 470_000, 100 * M, "GTC")
        await r.settled()
        assert r.value("SELECT SUM(shares) FROM position") < 10_000
        r.assert_equal_to_exchange()


async def test_an_exit_during_a_halt_is_made_good_after_it(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees()
        await r.settled()
        await steer(r, ControlMode.HALTED)
        await r.sees(Side.SELL)
        waits = "SELECT waits FROM intent WHERE state = 'open'"
        await until(lambda: "halted" in (r.value(waits) or ""), "halted")
        await steer(r, ControlMode.RUNNING)
        await r.settled()
        assert r.value("SELECT SUM(shares) FROM position") < 10_000
        r.assert_equal_to_exchange()


async def test_a_sale_that_fails_on_the_chain_is_sold_again(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees()
        await r.settled()
        r.sim.exchange.timing.failed_share = 1.0
        await r.sees(Side.SELL)
        await until(
            lambda: r.value("SELECT COUNT(*) FROM fill WHERE settlement = 'failed'") == 1,
            "the sale fails",
        )
        r.sim.exchange.timing.failed_share = 0.0
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
