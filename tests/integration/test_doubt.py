"""What the wallet's word proves, and when: found by an independent look."""

from dataclasses import replace
from typing import Any

import pytest

from bot.errors import Unavailable
from bot.execution import fills, foreign, look
from bot.ledger import intents, orders, positions, signals
from bot.model.fill import Fill, Settlement
from bot.model.market import Side
from bot.model.order import OrderState
from bot.model.signal import Wish
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.exits import (
    CENT,
    deaf,
    decided,
    empties,
    entered,
    exit_of,
    follower,
    shares,
    sold,
    waits,
    wishes,
)
from tests.rig import M, Rig, rig, stored_order, until

BRIEF = {"validity_s": 2, "timeout_s": 2}
SALES = "SELECT COUNT(*) FROM orders WHERE side = 'SELL'"


class SlowWallet:
    """The exchange, but that its first answer about shares takes until something has happened."""

    def __init__(self, venue: Any, meanwhile: Any) -> None:
        self._venue, self._meanwhile, self.asked = venue, meanwhile, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    async def shares(self, token: Any) -> int:
        found = await self._venue.shares(token)
        if self._meanwhile is not None and not self.asked:
            self.asked = True
            await self._meanwhile()
        return found


@pytest.mark.parametrize(
    ("settlement", "asked"), [(Settlement.MATCHED, ["correction"]), (Settlement.FAILED, [])]
)
async def test_a_purchase_that_shows_after_its_end_asks_for_a_decision(tmp_path, settlement, asked):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        await r.ledger.transact(fills.end, order, OrderState.EXPIRED, now_us=now_us())
        fill = Fill(
            "t1", order.id, order.condition, order.token, Side.BUY, 8 * M, 4 * M, 0,
            settlement, None, now_us(),
        )  # fmt: skip
        ended = await r.ledger.look(orders.order, order.id)
        await r.ledger.transact(fills.book, ended, fill, now_us=now_us())
        assert [s.kind for s in await r.ledger.look(signals.pending, 9)] == asked


class Silent:
    """A venue that tells no balance."""

    async def shares(self, token):
        raise Unavailable(f"balance of {token}")


async def test_a_wallet_that_does_not_answer_has_said_nothing():
    assert await look.in_wallet(Silent(), "7") is None


async def test_what_proves_a_wallet_whole(tmp_path):
    async with rig(tmp_path) as r:
        token = r.market().tokens[0]

        async def whole(after_s: int = 0) -> int | None:
            at = now_us() + after_s * M
            return await r.ledger.look(positions.whole_in_wallet, token, now_us=at, skew_s=0)

        assert await whole() == 0
        order = await stored_order(r, posted=False)
        assert await whole() is None, "a purchase is in flight"
        await r.ledger.transact(fills.end, order, OrderState.EXPIRED, now_us=now_us())
        assert (await r.ledger.look(orders.order, order.id)).doubted == 1
        assert await whole() is None, "it ended in doubt"
        assert await whole(positions.STUCK_S + 60) == 0, "so long ago that it would have shown"
        fill = Fill(
            "t1", order.id, order.condition, token, Side.BUY, 8 * M, 4 * M, 0,
            Settlement.MATCHED, None, now_us(),
        )  # fmt: skip
        assert await r.ledger.transact(fills.book, order, fill, now_us=now_us()) == "fill"
        assert await whole() == 8 * M, "what has not arrived is no reason to sell less"
        assert await whole(positions.STUCK_S + 60) == 0, "what is stuck may never arrive"
        mined = replace(fill, settlement=Settlement.MINED)
        await r.ledger.transact(fills.book, order, mined, now_us=now_us())
        assert await whole(positions.STUCK_S + 60) == 8 * M
        sale = replace(fill, trade_id="t2", side=Side.SELL, shares=3 * M)
        await r.ledger.transact(fills.book, order, sale, now_us=now_us())
        assert await whole() == 8 * M, "what is leaving may be there still"


async def test_a_wallets_word_is_about_the_moment_at_which_it_was_asked_for(tmp_path):
    """A's sale is done and nobody knows it; B's settles while the wallet's answer is on its way."""
    brief = {"validity_s": 2, "timeout_s": 2}
    async with rig(tmp_path, execution=brief) as r:
        mined = "SELECT 1 FROM fill WHERE side = 'SELL' AND settlement IN ('mined', 'confirmed')"

        async def meanwhile() -> None:
            r.sim.director.do_release(way="MINED")
            await until(lambda: r.value(mined), "B's sale is mined")

        venue = SlowWallet(r.clob, None)
        async with r.working(venue):
            for n in (0, 1, 2):
                await entered(r, shares=1000 * M, leader=n)
            r.sim.faults.rules.append(Rule("POST /order", "drop", where='"SELL"'))
            r.sim.director.do_lookups(lag_ms=3_600_000)
            deaf(r)
            await r.sees(Side.SELL, shares=1000 * M, leader=0)
            await until(lambda: "the wallet has less" in waits(r), "expired, no second attempt")
            await until(lambda: r.sim.truth()["settled"], "A's sale is final at the exchange")
            r.sim.director.do_stream("user", "clean")
            r.sim.director.do_settle(ways=["STUCK"])
            await r.sees(Side.SELL, shares=1000 * M, leader=1)
            await until(lambda: r.sim.exchange.settlement.stuck, "B's sale is stuck")
            await until(lambda: shares(r, 1) < CENT, "and booked")
            venue._meanwhile = meanwhile
            await r.ledger.transact(intents.wake, now_us=now_us())
            r.execution.doorbell.set()
            await until(lambda: venue.asked and r.value(mined), "asked, and B's sale is mined")
            await looks(r)
            assert r.value("SELECT COUNT(*) FROM orders WHERE side = 'SELL'") == 2, "A sold once"


