"""The official client parses what the simulation says about markets, holdings and resolutions."""

import asyncio
import dataclasses
from decimal import Decimal

import pytest
from polymarket import SecureClient
from polymarket.models.clob.market_events import parse_market_event

from tests.integration.sim.venue import CALM, M, until, venue
from tests.integration.test_official_clients import environment


async def read(v, what):
    """Let the official client read something, in a thread of its own."""

    def work():
        with SecureClient.create(
            private_key=v.addresses["private_key"],
            wallet=v.addresses["wallet"],
            environment=environment(v.addresses),
        ) as client:
            return what(client)

    return await asyncio.to_thread(work)


async def test_activity_of_every_kind():
    async with venue() as v:
        await v.order(0.6, 20, kind="FAK")
        await until(lambda: v.sim.truth()["settled"], "settled")
        for kind in ("YIELD", "REWARD", "MAKER_REBATE", "TAKER_REBATE", "DEPOSIT", "WITHDRAWAL"):
            await v.do("credit", kind=kind, micros=1_500_000)
        await v.do("pair", leader=None, market=1, shares=5)
        await v.do("pair", leader=None, market=1, shares=2, merge=True)
        await v.do("life", market=0, stage="paid")
        rows = await read(
            v, lambda c: list(c.list_activity(user=v.addresses["wallet"], page_size=3).iter_items())
        )
        assert sorted(type(row).__name__ for row in rows) == [
            "DepositActivity", "MakerRebateActivity", "MergeActivity", "RedeemActivity",
            "RewardActivity", "SplitActivity", "TakerRebateActivity", "TradeActivity",
            "WithdrawalActivity", "YieldActivity",
        ]  # fmt: skip
        amounts = {row.type.value: row.amount for row in rows}
        assert (amounts["YIELD"], amounts["SPLIT"], amounts["MERGE"]) == (Decimal("1.5"), 5, 2)
        bought = next(row for row in rows if row.type.value == "TRADE")
        assert bought.shares == amounts["REDEEM"]


async def test_positions_open_redeemable_and_closed():
    async with venue() as v:
        await v.order(0.6, 20, kind="FAK")
        await v.order(0.6, 20, kind="FAK", market=1)
        await until(lambda: v.sim.truth()["settled"], "settled")
        await v.do("life", market=0, stage="resolved", payouts=[0, 1])

        def positions(client):
            ask = client.list_positions
            return {
                status: list(ask(user=v.addresses["wallet"], status=status).iter_items())
                for status in (None, "OPEN", "REDEEMABLE", "REDEEMABLE_LOST", "CLOSED")
            }

        found = await read(v, positions)
        assert {status: len(rows) for status, rows in found.items()} == {
            None: 2, "OPEN": 1, "REDEEMABLE": 1, "REDEEMABLE_LOST": 1, "CLOSED": 0,
        }  # fmt: skip
        (row,) = found["OPEN"]
        trade = next(t for t in v.sim.exchange.trades.values() if t.taker.market is v.market(1))
        assert row.current_size * M == trade.shares
        assert abs(row.entry_cost_usdc * M - trade.usdc) <= 100
        assert row.condition_id == v.market(1).condition
        assert (found["REDEEMABLE"][0].redeemable, found["REDEEMABLE"][0].current_value) == (
            True,
            0,
        )


