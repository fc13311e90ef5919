"""Markets end, and every source tells of it in its own way."""

import json

import pytest

from tests.integration.sim.venue import M, until, venue

STAGES = ("closed", "proposed", "disputed", "proposed", "resolved", "paid")


async def gamma(v, market, **params):
    asked = {"condition_ids": market.condition, "version": market.version, **params}
    return (await v.get("/gamma/markets", **asked))[1]


async def clob(v, market):
    return (await v.get(f"/markets/{market.condition}"))[1]


async def resolutions(v, market):
    return (await v.get("/v2/resolutions", condition=market.condition))[1]["data"]


async def test_each_stage_shows_in_each_source():
    async with venue() as v:
        market = v.market(0)
        seen = []
        for stage in STAGES:
            await v.do("life", market=0, stage=stage, lingers=False)
            (shown,) = await gamma(v, market, closed="true")
            rows = await resolutions(v, market)
            seen.append(
                (
                    shown.get("umaResolutionStatus"),
                    [row["status"] for row in rows],
                    (await clob(v, market))["closed"],
                )
            )
        assert seen == [
            (None, [], True), ("proposed", ["proposed"], True), ("disputed", ["disputed"], True),
            ("proposed", ["proposed"], True), ("resolved", ["resolved"], True),
            ("resolved", ["resolved"], True),
        ]  # fmt: skip
        (shown,) = await gamma(v, market, closed="true")
        assert json.loads(shown["outcomePrices"]) == ["1", "0"]
        assert json.loads(shown["umaResolutionStatuses"]) == [
            "proposed",
            "disputed",
            "proposed",
            "resolved",
        ]
        assert " " in shown["closedTime"]
        assert shown["closedTime"].endswith("+00")
        (row,) = await resolutions(v, market)
        assert (row["payouts"], row["was_disputed"]) == ([M, 0], True)
        # Gamma hides what is closed from those who do not ask for it.
        assert await gamma(v, market) == []


async def test_an_open_market_has_no_resolution_at_all():
    async with venue() as v:
        assert await resolutions(v, v.market(0)) == []
        (shown,) = await gamma(v, v.market(0))
        assert "umaResolutionStatus" not in shown
        assert (await v.get("/v2/resolutions"))[0] == 400


async def test_trading_ends_and_what_rests_is_cancelled():
    async with venue() as v, v.listening("user") as user:
        _, answer = await v.order(0.4, 10)
        await v.do("life", market=0, stage="closed")
        await until(lambda: len(user.of("order")) == 2, "it is cancelled")
        assert user.of("order")[1]["status"] == "CANCELED_MARKET_RESOLVED"
        assert (await v.asked("GET", f"/data/order/{answer['orderID']}"))[0] == 404
        token = v.market(0).tokens[0]
        assert (await v.get("/book", token_id=token))[0] == 404
        async with v.http.post(
            f"{v.addresses['clob_url']}/books", json=[{"token_id": token}]
        ) as answer:
            assert await answer.json() == []
        assert (await v.get(f"/clob-markets/{v.market(0).condition}"))[1]["ao"] is False
        status, answer = await v.order(0.4, 10)
        assert (status, answer["error"]) == (
            400,
            "the market is not yet ready to process new orders",
        )
        assert (await v.do("trade", leader=0, market=0))["tx"] is None
        # An end is no fault: nothing heals it.
        await v.do("heal")
        assert (await v.get("/book", token_id=token))[0] == 404
        assert (await v.order(0.4, 10, market=1))[0] == 200


async def test_an_order_that_is_held_back_does_not_outlive_its_market():
    async with venue() as v, v.listening("user") as user:
        await v.do("delay", ms=3_600_000)
        _, answer = await v.order(0.6, 10)
        assert answer["status"] == "delayed"
        await v.do("life", market=0, stage="closed")
        await v.do("heal")
        await until(lambda: user.of("order"), "it is told")
        assert user.of("order")[0]["status"] == "CANCELED_MARKET_RESOLVED"
        assert v.sim.exchange.books[v.market().condition].orders == {}
        assert (await v.asked("GET", "/data/orders"))[1]["data"] == []


@pytest.mark.parametrize("lingers", [True, False])
async def test_some_closed_rows_say_that_orders_are_accepted(lingers):
    async with venue() as v:
        await v.do("life", market=0, stage="closed", lingers=lingers)
        assert (await clob(v, v.market(0)))["accepting_orders"] is lingers
        (shown,) = await gamma(v, v.market(0), closed="true")
        assert (shown["closed"], shown["acceptingOrders"]) == (True, lingers)


