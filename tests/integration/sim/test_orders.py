"""Orders whose answers are not the truth.

Killed and filled, cancelled and filled, live and gone.
"""

import dataclasses

import pytest

from bot.sim import crypto, wallets
from tests.integration.sim.venue import CALM, M, until, venue

HOUR = 3_600_000


def states(user, order_id):
    return [
        (f["type"], f["status"], f["size_matched"]) for f in user.of("order") if f["id"] == order_id
    ]


async def test_a_killed_order_shows_its_fill_when_nobody_asks_any_more():
    plan = dataclasses.replace(CALM, ended_lookups=True)
    async with venue(plan) as v, v.listening("user") as user, v.listening("rtds") as rtds:
        await v.do("quirk", do="killed_late", ms=HOUR)
        assert await v.idle() == ["killed_late at the engine"]
        status, answer = await v.order(0.6, 10, kind="FAK")
        assert (status, "no orders found to match" in answer["error"]) == (400, True)
        assert await v.idle() == []
        digest = answer["orderID"]
        assert await v.trades() == []
        assert (await v.asked("GET", f"/data/order/{digest}"))[0] == 404
        await user.pinged()
        await rtds.pinged()
        assert user.frames == rtds.frames == []
        # Its money is gone from what may be spent all the same.
        assert v.sim.trader.leaving[""] > 0
        await v.do("heal")
        (trade,) = await v.eventually(v.trades, "the fill appears")
        assert trade["taker_order_id"] == digest
        await until(lambda: user.of("trade") and rtds.of("activity"), "the streams tell")
        assert (await v.asked("GET", f"/data/order/{digest}"))[1][
            "status"
        ] == "ORDER_STATUS_MATCHED"
        await until(lambda: v.sim.truth()["settled"], "settled")
        assert v.sim.trader.shares[v.market().tokens[0]] == float(trade["size"]) * M


async def test_a_killed_order_appears_by_itself_when_its_time_has_come():
    async with venue() as v:
        await v.do("quirk", do="killed_late", ms=1, times=2)
        for _ in range(2):
            assert (await v.order(0.6, 10, kind="FAK"))[0] == 400
        assert (await v.order(0.6, 10, kind="FAK"))[0] == 200
        await v.eventually(lambda: _trades(v, 3), "all three")


async def _trades(v, number):
    return len(await v.trades()) == number


async def test_an_answer_may_say_a_millionth_more_than_was_traded():
    async with venue() as v:
        await v.do("quirk", do="matched_more")
        _, answer = await v.order(0.6, 10, kind="FAK")
        (trade,) = v.sim.exchange.trades.values()
        assert round(float(answer["takingAmount"]) * M) == trade.shares + 1
        assert round(float(answer["makingAmount"]) * M) == trade.usdc + 1
        _, answer = await v.order(0.6, 10, kind="FAK")
        assert (
            round(float(answer["takingAmount"]) * M) == [*v.sim.exchange.trades.values()][1].shares
        )


async def test_one_match_may_be_settled_in_several_transactions():
    async with venue() as v:
        await v.do("quirk", do="split")
        _, answer = await v.order(0.6, 500, kind="FAK")
        trades = await v.trades()
        assert [t["bucket_index"] for t in trades] == [0, 1, 2]
        assert [t["id"] for t in trades] == answer["tradeIDs"]
        assert {t["taker_order_id"] for t in trades} == {answer["orderID"]}
        settled = list(v.sim.exchange.trades.values())
        assert len({t.tx for t in settled}) == 3
        assert sum(t.shares for t in settled) == round(float(answer["takingAmount"]) * M)
        # Each transaction has a fee of its own, cut on its own.
        assert all(t.fee % 10 == 0 and t.fee > 0 for t in settled)
        await until(lambda: v.sim.truth()["settled"], "settled")
        cost = sum(t.usdc + t.fee for t in settled)
        assert v.sim.trader.collateral == CALM.collateral - cost


async def sold_to_us(v, shares=4):
    crowd = v.sim.story.crowd
    v.sim.exchange.inside(crowd, v.market().tokens[0], "SELL", 500_000, shares * M, "FAK")