async def test_resolutions_and_tokens():
    async with venue() as v:
        await v.do("life", market=0, stage="proposed")
        await v.do("life", market=0, stage="disputed")
        await v.do("life", market=1, stage="resolved", payouts=[1, 1])
        conditions = [v.market(number).condition for number in (0, 1, 2)]
        tokens = [v.market(number).tokens[0] for number in (0, 1, 2, 3)]
        resolutions, by_event, references, by_condition = await read(
            v,
            lambda c: (
                c.get_resolutions(condition_ids=conditions),
                c.get_resolutions(event_ids=[2]),
                c.get_token_references(asset_ids=tokens),
                c.get_token_references(condition_ids=conditions),
            ),
        )
        assert [(r.status.value, r.was_disputed, r.payouts) for r in resolutions] == [
            ("disputed", True, None), ("resolved", False, (Decimal("0.5"), Decimal("0.5"))),
        ]  # fmt: skip
        assert [r.condition_id for r in by_event] == [v.market(1).condition]
        assert resolutions[1].transaction_hash == v.market(1).resolved_tx
        assert [(t.asset_id, t.resolved, t.final_price) for t in references] == [
            (tokens[0], False, None), (tokens[1], True, Decimal("0.5")), (tokens[2], False, None),
            (tokens[3], False, None),
        ]  # fmt: skip
        assert [t.module.value for t in references] == ["v1_ctf", "v1_ctf", "neg_risk", "binary"]
        assert len(by_condition) == 6


async def test_the_catalogue():
    async with venue() as v:
        await v.do("life", market=0, stage="resolved")

        def markets(client):
            return [
                list(
                    client.list_markets(
                        version=("v1", "v2"), closed=closed, include_tag=True
                    ).iter_items()
                )
                for closed in (False, True)
            ]

        live, ended = await read(v, markets)
        assert [m.condition_id for m in live] == list(v.sim.exchange.markets)[1:]
        assert [m.outcomes.yes.token_id for m in live] == [
            m.tokens[0] for m in v.sim.story.markets[1:]
        ]
        assert {m.version.value: m.resolution.resolution_status for m in live} == {
            "v1": None,
            "v2": "inactive",
        }
        (market,) = ended
        assert (market.state.closed, market.outcomes.yes.price, market.outcomes.no.price) == (
            True,
            1,
            0,
        )
        assert market.resolution.uma_resolution_status.value == "resolved"
        assert market.state.closed_time is not None
        assert market.trading.fee_schedule.rate == Decimal("0.04")


async def test_pages_of_the_clob_in_the_other_client():
    async with venue() as v:
        client = v.client
        listed = await asyncio.to_thread(client.get_markets)
        one = await asyncio.to_thread(client.get_market, v.market(3).condition)
        sampled = await asyncio.to_thread(client.get_sampling_markets)
        assert [row["condition_id"] for row in listed["data"]] == list(v.sim.exchange.markets)
        assert listed["next_cursor"] == sampled["next_cursor"] == "LTE="
        assert [token["token_id"] for token in one["tokens"]] == list(v.market(3).tokens)


async def test_the_end_of_a_market_on_the_stream():
    async with venue() as v, v.listening("market") as heard:
        await v.do("life", market=0, stage="resolved", payouts=[0, 1])
        await until(lambda: heard.of("market_resolved"), "it is told")
        event = parse_market_event(heard.of("market_resolved")[0])
        assert event.payload.condition_id == v.market(0).condition
        assert event.payload.winning_asset_id == v.market(0).tokens[1]


async def test_new_markets_on_the_stream():
    async with venue() as v, v.listening("market") as heard:
        plain = {"type": "market", "assets_ids": list(v.market().tokens)}
        async with v.listening("market", plain) as other:
            (condition,) = (await v.do("list"))["conditions"]
            await until(lambda: heard.of("new_market"), "it is told")
            await other.pinged()
            assert not other.of("new_market")
        event = parse_market_event(heard.of("new_market")[0])
        assert event.payload.condition_id == condition
        assert (await v.do("trade", leader=0, market=7))["tx"]


@pytest.mark.parametrize("kind", [1, 2, 3])
async def test_smart_wallets_are_recognised_as_what_they_are(kind):
    async with venue(dataclasses.replace(CALM, signature_type=kind)) as v:

        def trade(client):
            before = client.get_closed_only_mode()
            order = client.place_limit_order(
                token_id=v.market().tokens[0], price="0.4", size="10", side="BUY"
            )
            return before, order.order_id

        before, order_id = await read(v, trade)
        assert not before
        assert v.sim.exchange.outside == [order_id]
        await v.do("closed_only")
        assert await read(v, lambda c: c.get_closed_only_mode())
