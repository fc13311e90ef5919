"""How other bots lost or doubled trades, and the proof that ours does not: one row, one name.

`PROOFS` names for each failure the drill (botctl drill NAME) or the test that would notice it.
"""

import ast
import asyncio
from pathlib import Path

import pytest

from bot.lab.drills import ALL
from bot.model.amounts import limit_amounts
from bot.model.market import Side
from bot.model.order import Unknown
from bot.sim.faults import Rule
from tests.integration.test_recovery import Script
from tests.rig import M, rig, until

TESTS = Path(__file__).parents[1]
#: A failure seen in the field -> its proofs.
PROOFS = {
    "a lost answer is signed again and bought twice": ["answers.ten_lost", "answers.dropped", "sabotage.re_sign"],
    "killed after the POST, copied again at restart": ["kill.post.sent.lost", "kill.post.answered.arrives"],
    "a redelivered signal is executed before its key is checked": ["test_three_deliveries_and_a_slow_post_make_one_order"],
    "a feed repeats a message and it counts as a new trade": ["feeds.replay", "streams.rtds.duplicate"],
    "an order without an id needs a human after a kill": ["kill.post.answering.lost", "kill.answer.written.arrives"],
    "a power cut forgets what was acknowledged": ["test_no_acknowledged_transaction_is_lost_in_a_power_cut"],
    "a queue in memory: seen, then gone": ["kill.seen.committed.arrives", "test_five_hundred_queued_signals_outlive_the_executor"],
    "trades told apart by transaction hash alone": ["sabotage.tx_hash_dedup", "test_one_transaction_of_two_leaders_two_tokens_and_fifty_fills"],
    "the first log is judged alone and is too small": ["test_a_large_trade_of_small_rows_is_not_too_small"],
    "a transaction is claimed before its wallet is known": ["test_a_strangers_row_first_hides_nobody"],
    "history is copied at the first start": ["test_history_before_we_watch_is_no_signal", "test_stale_entries_are_skipped_and_stale_exits_run"],
    "rows of one second, or past the page, are lost": ["test_a_hundred_and_twenty_trades_in_one_second_are_all_seen"],
    "a fill without an answer: the exit is refused": ["test_an_exit_after_a_lost_entry_answer_sells_what_was_bought"],
    "slices and additions are never followed": ["test_five_slices_are_followed_to_the_target"],
    "one share sold by the leader sells everything": ["test_two_sales_of_ten_percent_leave_sixteen_of_twenty"],
    "a cap is crossed by rounding up": ["test_no_entry_ever_pays_beyond_guard_or_budget", "test_concurrent_signals_never_exceed_the_caps"],
    "dollars and shares, floats and ticks confused": ["test_amounts_match_the_official_rounding", "test_order_id_and_signature_match_the_recorded_bytes"],
    "whole cents turn a small order into nothing": ["test_seven_shares_at_an_odd_price_are_an_order"],
    "breaker and daily loss live in memory": ["guards.survive", "test_the_breaker_trips_on_consecutive_errors_and_survives_a_new_life"],
    "buying raises the equity": ["test_buying_never_raises_equity"],
    "a limit exists and is not wired": ["test_each_limit_trips_through_the_executor"],
    "a dead loop in a living process": ["hung.blocked_loop", "hung.monitor", "hung.executor", "hung.health", "test_a_background_task_that_fails_ends_the_worker"],
    "HTTP 500 is taken for a rejection": ["answers.error_after_accept", "test_a_server_error_proves_nothing"],
    "a broken state file becomes the defaults": ["storage.truncated", "storage.emptied", "storage.corrupt"],
    "an entry rests without an end": ["test_an_order_that_never_arrived_expires_and_frees_its_budget", "test_no_byte_leaves_after_the_deadline"],
    "the wrong exchange contract is signed for": ["test_every_kind_of_wallet_and_market_trades"],
    "a killed reply hides a partial fill": ["orders.killed_reply", "answers.killed_but_filled"],
    "no key: live turns into a dry run": ["test_a_bad_key_ends_the_start_at_once_and_says_why"],
    "matched, then failed on the chain, then bought again": ["orders.failed", "test_a_failed_settlement_is_taken_back_once"],
    "not found is taken for not there": ["answers.lookups_lag"],
    "a stop is forgotten at restart": ["operator.pause", "operator.halt"],
}  # fmt: skip


