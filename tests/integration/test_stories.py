"""The model in numbers: stories of leaders, operators and an unkind exchange, and what must come of them.

L is the leader's holding, S ours, N an exit's target, all of one token. Ten dollars buy a little
less than 20 shares here, so that targets are told as parts of what we hold.
"""

import asyncio
import contextlib
import dataclasses

import pytest

from bot import failpoints
from bot.execution import fills, foreign
from bot.ledger import intents, leaders, markets, orders, signals
from bot.model.control import ControlMode
from bot.model.fill import Fill, Settlement
from bot.model.intent import IntentKind
from bot.model.market import Side
from bot.model.order import Accepted, OrderState, Unknown
from bot.model.signal import Wish
from bot.report import laws
from bot.report.audit import mismatches
from bot.report.reader import read
from bot.runtime import now_us
from tests.integration.test_exits import entered, held, sold, waits
from tests.rig import M, Rig, rig, steer, stored_order, until

CENT = 10_000


def exit_of(r: Rig, leader: int = 0) -> dict:
    """Return the newest exit of a leader's portfolio."""
    return r.query(
        "SELECT * FROM intent WHERE kind = 'exit' AND portfolio = ? ORDER BY id DESC LIMIT 1",
        f"mirror/{r.settings.leaders[leader].wallet}",
    )[0]


def shares(r: Rig, leader: int = 0, outcome: int = 0) -> int:
    return r.value(
        "SELECT COALESCE(SUM(shares), 0) FROM position WHERE portfolio = ? AND token = ?",
        f"mirror/{r.settings.leaders[leader].wallet}",
        r.market().tokens[outcome],
    )


async def empties(r: Rig) -> None:
    """Take every order off the book, and wait until the bot has seen it."""
    for order in list(r.sim.exchange.books[r.market().condition].orders.values()):
        r.sim.exchange.cancel(order.id, "")
    token = r.market().tokens[0]
    await until(lambda: (book := r.books.book(token)) and not book.bids, "an empty book")


def bids(r: Rig, price: int, count: int) -> None:
    """Let somebody bid."""
    maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
    r.sim.exchange.inside(maker, r.market().tokens[0], "BUY", price, count * M, "GTC")


async def decided(r: Rig, number: int) -> None:
    await until(lambda: len(r.reasons()) == number, f"{number} decisions")


