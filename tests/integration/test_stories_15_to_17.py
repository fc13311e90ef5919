"""What a leader does at one go is one entry: stories 15 to 17, and how an entry goes on."""

import asyncio
import time

from bot.model.control import ControlMode
from bot.model.leader import LeaderFill
from bot.model.market import Side
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.exits import (
    assert_lawful,
    at,
    bids,
    deaf,
    decided,
    entered,
    held,
    later,
    offers_only,
    rests_at,
)
from tests.rig import M, Rig, rig, steer, until

CENT = 10_000


async def piece(r: Rig, number: int, shares: int, usdc: int, *, after_s: int, side=Side.BUY):
    """Show one fill of a leader's, made and seen so many seconds after the burst began."""
    market = r.market()
    fill = LeaderFill(
        f"0x{number:064x}",
        r.leader.lower(),
        market.tokens[0],
        side,
        shares,
        usdc,
        market.condition,
        market.outcomes[0],
        market.title,
        int(time.time()) + after_s,
    )
    began = now_us()
    await r.intake.absorb("data_api", [(fill, (shares, usdc))], seen_us=began + after_s * M)


def bought(r: Rig) -> list[int]:
    """Return the dollars of every order that bought, in millionths."""
    rows = r.query("SELECT maker_amount FROM orders WHERE side = 'BUY' ORDER BY created_us")
    return [row["maker_amount"] for row in rows]


async def test_story_15_a_resting_order_of_his_in_six_transactions_is_one_entry(tmp_path):
    async with rig(tmp_path) as r, r.working():
        for number in range(6):  # over forty seconds, at his order's one price
            await piece(r, number, 100 * M, 51 * M, after_s=8 * number)
            await decided(r, number + 1)
            await r.settled()
        assert r.reasons() == ["copied", *["already_copied"] * 5]
        assert len(bought(r)) == 1 and 9 * M < bought(r)[0] <= 10 * M


async def test_story_15_with_a_ratio_each_of_them_tops_up_to_the_target(tmp_path):
    sizing = {"sizing": "proportional", "ratio": "0.1"}
    async with rig(tmp_path, strategy=sizing) as r, r.working():
        for number in range(4):
            await piece(r, number, 100 * M, 51 * M, after_s=8 * number)
            await decided(r, number + 1)
            await r.settled()
            assert held(r) // CENT * CENT == 10 * M * (number + 1)
        assert r.reasons() == ["copied"] * 4
        assert_lawful(r)


