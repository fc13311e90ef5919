"""What happens to the wallet past the bot: whose it is, and what becomes of it."""

from bot.execution import foreign
from bot.ledger import orders
from bot.model.fill import Fill, Settlement
from bot.model.intent import EXTERNAL
from bot.model.market import Side
from bot.model.signal import Wish
from bot.runtime import now_us
from tests.exits import CENT, assert_lawful, decided, entered, follower, held, shares, wishes
from tests.rig import M, rig, until


async def test_what_is_external_can_be_given_to_a_leader_and_leaves_with_him(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees(shares=1000 * M, age_s=600)  # he holds it, and we have not followed
        await decided(r, 1)
        r.sim.director.acts.do_by_hand(0, 10)
        await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
        await r.execution.reconciler.compare(now_us=now_us())
        await wishes(r, f"{Wish.ASSIGN} {follower(r)}", EXTERNAL)
        await until(lambda: shares(r) > 0, "assigned")
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: held(r) < CENT, "out with him")
        await r.settled()
        assert_lawful(r)


async def bought_by_nobody(r) -> None:
    """Let reconcile find a purchase of this wallet that no decision in the ledger has asked for."""
    r.sim.director.acts.do_by_hand(0, 10)
    await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
    await r.execution.reconciler.compare(now_us=now_us())
    assert held(r) > 0


async def test_what_a_forgotten_ledger_may_have_copied_is_not_copied_again(tmp_path):
    async with rig(tmp_path) as r, r.working():
        # A backup older than the copy was restored: all that is left of it is what it bought.
        await bought_by_nobody(r)
        before = held(r)
        await r.sees(age_s=5)
        await r.settled()
        assert r.reasons() == ["already_copied"] and held(r) == before
        await r.sees(market=1)
        await r.settled()
        assert r.reasons()[1:] == ["copied"], "another token is another matter"


async def test_what_was_bought_long_before_he_trades_is_no_copy_of_him(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await bought_by_nobody(r)
        earlier = "UPDATE fill SET matched_us = matched_us - 600000000"
        await r.ledger.transact(lambda tx: tx.execute(earlier).close())
        await r.sees()
        await r.settled()
        assert r.reasons() == ["copied"]


async def test_a_reached_exit_is_not_about_shares_that_come_later(tmp_path):
    async with rig(tmp_path) as r, r.working():
        for number in (1, 2):
            r.sim.director.acts.do_by_hand(0, 10)
            await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
            await r.execution.reconciler.compare(now_us=now_us())
            bought = held(r)
            assert bought > 10 * M
            if number == 1:
                await wishes(r, Wish.CLOSE, EXTERNAL)
                await until(lambda: held(r) < CENT, "closed")
                await r.settled()
        await r.settled()
        assert held(r) == bought, "what he bought after his close is his"


async def test_a_sale_by_hand_in_two_trades_takes_from_all_in_proportion(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M, leader=0)
        await entered(r, shares=1000 * M, leader=1)
        both, token = held(r), r.market().tokens[0]
        order = "0x" + "4a" * 32
        for number, sold_now in enumerate((10 * M, 6 * M)):
            fill = Fill(
                f"hand-{number}",
                order,
                r.market().condition,
                token,
                Side.SELL,
                sold_now,
                sold_now // 2 + 1,
                0,
                Settlement.CONFIRMED,
                None,
                now_us(),
            )
            assert await r.ledger.look(orders.ours, [fill]) == []
            await r.ledger.transact(foreign.book, fill, None, now_us=now_us())
            assert len(await r.ledger.look(orders.ours, [fill])) == 1, "known from now on"
        assert abs(shares(r, 0) - shares(r, 1)) < CENT
        assert shares(r, 0) + shares(r, 1) == both - 16 * M
        sales = r.value("SELECT SUM(usdc) FROM fill WHERE side = 'SELL'")
        assert sales == 8 * M + 2, "to the micro-dollar, however it is divided"
        assert_lawful(r)


async def test_shares_that_are_gone_are_missed_by_external_first_and_then_in_proportion(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M, leader=0)
        await entered(r, shares=1000 * M, leader=1)
        mine, token = held(r) // 2, r.market().tokens[0]
        where = (r.market().condition, token)
        await r.ledger.transact(foreign.move_shares, EXTERNAL, *where, 5 * M, now_us=now_us())
        await r.ledger.transact(foreign.shrink, *where, 9 * M, now_us=now_us())
        assert r.value("SELECT shares FROM position WHERE portfolio = 'external'") == 0
        assert abs(shares(r, 0) - (mine - 2 * M)) < CENT and abs(shares(r, 1) - shares(r, 0)) < CENT
        assert held(r) == 2 * mine - 4 * M
        assert_lawful(r)