async def test_a_cancellation_counts_shares_whose_trade_has_not_been_told():
    async with venue() as v, v.listening("user") as user:
        _, answer = await v.order(0.5, 10)
        digest = answer["orderID"]
        await v.do("quirk", do="trade_late", ms=HOUR)
        await sold_to_us(v)
        await v.asked("DELETE", "/order", {"orderID": digest})
        await until(lambda: len(states(user, digest)) == 3, "placed, updated, cancelled")
        assert states(user, digest) == [
            ("PLACEMENT", "LIVE", "0"), ("UPDATE", "LIVE", "4"), ("CANCELLATION", "CANCELED", "4"),
        ]  # fmt: skip
        assert user.of("trade") == await v.trades() == []
        await v.do("heal")
        await until(lambda: user.of("trade"), "the trade is told after all")
        assert [t["maker_orders"][0]["matched_amount"] for t in await v.trades()] == ["4"]


async def test_a_cancelled_order_is_filled_all_the_same():
    async with venue() as v, v.listening("user") as user:
        _, answer = await v.order(0.4, 10)
        digest = answer["orderID"]
        await v.do("quirk", do="cancel_filled", ms=HOUR)
        assert (await v.asked("DELETE", "/order", {"orderID": digest}))[1] == {
            "canceled": [digest],
            "not_canceled": {},
        }
        assert await v.trades() == []
        assert not v.sim.truth()["settled"]
        await v.do("heal")
        (trade,) = await v.eventually(v.trades, "the fill comes")
        assert [m["order_id"] for m in trade["maker_orders"]] == [digest]
        await until(lambda: v.sim.truth()["settled"], "settled")
        assert v.sim.trader.shares == {v.market().tokens[0]: 10 * M}
        assert v.sim.trader.collateral == CALM.collateral - 4 * M
        assert [state[:2] for state in states(user, digest)][-2:] == [
            ("CANCELLATION", "CANCELED"),
            ("UPDATE", "MATCHED"),
        ]


async def test_a_cancel_says_already_gone_of_an_order_that_is_live():
    async with venue() as v:
        _, answer = await v.order(0.5, 10)
        digest = answer["orderID"]
        await v.do("quirk", do="cancel_denied")
        _, denied = await v.asked("DELETE", "/orders", [digest, digest])
        assert denied == {
            "canceled": [],
            "not_canceled": {digest: "order can't be found - already canceled or matched"},
        }
        assert [o["id"] for o in (await v.asked("GET", "/data/orders"))[1]["data"]] == [digest]
        await sold_to_us(v)
        assert len(await v.trades()) == 1
        assert (await v.asked("DELETE", "/order", {"orderID": digest}))[1]["canceled"] == [digest]


async def test_a_quirk_nobody_knows_is_refused():
    async with venue() as v:
        assert "expected one of killed_late" in (await v.ask("quirk", do="explode"))["error"]


async def test_a_gtd_order_must_live_three_minutes_and_dies_a_minute_early():
    async with venue() as v, v.listening("user") as user:
        now = v.sim.exchange.clock_s
        status, answer = await v.order(0.4, 10, kind="GTD", expiration=now + 150)
        assert (status, answer["error"]) == (400, "invalid expiration")
        status, answer = await v.order(0.4, 10, kind="GTD", expiration=now + 400)
        assert status == 200
        await v.do("clock", seconds=300)
        await v.asked("GET", "/data/orders")
        assert [s[0] for s in states(user, answer["orderID"])] == ["PLACEMENT"]
        await v.do("clock", seconds=350)
        await until(lambda: len(states(user, answer["orderID"])) == 2, "it expires")
        assert states(user, answer["orderID"])[1] == ("CANCELLATION", "CANCELED_EXPIRED_ORDER", "0")


async def test_a_post_only_order_crosses_through_the_mirrored_token():
    async with venue() as v:
        assert (await v.order(0.45, 10, outcome=0, post_only=True))[0] == 200
        status, answer = await v.order(0.55, 10, outcome=1, post_only=True)
        assert (status, answer["error"]) == (400, "invalid post-only order: order crosses book")
        assert (await v.order(0.45, 10, outcome=1, post_only=True))[0] == 200


