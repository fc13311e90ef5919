"""Cash and shares that move without an order."""

import pytest

from tests.integration.sim.venue import CALM, M, until, venue


async def test_credits_are_cash_and_rows_of_ours():
    async with venue() as v:
        for kind, micros in (
            ("YIELD", 1),
            ("REWARD", 2_500_000),
            ("MAKER_REBATE", 17),
            ("DEPOSIT", 5 * M),
        ):
            await v.do("credit", kind=kind, micros=micros)
        await v.do("credit", kind="WITHDRAWAL", micros=3 * M)
        assert v.sim.trader.collateral == CALM.collateral + 1 + 2_500_000 + 17 + 2 * M
        wallet = v.addresses["wallet"]
        rows = await v.activity(wallet, exclude_deposits_withdrawals="false")
        assert {row["type"]: round(row["usdc_size"] * M) for row in rows} == {
            "YIELD": 1, "REWARD": 2_500_000, "MAKER_REBATE": 17, "DEPOSIT": 5 * M,
            "WITHDRAWAL": 3 * M,
        } == v.sim.truth()["credits"]  # fmt: skip
        assert all("token_id" not in row and "side" not in row for row in rows)
        # Deposits and withdrawals hide unless they are asked for.
        assert {row["type"] for row in await v.activity(wallet)} == {
            "YIELD",
            "REWARD",
            "MAKER_REBATE",
        }
        assert {row["type"] for row in await v.activity(wallet, type="TRADE,REWARD")} == {"REWARD"}
        balance = (
            await v.asked("GET", "/balance-allowance", asset_type="COLLATERAL", signature_type="0")
        )[1]
        assert int(balance["balance"]) == v.sim.trader.collateral


@pytest.mark.parametrize(
    ("credit", "message"),
    [
        ({"kind": "GIFT", "micros": 1}, "expected one of YIELD"),
        ({"kind": "YIELD", "micros": 0}, "above 0"), ({"kind": "YIELD", "micros": 0.5}, "above 0"),
    ],
)  # fmt: skip
async def test_a_credit_that_is_none_is_refused(credit, message):
    async with venue() as v:
        assert message in (await v.ask("credit", **credit))["error"]
        assert v.sim.trader.collateral == CALM.collateral


async def test_leaders_split_and_merge_without_a_trade():
    async with venue() as v:
        leader, market = v.sim.story.leaders[1], v.market(2)
        before = leader.collateral
        await v.do("pair", leader=1, market=2, shares=100)
        assert leader.shares == dict.fromkeys(market.tokens, 100 * M)
        await v.do("pair", leader=1, market=2, shares=40, merge=True)
        assert leader.shares == dict.fromkeys(market.tokens, 60 * M)
        assert leader.collateral == before - 60 * M
        rows = await v.activity(leader.wallet, sort_direction="ASC")
        assert [(row["type"], row["condition_id"], row["usdc_size"]) for row in rows] == [
            ("SPLIT", market.condition, 100.0), ("MERGE", market.condition, 40.0),
        ]  # fmt: skip
        assert (
            "expected at most"
            in (await v.ask("pair", leader=1, market=2, shares=61, merge=True))["error"]
        )
        held = await v.positions(leader.wallet, status="MERGEABLE")
        assert [(row["status"], row["mergeable"]) for row in held] == [("OPEN", True)] * 2


async def test_redeeming_floors_once_for_each_outcome_and_needs_a_result():
    async with venue() as v:
        market, wallet = v.market(0), v.addresses["wallet"]
        assert "not resolved" in (await v.ask("redeem", market=0))["error"]
        for token, shares in zip(market.tokens, (3, 5), strict=True):
            v.sim.trader.shares[token] = shares
        await v.do("life", market=0, stage="resolved", payouts=[1, 1])
        assert (await v.do("redeem", market=0))["payout"] == 1 + 2
        assert v.sim.trader.collateral == CALM.collateral + 3
        assert v.sim.truth()["shares"] == {}
        (row,) = await v.activity(wallet, type="REDEEM")
        assert round(row["usdc_size"] * M) == 3
        assert (await v.do("redeem", market=0))["payout"] == 0
        assert len(await v.activity(wallet, type="REDEEM")) == 1


async def test_what_is_not_on_the_chain_yet_cannot_be_redeemed():
    async with venue() as v:
        await v.order(0.6, 20, kind="FAK")
        await until(lambda: v.sim.truth()["settled"], "bought")
        held = v.sim.trader.shares[v.market().tokens[0]]
        await v.do("settle", ways=["STUCK"])
        await v.order(0.4, 10, "SELL", "FAK")
        await until(lambda: v.sim.exchange.settlement.stuck, "sold, and stuck")
        await v.do("life", market=0, stage="resolved")
        assert (await v.do("redeem", market=0))["payout"] == held - 10 * M
        await v.do("heal")
        await until(lambda: v.sim.truth()["settled"], "mined")
        assert v.sim.truth()["shares"] == {}
