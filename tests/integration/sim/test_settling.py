"""A match is not the end: another hash, no hash, or none for ever, and an index that is late."""

import dataclasses

import pytest

from tests.integration.sim.venue import CALM, M, until, venue

LATE = dataclasses.replace(CALM, data_lag_ms=3_600_000)


async def leader_tx(v, rtds, **trade):
    """Let a leader trade; return the hash of the answer once the stream has told of it."""
    tx = (await v.do("trade", **trade))["tx"]
    await until(
        lambda: tx in {f["payload"]["transactionHash"] for f in rtds.of("activity")},
        "the stream tells",
    )
    return tx


@pytest.mark.parametrize("again", ["RETRYING", "RETRYING+RETRYING"])
async def test_a_leaders_match_settles_again_under_a_hash_the_stream_never_named(again):
    async with venue() as v, v.listening("rtds") as rtds:
        await v.do("settle", ways=[again], of="leaders")
        old = await leader_tx(v, rtds, leader=0, market=0)
        wallet = v.addresses["leaders"][0]
        rows = await v.eventually(lambda: v.activity(wallet), "the index has it")
        assert [row["transaction_hash"] for row in rows] != [old]
        assert len(rows) == 1
        await rtds.pinged()
        assert {f["payload"]["transactionHash"] for f in rtds.of("activity")} == {old}
        assert [group[0] for group in v.sim.truth()["leader_trades"]] == [
            rows[0]["transaction_hash"]
        ]


async def test_a_leaders_match_that_fails_was_never_there():
    async with venue() as v, v.listening("rtds") as rtds:
        await v.do("settle", ways=["FAILED"], of="leaders")
        await leader_tx(v, rtds, leader=0, market=0)
        await until(lambda: v.sim.truth()["settled"], "it failed")
        kept = await leader_tx(v, rtds, leader=0, market=1)
        wallet = v.addresses["leaders"][0]
        rows = await v.eventually(lambda: v.activity(wallet), "the index has the next one")
        assert [row["transaction_hash"] for row in rows] == [kept]
        assert [group[0] for group in v.sim.truth()["leader_trades"]] == [kept]
        assert v.sim.story.leaders[0].shares.get(v.market(0).tokens[0], 0) == 0


@pytest.mark.parametrize(("way", "ends"), [("STUCK", "CONFIRMED"), ("STUCK+FAILED", "FAILED")])
async def test_our_stuck_match_stays_matched_until_it_is_healed(way, ends):
    async with venue() as v, v.listening("user") as user:
        await v.do("settle", ways=[way])
        status, _ = await v.order(0.6, 10, kind="FAK")
        assert status == 200
        await until(lambda: v.sim.exchange.settlement.stuck, "it is stuck")
        assert (await v.do("idle"))["stuck"] == 1
        (trade,) = await v.trades()
        assert (trade["status"], trade["transaction_hash"]) == ("TRADE_STATUS_MATCHED", "")
        assert not v.sim.truth()["settled"]
        await v.do("heal")
        await until(lambda: v.sim.truth()["settled"], "it ends")
        assert (await v.trades())[0]["status"] == f"TRADE_STATUS_{ends}"
        await until(lambda: user.of("trade")[-1]["status"] == ends, "the stream tells")
        assert (v.sim.trader.collateral == CALM.collateral) == (ends == "FAILED")


async def test_stuck_matches_are_released_as_told():
    async with venue() as v, v.listening("rtds") as rtds:
        await v.do("settle", ways=["STUCK", "STUCK"], of="leaders")
        first = await leader_tx(v, rtds, leader=0, market=0)
        await until(lambda: v.sim.exchange.settlement.stuck, "it is stuck")
        assert (await v.do("release", way="RETRYING+FAILED"))["released"] == 1
        await until(lambda: v.sim.truth()["settled"], "it failed")
        await leader_tx(v, rtds, leader=1, market=0)
        await until(lambda: v.sim.exchange.settlement.stuck, "the next is stuck")
        assert (await v.do("release"))["released"] == 1
        await until(lambda: v.sim.truth()["settled"], "it is mined")
        assert {t.status for t in v.sim.exchange.trades.values()} == {"FAILED", "CONFIRMED"}
        assert first not in {group[0] for group in v.sim.truth()["leader_trades"]}


async def test_a_way_nobody_knows_is_refused():
    async with venue() as v:
        assert "expected MINED" in (await v.ask("settle", ways=["RETRYING+LOST"]))["error"]
        assert "expected orders or leaders" in (await v.ask("settle", ways=[], of="all"))["error"]


async def test_the_stream_tells_at_once_what_the_index_shows_late():
    async with venue(LATE) as v, v.listening("rtds") as rtds:
        await leader_tx(v, rtds, leader=0, market=0)
        await until(lambda: v.sim.truth()["settled"], "it is on the chain")
        wallet = v.addresses["leaders"][0]
        assert await v.activity(wallet) == []
        assert await v.positions(wallet) == []
        await v.do("lags", activity_ms=0)
        await leader_tx(v, rtds, leader=0, market=1)
        rows = await v.eventually(lambda: v.activity(wallet), "only what came since")
        assert [row["condition_id"] for row in rows] == [v.market(1).condition]
        assert await v.positions(wallet) == []
        await v.do("lags", positions_ms=0)
        assert {row["condition_id"] for row in await v.positions(wallet)} == {
            v.market(0).condition,
            v.market(1).condition,
        }
        await v.do("heal")
        assert await v.positions(wallet) == []


async def test_holdings_are_those_of_a_moment_ago():
    plan = dataclasses.replace(CALM, positions_lag_ms=3_600_000)
    async with venue(plan) as v:
        await v.do("gift", market=0, shares=7)
        assert await v.positions(v.addresses["wallet"]) == []
        await v.do("lags", positions_ms=0)
        (row,) = await v.positions(v.addresses["wallet"])
        assert row["current_size"] * M == 7 * M
