"""What lists and stories tell of what no leader's trade has begun, and of what is owed."""

import asyncio
from pathlib import Path

import pytest

from bot import report
from bot.cli import positions as verbs
from bot.errors import UsageError
from bot.execution import fills
from bot.ledger import control, markets, orders
from bot.ledger.db import Tx
from bot.model.fill import Fill, Settlement
from bot.model.market import Side
from bot.model.order import OrderId
from bot.model.signal import Wish
from bot.report import lists, story
from bot.report.status import status
from bot.runtime import now_us
from tests.exits import RESTS, decided, empties, entered, follower, held, sold, wishes
from tests.integration.test_wishes import at
from tests.rig import M, Rig, rig, stored_order, until


def seen(path: Path, query):
    with report.read(path, now_us=now_us()) as found:
        return query(found)


def steps(path: Path, ident: str) -> list[str]:
    return [step.step for step in seen(path, lambda found: story.why(found, ident))]


async def closed(r: Rig) -> dict:
    """Return the order of an operator's close, as a list shows it."""
    await entered(r, shares=1000 * M)
    await wishes(r, Wish.CLOSE)
    await until(lambda: sold(r) > 0, "sold")
    await r.settled()
    return seen(r.path, lambda found: lists.orders(found, 1))[0]


async def test_a_close_has_a_story_and_a_market_and_copies_nobody(tmp_path):
    async with rig(tmp_path) as r, r.working():
        order = await closed(r)
        assert order["side"] == "SELL" and order["title"] and order["outcome"] == "Yes"
        told = steps(r.path, order["id"][:16])
        assert told[:3] == ["operator", "copied", "intent"] and told[-1] == "reached"
        wish = r.value("SELECT id FROM signal WHERE kind = 'operator'")
        assert steps(r.path, wish[:12]) == told
        assert seen(r.path, status).today.copied == 1
        [leader] = [x for x in seen(r.path, lists.leaders) if x["leader"] == r.leader]
        assert leader["copied"] == 1


async def test_an_exit_that_several_have_changed_is_told_from_what_began_it(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=500 * M)
        await until(lambda: r.value(RESTS), "it rests")
        await r.sees(Side.SELL, shares=250 * M)
        await decided(r, 3)
        order = r.value("SELECT id FROM orders WHERE kind = 'GTD'")
        assert steps(r.path, order)[:4] == ["seen", "source", "queued", "copied"]


async def test_a_foreign_order_has_a_story(tmp_path):
    async with rig(tmp_path) as r, r.working():
        r.sim.director.acts.do_by_hand(0, 10)
        await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
        await r.execution.reconciler.compare(now_us=now_us())
        [order] = seen(r.path, lambda found: lists.orders(found, 5))
        assert order["intent_id"] is None
        assert steps(r.path, order["id"][:16]) == ["found", "filled", "filled"]


async def test_what_an_ended_market_owes_is_listed_until_it_is_redeemed(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await r.settled()
        shares, condition = held(r), r.market().condition
        await r.ledger.transact(markets.end, condition, (1, 0), source="test", now_us=now_us())
        r.execution.doorbell.set()
        await until(lambda: held(r) == 0, "settled")
        [row] = seen(r.path, lists.receivables)
        assert (row["shares_micros"], row["payout_usdc_micros"]) == (shares, shares)
        assert row["token"] == r.market().tokens[0] and row["outcome"] == "Yes"


async def test_a_wish_that_does_not_fit_says_why(tmp_path):
    async with rig(tmp_path) as r, r.working():
        order = await closed(r)
        where, token = at(tmp_path), r.market().tokens[0]
        refused = pytest.raises(UsageError, match="an order that has ended: filled")
        with refused:
            await asyncio.to_thread(verbs.cancel, where, order=order["id"][:12])
        await r.sees(shares=1000 * M, leader=1)
        await until(lambda: held(r) > M, "bought")
        await r.settled()
        with pytest.raises(UsageError, match=r"a position of mirror/\w+: only external"):
            await asyncio.to_thread(verbs.assign, where, token[:12], "manual")
        await r.sees(shares=1000 * M, leader=2)
        two = "SELECT COUNT(*) FROM position WHERE shares > 1e6"
        await until(lambda: r.value(two) == 2, "two hold it")
        with pytest.raises(UsageError, match="say whose with --portfolio"):
            await asyncio.to_thread(verbs.close, where, position=token[:12])
        asked = "SELECT portfolio FROM signal WHERE kind = 'operator' ORDER BY seen_us DESC LIMIT 1"
        count = r.value("SELECT COUNT(*) FROM signal WHERE kind = 'operator'")
        one = follower(r, 2)
        await asyncio.to_thread(verbs.close, where, all_=True, portfolio=one)
        assert r.value("SELECT COUNT(*) FROM signal WHERE kind = 'operator'") == count + 1
        assert r.value(asked) == one


async def test_dust_is_called_dust(tmp_path):
    async with rig(tmp_path) as r:
        placed = await stored_order(r, posted=True)

        def crumbs(tx: Tx) -> None:
            dust = Fill(
                "crumbs", OrderId(placed.id), placed.condition, placed.token, Side.BUY, 8_000,
                4_000, 0, Settlement.CONFIRMED, None, now_us(),
            )  # fmt: skip
            order = orders.order(tx, placed.id)
            assert order is not None
            fills.book(tx, order, dust, now_us=now_us())
            tx.execute("UPDATE intent SET state = 'expired'")

        await r.ledger.transact(crumbs)
        with pytest.raises(UsageError, match=r"less than 0\.01 share"):
            await asyncio.to_thread(verbs.close, at(tmp_path), position=placed.token[:12])
        with report.read(r.path) as found:
            assert status(found).today.open_positions == 0


async def test_a_life_that_a_restored_ledger_remembers_is_not_stalled(tmp_path):
    async with rig(tmp_path) as r:

        def lives(tx: Tx, beat_us: int) -> list[str]:
            control.boot(tx, "executor", 1, 1, "", now_us=1)
            tx.execute("UPDATE boot SET started_us = 1, progress_us = 2, beat_us = ?", (beat_us,))
            return control.stalled(tx, 1000)

        assert await r.ledger.transact(lives, 5000) == ["executor"]
        assert await r.ledger.transact(lives, 10) == []