async def rests_at(r: Rig, wanted: int) -> None:
    """Come to rest with `wanted` shares, less than a sellable unit more at most, and every law kept."""
    await r.settled()
    assert wanted <= held(r) < wanted + 2 * CENT
    with read(r.path) as found:
        assert laws.broken(found) == [] and mismatches(found) == []
    r.assert_equal_to_exchange()


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
        assert exit_of(r) == first | {"target": ours * 8 // 10, "due_us": exit_of(r)["due_us"], "waits": exit_of(r)["waits"], "tries": exit_of(r)["tries"]}  # fmt: skip
        await steer(r, ControlMode.RUNNING)
        await rests_at(r, ours * 8 // 10)


async def test_story_2_half_a_filled_entry_follows_half_a_sale(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await until(lambda: r.books.stream.connected, "books")
        original = r.clob.post

        async def thinner(order):
            # Between our look at the book and our order, most of it is taken.
            for other in list(r.sim.exchange.books[r.market().condition].orders.values()):
                if other.side == "SELL":
                    r.sim.exchange.cancel(other.id, "")
            maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
            r.sim.exchange.inside(maker, r.market().tokens[0], "SELL", 520_000, 12 * M, "GTC")
            r.clob.post = original
            return await original(order)

        r.clob.post = thinner
        ours = await entered(r, shares=1000 * M)
        assert ours == 12 * M
        cover = r.query("SELECT shares, leader FROM cover")
        assert cover == [{"shares": 12 * M, "leader": 1000 * M}]
        await r.sees(Side.SELL, shares=500 * M)
        await until(lambda: sold(r) > 0, "an exit")
        await rests_at(r, 6 * M)


async def test_a_sale_seen_before_our_entry_has_ended_still_finds_its_part(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=True)
        await r.sees(Side.SELL, shares=50 * M)
        prover = r.execution.prover
        await until(lambda: r.sim.exchange.trades, "a trade")
        await prover.resolve(order)
        fresh = await r.ledger.look(orders.order, order.id)
        await r.ledger.transact(fills.finish, fresh, evidence_complete=True, now_us=now_us())
        ours, pending = held(r), await r.ledger.look(signals.pending, 1)
        assert r.query("SELECT shares, leader FROM cover") == [{"shares": ours, "leader": 100 * M}]
        leaver = r.execution.leaver
        await r.ledger.transact(leaver.decide, pending[0].id, now_us=now_us())
        assert exit_of(r)["target"] == ours // 2


async def test_story_3_an_increase_that_we_skip_sets_the_cover_anew(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await r.sees(shares=500 * M, age_s=60)
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
        r.sim._story.quote(r.market())
        await r.sees(shares=100 * M)
        await decided(r, 4)
        assert r.reasons()[3] == "copied", "only then an entry opens"
        await r.settled()


@pytest.mark.parametrize("landed", [True, False])
async def test_story_5_an_exit_takes_the_place_of_an_unknown_entry(tmp_path, landed):
    async with rig(tmp_path) as r, r.working():
        original = r.clob.post

        async def lost(order):
            if order.side is Side.BUY:
                if landed:
                    await original(order)
                return Unknown("timeout")
            return await original(order)

        r.clob.post = lost
        for client in r.sim.streams.user_clients:
            client.wants.clear()
        r.sim.exchange.evidence_lag_us = 0
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
        original = r.clob.post

        async def killed(order):
            found = await original(order)
            r.clob.post = original
            return Accepted("killed", text="no match") if isinstance(found, Accepted) else found

        ours = await entered(r, shares=1000 * M)
        r.sim.streams.user_clients.clear()
        r.clob.post = killed
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
        await r.ledger.transact(leaders.follow, follow, now_s=now_us() // M)
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


@pytest.mark.parametrize("payouts", [(1, 0), (0, 1), (1, 1)])
async def test_story_9_a_market_that_ends_ends_our_position(tmp_path, payouts):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: r.value("SELECT 1 FROM orders WHERE kind = 'GTD'"), "an exit rests")
        before = r.query("SELECT shares, cost FROM position")[0]
        r.sim.director._subjects[1].do_life(0, "resolved", payouts)
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
        with read(r.path) as found:
            assert mismatches(found) == [] and laws.broken(found) == []


async def test_story_11_after_an_unproven_attempt_only_the_wallets_word_lets_another_go(tmp_path):
    brief = {"validity_s": 2, "timeout_s": 2}
    async with rig(tmp_path, execution=brief) as r, r.working():
        await entered(r, shares=1000 * M, leader=0)
        await entered(r, shares=1000 * M, leader=1)
        both = held(r)
        original, hidden = r.clob.post, True

        async def lost(order):
            await original(order)
            return Unknown("timeout")

        async def nothing(condition, *, after_s):
            found = await fills(condition, after_s=after_s)
            kept = tuple(f for f in found.fills if f.side is Side.BUY) if hidden else found.fills
            return dataclasses.replace(found, fills=kept)

        fills, r.clob.fills, r.clob.post = r.clob.fills, nothing, lost
        r.sim.streams.user_clients.clear()
        await r.sees(Side.SELL, shares=1000 * M, leader=0)
        await until(lambda: "the wallet has less" in waits(r), "expired, and no second attempt")
        assert r.value("SELECT COUNT(*) FROM orders WHERE side = 'SELL'") == 1
        hidden, r.clob.post = False, original
        await r.execution.reconciler.compare(now_us=now_us())
        await r.settled()
        assert shares(r, 0) < CENT and abs(shares(r, 1) - both // 2) < CENT
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
        await until(lambda: r.value("SELECT 1 FROM orders WHERE kind = 'GTD'"), "A's exit rests")
        await r.sees(shares=1000 * M, leader=1)
        await decided(r, 3)
        assert r.reasons()[2] == "own_exit_stands"


async def test_story_24_nothing_at_a_cent_but_resting_at_the_floor(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        bids(r, 10_000, 400)
        await r.sees(Side.SELL, shares=1000 * M, price=600_000)
        await until(lambda: r.value("SELECT 1 FROM orders WHERE kind = 'GTD'"), "it rests")
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
        await until(lambda: r.value("SELECT 1 FROM orders WHERE kind = 'GTD'"), "the rest rests")
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
        key = (f"mirror/{r.settings.leaders[0].wallet}", r.market().condition, r.market().tokens[0])
        await r.ledger.transact(signals.ask, *key, str(Wish.CLOSE), now_us=now_us())
        r.execution.doorbell.set()
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
        await entered(r, shares=1000 * M)
        await empties(r)
        key = (f"mirror/{r.settings.leaders[0].wallet}", r.market().condition, r.market().tokens[0])
        await r.ledger.transact(signals.ask, *key, str(Wish.CLOSE), now_us=now_us())
        await decided(r, 2)
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
        struck = []

        def at(name: str) -> None:
            if name == point and not struck:
                struck.append(name)
                raise Died(name)

        hook = failpoints.hook.set(at)
        with contextlib.suppress(Died):
            async with r.working():
                # It rests; the halt has it cancelled; after that it is taken.
                await empties(r)
                await r.sees(Side.SELL, shares=1000 * M)
                resting = "SELECT 1 FROM orders WHERE kind = 'GTD' AND state = 'open'"
                await until(lambda: struck or r.value(resting), "it rests")
                await steer(r, ControlMode.HALTED)
                ended = "SELECT 1 FROM orders WHERE state = 'cancelled'"
                await until(lambda: struck or r.value(ended), "taken off the book")
        failpoints.hook.reset(hook)
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


async def test_an_operator_ends_what_stands_and_the_position_stays(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: r.value("SELECT 1 FROM orders WHERE kind = 'GTD'"), "an exit rests")
        key = (f"mirror/{r.settings.leaders[0].wallet}", r.market().condition, r.market().tokens[0])
        await r.ledger.transact(signals.ask, *key, str(Wish.CANCEL), now_us=now_us())
        await r.settled()
        assert exit_of(r)["state"] == "withdrawn" and held(r) == ours
        assert r.value("SELECT state FROM orders WHERE kind = 'GTD'") == "cancelled"


async def test_what_is_external_can_be_given_to_a_leader_and_leaves_with_him(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees(shares=1000 * M, age_s=600)  # he holds it, and we have not followed
        await decided(r, 1)
        token = r.market().tokens[0]
        r.sim.exchange.inside(r.sim.trader, token, "BUY", 900_000, 10 * M, "FAK", owner_key="hand")
        await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
        await r.execution.reconciler.compare(now_us=now_us())
        key = ("external", r.market().condition, token)
        owner = f"mirror/{r.settings.leaders[0].wallet}"
        await r.ledger.transact(signals.ask, *key, f"{Wish.ASSIGN} {owner}", now_us=now_us())
        r.execution.doorbell.set()
        await until(lambda: shares(r) > 0, "assigned")
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: held(r) < CENT, "out with him")
        await r.settled()
        with read(r.path) as found:
            assert mismatches(found) == [] and laws.broken(found) == []


async def test_a_resting_order_is_ended_by_proof_alone(tmp_path):
    """`not_canceled` proves nothing, and neither does a lookup that finds nothing."""
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await empties(r)

        async def not_found(_):
            return None

        async def denied(_):
            return False

        cancel, r.clob.order, r.clob.cancel = r.clob.cancel, not_found, denied
        await r.sees(Side.SELL, shares=1000 * M)
        await until(lambda: r.value("SELECT 1 FROM orders WHERE kind = 'GTD'"), "it rests")
        await steer(r, ControlMode.HALTED)
        await until(lambda: r.value("SELECT cancel_us FROM orders WHERE kind = 'GTD'"), "asked")
        await asyncio.sleep(4)
        assert r.value("SELECT state FROM orders WHERE kind = 'GTD'") == "open"
        r.clob.cancel = cancel
        await until(
            lambda: r.value("SELECT state FROM orders WHERE kind = 'GTD'") == "cancelled", "proven"
        )


async def test_a_reached_exit_is_not_about_shares_that_come_later(tmp_path):
    async with rig(tmp_path) as r, r.working():
        token = r.market().tokens[0]
        for number in (1, 2):
            r.sim.exchange.inside(
                r.sim.trader, token, "BUY", 900_000, 10 * M, "FAK", owner_key="hand"
            )
            r.sim._story.quote(r.market())
            await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
            await r.execution.reconciler.compare(now_us=now_us())
            bought = held(r)
            assert bought > 10 * M
            if number == 1:
                key = ("external", r.market().condition, token)
                await r.ledger.transact(signals.ask, *key, str(Wish.CLOSE), now_us=now_us())
                r.execution.doorbell.set()
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
                f"hand-{number}", order, r.market().condition, token, Side.SELL, sold_now,
                sold_now // 2, 0, Settlement.CONFIRMED, None, now_us(),
            )  # fmt: skip
            assert await r.ledger.look(orders.ours, [fill]) == []
            await r.ledger.transact(foreign.book, fill, None, now_us=now_us())
            assert len(await r.ledger.look(orders.ours, [fill])) == 1, "known from now on"
        assert abs(shares(r, 0) - shares(r, 1)) < CENT
        assert shares(r, 0) + shares(r, 1) == both - 16 * M
        with read(r.path) as found:
            assert mismatches(found) == []


async def test_shares_that_show_after_he_left_follow_him_out(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=True)
        await r.ledger.transact(fills.end, order, OrderState.EXPIRED, now_us=now_us())
        async with r.working():
            await r.sees(Side.SELL, shares=100 * M)
            await decided(r, 2)
            assert r.reasons()[1] == "not_held"
            await r.execution.reconciler.compare(now_us=now_us())
            await until(lambda: sold(r) > 0, "what was bought all the same is sold")
            await r.settled()
            assert held(r) < CENT
            with read(r.path) as found:
                assert mismatches(found) == [] and laws.broken(found) == []


async def test_an_increase_raises_an_exit_that_rests(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=500 * M)
        await until(lambda: r.value("SELECT 1 FROM orders WHERE kind = 'GTD'"), "it rests")
        await r.sees(shares=250 * M)
        await until(lambda: exit_of(r)["target"] == ours * 3 // 4, "raised while its order rests")
        ended = "SELECT 1 FROM orders WHERE kind = 'GTD' AND state = 'cancelled'"
        await until(lambda: r.value(ended), "what offers too much is taken off the book")
        bids(r, 490_000, 400)
        await until(lambda: held(r) < ours, "sold")
        await r.settled()
        assert held(r) >= ours * 3 // 4


async def test_doubt_outlives_its_intent(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r, shares=1000 * M)
            await r.sees(Side.SELL, shares=500 * M)
            await until(lambda: sold(r) > 0, "a first exit")
            await r.settled()
        doubt = "UPDATE orders SET doubted = 1 WHERE side = 'SELL'"
        await r.ledger.transact(lambda tx: tx.execute(doubt))
        key = (f"mirror/{r.settings.leaders[0].wallet}", r.market().condition, r.market().tokens[0])
        intent = await r.ledger.transact(
            intents.add, IntentKind.EXIT, *key, target=0, price=None, signal_id="s", now_us=now_us()
        )
        assert await r.ledger.look(intents.doubted, intent)


async def test_a_leader_changes_nothing_about_an_operators_close(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await empties(r)
        key = (f"mirror/{r.settings.leaders[0].wallet}", r.market().condition, r.market().tokens[0])
        wish = str(Wish.CLOSE_AT_ANY_PRICE)
        await r.ledger.transact(signals.ask, *key, wish, now_us=now_us())
        await decided(r, 2)
        await r.ledger.transact(lambda tx: tx.execute("DELETE FROM lock"))  # half an hour later
        await r.sees(Side.SELL, shares=100 * M, price=600_000)
        await decided(r, 3)
        await r.sees(shares=500 * M)
        before = r.execution.loop.progress_us
        await until(lambda: r.execution.loop.progress_us > before + 2 * M, "it was looked at")
        assert (exit_of(r)["target"], exit_of(r)["price"]) == (0, 0)


async def test_covers_count_the_other_side_and_what_was_passed_over(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            ours = await entered(r, shares=1000 * M)
        leaver = r.execution.leaver
        # +500 that nobody has decided, then -750: the purchase is passed over first.
        await r.sees(shares=500 * M, age_s=60)
        await r.sees(Side.SELL, shares=750 * M)
        pending = await r.ledger.look(signals.pending, 2)
        assert [s.side for s in pending] == [Side.SELL, Side.BUY], "exits are looked at first"
        await r.ledger.transact(leaver.decide, pending[0].id, now_us=now_us())
        assert r.reasons()[1:] == ["leader_left", "copied"]
        assert exit_of(r)["target"] == ours // 2


async def test_a_failed_sale_of_an_exit_before_the_last_one_is_sold_again(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        r.sim.director.do_settle(ways=["STUCK+FAILED"])
        await r.sees(Side.SELL, shares=200 * M)
        await until(lambda: sold(r) > 0, "a first exit, on its way to the chain")
        await until(lambda: r.sim.exchange.settlement.stuck, "which is stuck")
        await r.sees(Side.SELL, shares=800 * M)
        await until(lambda: held(r) < CENT, "a second exit, of all that is left")
        r.sim.director.do_release()
        await until(
            lambda: r.value("SELECT 1 FROM fill WHERE settlement = 'failed'"), "the first one fails"
        )
        await rests_at(r, ours % CENT)