def known_tests() -> set[str]:
    return {
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


@pytest.mark.parametrize("failure", PROOFS)
def test_every_failure_has_its_proof(failure):
    names = known_tests() | {drill.name for drill in ALL}
    assert not set(PROOFS[failure]) - names


async def test_three_deliveries_and_a_slow_post_make_one_order(tmp_path):
    async with rig(tmp_path) as r, r.working():
        r.sim.faults.rules.append(Rule("POST /order", "slow", seconds=1.5))
        await r.sees(tx="0x" + "e" * 64)
        await until(lambda: r.reasons() == ["copied"], "a decision")
        for source in ("rtds:2", "data_api", "rtds:1"):
            await r.sees(tx="0x" + "e" * 64, source=source)
            r.execution.doorbell.set()
        await r.settled()
        assert len(r.sim.exchange.outside) == 1
        r.assert_equal_to_exchange()


async def test_five_hundred_queued_signals_outlive_the_executor(tmp_path):
    small = {"min_leader_usdc": 1_000_000, "max_signal_age_s": 3600}
    async with rig(tmp_path, strategy=small) as r:
        for _ in range(500):
            await r.sees()
        assert r.value("SELECT COUNT(*) FROM signal WHERE decided = 0") == 500
        async with r.working():
            await until(lambda: len(r.reasons()) == 500, "every one decided in a new life")
        assert set(r.reasons()) == {"too_small"}


async def test_one_transaction_of_two_leaders_two_tokens_and_fifty_fills(tmp_path):
    tx = "0x" + "e" * 64
    async with rig(tmp_path) as r:
        for leader in range(2):
            for market in range(2):
                for total in range(1, 51):  # the running total of a source grows fill by fill
                    await r.sees(shares=total * 10 * M, market=market, leader=leader, tx=tx)
        found = r.query("SELECT shares, signals FROM leader_trade")
        assert found == [{"shares": 500 * M, "signals": 1}] * 4
        async with r.working():
            await until(lambda: len(r.reasons()) == 4, "four decisions")
            await r.settled()
            r.assert_equal_to_exchange()


async def test_a_strangers_row_first_hides_nobody(tmp_path):
    tx = "0x" + "e" * 64
    async with rig(tmp_path) as r:
        leaders = r.addresses["leaders"]
        r.addresses["leaders"] = ["0x" + "9" * 40, *leaders]
        await r.sees(tx=tx)
        assert r.value("SELECT COUNT(*) FROM leader_trade") == 0
        r.addresses["leaders"] = leaders
        await r.sees(tx=tx)
        assert r.value("SELECT COUNT(*) FROM signal") == 1


async def test_a_hundred_and_twenty_trades_in_one_second_are_all_seen(tmp_path):
    from tests.integration.test_detection import FAST, truth, watching
    from tests.integration.test_detection import totals as seen

    async with rig(tmp_path, FAST) as r, watching(r, rtds=False, page_limit=50):
        story = r.sim.story
        for number in range(120):
            r.sim.exchange.inside(
                story.leaders[0], r.market(number % 6).tokens[0], "BUY", 900_000, 30 * M, "FAK"
            )
            story.quote(r.market(number % 6))
        assert len(truth(r)) == 120
        await until(lambda: seen(r) == truth(r), "all of them, over several pages")


async def test_an_exit_after_a_lost_entry_answer_sells_what_was_bought(tmp_path):
    async with rig(tmp_path) as r, r.working(Script(r.clob, answers=[Unknown("timeout")])):
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "an entry")
        await r.sees(Side.SELL)
        await until(lambda: r.reasons() == ["copied", "copied"], "both decided")
        await r.settled()
        assert r.value("SELECT SUM(shares) FROM position") < 10_000
        r.assert_equal_to_exchange()


async def test_five_slices_are_followed_to_the_target(tmp_path):
    strategy = {"sizing": "proportional", "ratio": "0.1"}
    async with rig(tmp_path, strategy=strategy, risk={"min_shares": 1}) as r, r.working():
        for number in range(1, 6):
            await r.sees(shares=100 * M)
            await until(lambda n=number: len(r.reasons()) == n, "decided")
            await r.settled()
        assert r.reasons() == ["copied"] * 5
        # Budgets are rounded down to a cent, so that a slice may lack a part of a share.
        assert 48 * M <= r.value("SELECT SUM(shares) FROM position") <= 52 * M
        r.assert_equal_to_exchange()


def test_seven_shares_at_an_odd_price_are_an_order():
    found = limit_amounts(Side.BUY, 573_000, 7 * M, 1_000)
    assert (found.maker_amount, found.taker_amount) == (4_011_000, 7 * M)


async def test_a_background_task_that_fails_ends_the_worker():
    from types import SimpleNamespace

    from bot.runtime import until_stopped

    async def fails():
        raise ValueError("dead loop")

    async def works():
        await asyncio.Event().wait()

    boot = SimpleNamespace(stopping=asyncio.Event())
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(until_stopped(boot, works(), fails()), 30)
    assert caught.group_contains(ValueError, match="dead loop")