@pytest.mark.parametrize(
    ("payouts", "winners", "split", "prices"),
    [
        ([1, 0], [True, False], False, [1, 0]), ([0, 1], [False, True], False, [0, 1]),
        ([1, 1], [False, False], True, [0.5, 0.5]),
    ],
)  # fmt: skip
async def test_payouts_show_in_the_clob_and_the_data_api(payouts, winners, split, prices):
    async with venue() as v:
        market = v.market(0)
        await v.do("life", market=0, stage="resolved", payouts=payouts)
        row = await clob(v, market)
        assert [token["winner"] for token in row["tokens"]] == winners
        assert [token["price"] for token in row["tokens"]] == prices
        assert row["is_50_50_outcome"] is split
        (found,) = await resolutions(v, market)
        assert found["payouts"] == [price * M for price in prices]
        tokens = (await v.get("/v2/tokens", token_id=",".join(market.tokens)))[1]["data"]
        assert [(t["resolved"], t["final_price"]) for t in tokens] == [
            (True, price) for price in prices
        ]


@pytest.mark.parametrize(
    ("life", "winner"),
    [
        ({"payouts": [0, 1]}, 1), ({"payouts": [1, 1]}, None),
        ({"payouts": [1, 0], "winner": False}, None),
    ],
)  # fmt: skip
async def test_the_stream_names_a_winner_at_most(life, winner):
    async with venue() as v, v.listening("market") as custom:
        plain = {"type": "market", "assets_ids": list(v.market().tokens)}
        async with v.listening("market", plain) as heard:
            await v.do("life", market=0, stage="resolved", **life)
            await until(lambda: custom.of("market_resolved"), "it is told")
            await heard.pinged()
            assert not heard.of("market_resolved")
        (frame,) = custom.of("market_resolved")
        market = v.market(0)
        assert (frame["market"], frame["assets_ids"]) == (market.condition, list(market.tokens))
        assert "payouts" not in frame
        expected = None if winner is None else (market.tokens[winner], market.outcomes[winner])
        found = (
            (frame["winning_asset_id"], frame["winning_outcome"])
            if "winning_asset_id" in frame
            else None
        )
        assert found == expected


async def test_to_be_paid_redeems_for_us_and_for_leaders():
    async with venue() as v:
        await v.order(0.6, 20, kind="FAK")
        await v.do("trade", leader=0, market=0, outcome=1)
        await until(lambda: v.sim.truth()["settled"], "settled")
        held, cash = v.sim.trader.shares[v.market().tokens[0]], v.sim.trader.collateral
        (before,) = await v.positions(v.addresses["wallet"], status="OPEN")
        await v.do("life", market=0, stage="proposed")
        await v.do("life", market=0, stage="resolved")
        (row,) = await v.positions(v.addresses["wallet"])
        assert (before["redeemable"], row["status"], row["redeemable"]) == (
            False,
            "REDEEMABLE",
            True,
        )
        assert (row["current_price"], row["current_value"]) == (1.0, row["current_size"])
        # A lost position says the same.
        (lost,) = await v.positions(v.addresses["leaders"][0], status="REDEEMABLE_LOST")
        assert (lost["status"], lost["current_value"]) == ("REDEEMABLE", 0)
        answer = await v.do("life", market=0, stage="paid")
        assert answer["paid"][v.addresses["wallet"]] == held
        assert v.sim.trader.collateral == cash + held
        assert v.sim.truth()["shares"] == {}
        assert await v.positions(v.addresses["wallet"]) == []
        (closed,) = await v.positions(v.addresses["wallet"], status="CLOSED")
        assert closed["status"] == "CLOSED"
        assert [r["type"] for r in await v.activity(v.addresses["leaders"][0], type="REDEEM")] == [
            "REDEEM"
        ]


async def test_a_market_never_goes_back():
    async with venue() as v:
        await v.do("life", market=0, stage="resolved")
        for stage in ("closed", "resolved", "disputed"):
            assert "resolved already" in (await v.ask("life", market=0, stage=stage))["error"]
        assert "expected one of closed" in (await v.ask("life", market=0, stage="open"))["error"]


@pytest.mark.parametrize("payouts", [[0, 0], [1], [-1, 2], [0.5, 0.5]])
async def test_payouts_that_pay_nothing_are_refused(payouts):
    async with venue() as v:
        answer = await v.ask("life", market=0, stage="resolved", payouts=payouts)
        assert "two numerators" in answer["error"]
        assert not v.market(0).ended


async def test_a_neg_risk_market_is_never_split():
    async with venue() as v:
        assert (
            "refuses a split"
            in (await v.ask("life", market=2, stage="resolved", payouts=[1, 1]))["error"]
        )


async def test_the_end_shows_as_late_as_everything_else():
    async with venue() as v:
        await v.do("lags", activity_ms=3_600_000)
        await v.do("life", market=0, stage="resolved")

        async def tokens():
            found = (await v.get("/v2/tokens", condition=v.market(0).condition))[1]["data"]
            return [(token["resolved"], token["final_price"]) for token in found]

        assert await resolutions(v, v.market(0)) == []
        assert await tokens() == [(False, None)] * 2
        await v.do("heal")
        assert len(await resolutions(v, v.market(0))) == 1
        assert await tokens() == [(True, 1.0), (True, 0.0)]