async def test_story_16_five_hundred_dollars_in_fifty_pieces_are_judged_as_one(tmp_path):
    async with rig(tmp_path) as r, r.working():
        for number in range(50):  # within thirty seconds
            await piece(r, number, 20 * M, 10_200_000, after_s=number * 30 // 50)
        await r.settled()
        assert r.reasons()[:3] == ["too_small", "too_small", "copied"]
        assert set(r.reasons()[3:]) == {"already_copied"}
        assert len(bought(r)) == 1
        assert r.value("SELECT usdc FROM burst") == 50 * 10_200_000


async def test_story_17_who_buys_sells_and_buys_back_spends_one_burst(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await piece(r, 1, 100 * M, 51 * M, after_s=0)
        await decided(r, 1)
        await r.settled()
        await piece(r, 2, 100 * M, 51 * M, after_s=1)
        await decided(r, 2)
        await piece(r, 3, 200 * M, 102 * M, after_s=2, side=Side.SELL)
        await rests_at(r, 0)
        await piece(r, 4, 100 * M, 52 * M, after_s=3)
        await decided(r, 4)
        assert r.reasons() == ["copied", "already_copied", "copied", "burst_spent"]
        await later(r)
        await piece(r, 5, 100 * M, 52 * M, after_s=0)
        await decided(r, 5)
        # Of 500 shares in ten minutes 200 went the other way.
        assert r.reasons()[4] == "both_sides"
        assert len(bought(r)) == 1 and held(r) < CENT


async def test_what_an_attempt_did_not_get_is_tried_again_within_its_budget(tmp_path):
    async with rig(tmp_path) as r:
        with at("decide.committed", lambda: offers_only(r, 8)):
            async with r.working():
                await r.sees(shares=1000 * M)
                await until(lambda: held(r) == 8 * M, "a part of it")
                r.sim.story.quote(r.market())
                await r.settled()
                first, second = bought(r)
                spent = r.value("SELECT SUM(usdc) FROM fill")
                assert second <= first - 8 * 520_000 and first - M < spent <= first
                why = "less than a dollar of its budget is left"
                assert r.query("SELECT state, waits FROM intent") == [
                    {"state": "expired", "waits": why}
                ]
                assert r.query("SELECT shares FROM cover") == [{"shares": held(r)}]
                assert_lawful(r)
                r.assert_equal_to_exchange()


async def test_an_entry_ends_where_nobody_offers_the_rest_in_time(tmp_path):
    async with rig(tmp_path) as r:
        with at("decide.committed", lambda: offers_only(r, 8)):
            async with r.working():
                await entered(r, shares=1000 * M)
                found = r.query("SELECT state, waits FROM intent")
                assert found == [{"state": "expired", "waits": "its time is over"}]
                assert held(r) == 8 * M and len(bought(r)) == 1


async def test_limits_are_read_again_before_the_rest_is_bought(tmp_path):
    async with rig(tmp_path) as r:
        with at("decide.committed", lambda: offers_only(r, 8)):
            async with r.working():
                await r.sees(shares=1000 * M)
                await until(lambda: held(r) == 8 * M, "a part of it")
                await steer(r, ControlMode.PAUSED)
                r.sim.story.quote(r.market())
                await r.settled()
                found = r.query("SELECT state, waits FROM intent")
                assert found == [{"state": "expired", "waits": "paused"}]
                assert held(r) == 8 * M and len(bought(r)) == 1


async def test_an_attempt_in_doubt_is_the_last_of_its_entry_and_spends_its_burst(tmp_path):
    async with rig(tmp_path) as r, r.working():
        r.sim.faults.rules.append(Rule("POST /order", "reset", times=-1, where='"BUY"'))
        deaf(r)
        await piece(r, 1, 100 * M, 51 * M, after_s=0)
        await until(lambda: r.value("SELECT 1 FROM orders WHERE state = 'unknown'"), "a doubt")
        await r.settled()
        assert r.value("SELECT state FROM intent") == "expired"
        r.sim.faults.rules.clear()
        await piece(r, 2, 100 * M, 51 * M, after_s=1)
        await decided(r, 2)
        assert r.reasons() == ["copied", "burst_spent"]
        assert len(bought(r)) == 1


async def test_a_newer_trade_of_the_burst_takes_the_rest_of_an_entry_over(tmp_path):
    async with rig(tmp_path) as r:
        with at("decide.committed", lambda: offers_only(r, 8)):
            async with r.working():
                await piece(r, 1, 100 * M, 51 * M, after_s=0)
                await until(lambda: r.value("SELECT 1 FROM intent WHERE waits <> ''"), "a rest")
                r.sim.story.quote(r.market())
                await asyncio.gather(
                    piece(r, 2, 100 * M, 51 * M, after_s=1),
                    piece(r, 3, 100 * M, 51 * M, after_s=1),
                )
                await decided(r, 3)
                await r.settled()
        assert sum(bought(r)[:1]) <= 10 * M and r.value("SELECT SUM(usdc) FROM fill") <= 10 * M
        assert held(r) > 18 * M
        assert_lawful(r)


async def test_a_book_far_under_his_price_is_no_bargain(tmp_path):
    async with rig(tmp_path) as r, r.working():
        r.sim.exchange.books[r.market().condition].orders.clear()
        bids(r, 400_000, 100, "SELL")
        await r.sees(shares=1000 * M)
        await decided(r, 1)
        assert r.reasons() == ["price_fell"]


async def test_what_is_too_small_alone_is_judged_in_few_transactions(tmp_path):
    """Fifty of his fills are fifty decisions: each with a commit of its own would be late."""
    async with rig(tmp_path) as r:
        for number in range(40):
            await piece(r, number, M // 4, 127_500, after_s=0)
        statements: list[str] = []
        await r.ledger.look(lambda tx: tx.set_trace_callback(statements.append))
        async with r.working():
            await decided(r, 40)
        assert set(r.reasons()) == {"too_small"}
        assert statements.count("COMMIT") < 25