async def test_after_a_delay_a_post_only_order_dies_with_its_reason():
    async with venue() as v, v.listening("user") as user:
        await v.do("delay", ms=1)
        status, answer = await v.order(0.6, 10, post_only=True)
        assert (status, answer["status"]) == (200, "delayed")
        digest = answer["orderID"]
        await until(lambda: states(user, digest), "it is told")
        assert (
            states(user, digest)[-1][1] == "UNMATCHED_invalid post-only order: order crosses book"
        )


async def test_after_a_delay_a_fok_that_is_not_full_dies_without_numbers():
    async with venue() as v, v.listening("user") as user:
        await v.do("delay", ms=1, unmatched=True)
        _, answer = await v.order(0.6, 10, kind="FOK")
        digest = answer["orderID"]
        await until(lambda: states(user, digest), "it is told")
        (frame,) = user.of("order")
        assert frame["status"].startswith("CANCELED_order couldn't be fully filled.")
        assert (frame["size_matched"], frame["created_at"]) == ("", "")


@pytest.mark.parametrize("ended", [False, True])
async def test_reads_by_id_may_show_orders_that_have_ended(ended):
    async with venue(dataclasses.replace(CALM, ended_lookups=ended)) as v:
        _, filled = await v.order(0.6, 10, kind="FAK")
        _, cancelled = await v.order(0.4, 10)
        await v.asked("DELETE", "/order", {"orderID": cancelled["orderID"]})
        found = []
        for digest in (filled["orderID"], cancelled["orderID"]):
            found.append((await v.asked("GET", f"/data/order/{digest}"))[1].get("status"))
            rows = (await v.asked("GET", "/data/orders", id=digest))[1]["data"]
            found.append([row["status"] for row in rows])
        matched, gone = "ORDER_STATUS_MATCHED", "ORDER_STATUS_CANCELED"
        assert found == ([matched, [matched], gone, [gone]] if ended else [None, [], None, []])
        assert (await v.asked("GET", "/data/orders"))[1]["data"] == []


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
async def test_our_wallet_is_the_one_our_key_derives(kind):
    async with venue(dataclasses.replace(CALM, signature_type=kind)) as v:
        owner = crypto.address_of(v.addresses["private_key"])
        assert v.addresses["wallet"] == wallets.derived(owner, kind)
        assert (await v.order(0.4, 10))[0] == 200


async def test_an_older_deposit_wallet_trades_as_well():
    async with venue(dataclasses.replace(CALM, signature_type=3, uups=True)) as v:
        owner = crypto.address_of(v.addresses["private_key"])
        assert v.addresses["wallet"] == wallets.deposit(owner, beacon=False)
        assert (await v.order(0.4, 10))[0] == 200


@pytest.mark.parametrize("kind", [1, 2])
async def test_another_wallet_than_the_derived_one_is_refused(kind):
    async with venue(dataclasses.replace(CALM, signature_type=kind)) as v:
        v.client.builder.funder = wallets.deposit(crypto.address_of(v.addresses["private_key"]))
        status, answer = await v.order(0.4, 10)
        assert (status, answer["error"]) == (400, "invalid signature")


async def test_a_closed_only_account_may_reduce_and_nothing_else():
    async with venue() as v:
        await v.order(0.6, 20, kind="FAK")
        await until(lambda: v.sim.truth()["settled"], "settled")
        assert (await v.asked("GET", "/auth/ban-status/closed-only"))[1] == {"closed_only": False}
        await v.do("closed_only")
        assert (await v.asked("GET", "/auth/ban-status/closed-only"))[1] == {"closed_only": True}
        status, answer = await v.order(0.6, 20, kind="FAK")
        assert (status, answer["error"]) == (
            400,
            f"'{v.addresses['wallet']}' address in closed only mode",
        )
        assert (await v.order(0.4, 10, "SELL", "FAK"))[0] == 200
        await v.do("heal")
        assert (await v.order(0.4, 10))[0] == 200


async def test_a_purchase_gets_a_third_where_others_are_faster():
    async with venue() as v:
        await v.do("quirk", do="snatched")
        assert (await v.order(0.6, 10, kind="FAK"))[0] == 200
        assert (await v.order(0.6, 10, kind="FAK"))[0] == 200
        await v.eventually(lambda: _trades(v, 2), "both")
        whole, part = sorted((float(t["size"]) for t in await v.trades()), reverse=True)
        assert abs(part - whole / 3) < 0.1