def drop(r: Rig, side: str) -> None:
    """Let answers to orders of a side be lost, all of them."""
    r.sim.faults.rules.append(Rule("POST /order", "drop", where=f'"{side}"', times=-1))


async def looks(r: Rig) -> None:
    """Let the first leader's exit look once more."""
    began = now_us()
    await r.ledger.transact(intents.wake, now_us=began)
    r.execution.doorbell.set()
    await until(lambda: exit_of(r)["due_us"] > began, "it has looked again")


@pytest.mark.parametrize("purchase", ["in doubt", "matched at a better price"])
async def test_shares_that_were_bought_stand_in_for_none_that_have_gone(tmp_path, purchase):
    """Both a purchase of B's and a sale of A's are done, and nothing shows either."""
    any_price = {"max_better_ratio": 1}
    async with rig(tmp_path, execution=BRIEF, strategy=any_price) as r, r.working():
        await entered(r, shares=1000 * M, leader=0)
        deaf(r)
        r.sim.director.do_lookups(lag_ms=3_600_000)
        better = purchase != "in doubt"
        if not better:
            drop(r, "BUY")
        await r.sees(shares=1000 * M, leader=1, price=880_000 if better else 510_000)
        state = "open" if better else "unknown"
        bought = "SELECT 1 FROM orders WHERE side = 'BUY' AND portfolio = ? AND state = ?"
        await until(lambda: r.value(bought, follower(r, 1), state), "bought, and it does not show")
        drop(r, "SELL")
        await r.sees(Side.SELL, shares=380 * M, leader=0)
        await until(lambda: "being bought" in waits(r), "its sale has ended in doubt")
        await looks(r)
        assert r.value(SALES) == 1


async def test_what_is_asked_to_go_is_not_sent_again(tmp_path):
    """Its POST is never answered: nobody knows whether it rests, but it is to rest no more."""
    patient = {"validity_s": 20, "timeout_s": 2}
    async with rig(tmp_path, execution=patient) as r, r.working():
        await entered(r, shares=1000 * M)
        await r.settled()
        await empties(r)
        deaf(r)
        r.sim.director.do_lookups(lag_ms=3_600_000)
        r.sim.faults.rules.append(Rule("POST /order", "drop", times=-1, where='"SELL"'))
        await r.sees(Side.SELL, shares=1000 * M)
        unknown = "SELECT id FROM orders WHERE kind = 'GTD' AND state = 'unknown'"
        await until(lambda: r.value(unknown), "its answer is lost")
        key = (follower(r), r.market().condition, r.market().tokens[0])
        note = f"{Wish.CANCEL} {r.value(unknown)}"
        await r.ledger.transact(signals.ask, *key, note, now_us=now_us())
        r.execution.doorbell.set()
        cancelled = "SELECT cancelled_us FROM orders WHERE kind = 'GTD'"
        await until(lambda: r.value(cancelled), "canceled, says the exchange")
        ended = "SELECT 1 FROM orders WHERE kind = 'GTD' AND ended_us IS NOT NULL"
        await until(lambda: r.value(ended), "and its lag is over")
        assert r.value("SELECT last_sent_us <= cancelled_us FROM orders WHERE kind = 'GTD'")


async def test_any_price_is_for_what_was_closed_and_not_for_what_comes_late(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            ours = await entered(r, shares=1000 * M)
            await wishes(r, Wish.CLOSE_AT_ANY_PRICE)
            await until(lambda: sold(r) > 0 and exit_of(r)["state"] == "reached", "closed")
            await r.sees(Side.SELL, shares=1000 * M, price=600_000)
            await decided(r, 3)
        assert exit_of(r)["price"] == 0
        where = (follower(r), r.market().condition, r.market().tokens[0])
        await r.ledger.transact(foreign.move_shares, *where, ours, now_us=now_us())
        late = await r.ledger.transact(signals.correct, *where, now_us=now_us())
        await r.ledger.transact(r.execution.leaver.decide, late, now_us=now_us())
        assert (exit_of(r)["state"], exit_of(r)["target"]) == ("open", 0)
        assert exit_of(r)["price"] is None, "counted from the first fresh bid"
