"""Both sources against the simulated feeds: totals come out exact."""

import asyncio
import contextlib
import dataclasses
import json
import sqlite3
import time

import pytest
from websockets.asyncio.server import serve

from bot import failpoints
from bot.config.schema import DetectSettings
from bot.detect.activity import Activity
from bot.detect.balances import Balances
from bot.detect.fold import TWINS_S, Sight
from bot.detect.holdings import Holdings
from bot.detect.rtds import MOST, Rtds
from bot.errors import Unavailable
from bot.ledger import db, leaders
from bot.model.leader import FactState
from bot.polymarket import chain
from bot.polymarket.data_api import DataApi
from bot.polymarket.transport import Transport
from bot.runtime import now_us
from bot.sim.plan import Plan
from tests.exits import entered, follower
from tests.rig import M, rig, until

FAST = Plan(gap_ms=20, data_lag_ms=300, rtds_delay_ms=10, failed_share=0, retried_share=0)


@contextlib.asynccontextmanager
async def watching(r, *, rtds=True, data=True, most=MOST, **detect):
    transport = Transport(r.addresses["data_url"], timeout_s=10, requests_per_s=100)
    settings = DetectSettings(poll_s=1, **detect)
    stream = Rtds(
        r.addresses["rtds_url"], r.intake, boot_id=1, silence_s=30, reconnect_s=60, now_us=now_us,
        most=most,
    )  # fmt: skip
    polling = Activity(DataApi(transport), r.ledger, r.intake, settings, now_us)
    tasks = [asyncio.create_task(stream.run())] if rtds else []
    balances = Balances([], r.ledger, r.intake, chain.TOKENS, lambda: 0, now_us)
    holdings = Holdings(DataApi(transport), r.ledger, r.intake, balances, now_us)
    followed = await r.intake.load()
    if data:
        tasks += [asyncio.create_task(polling.run(followed))]
        tasks += [asyncio.create_task(holdings.run(lambda: followed))]
    try:
        await until(lambda: not rtds or stream.stream.connected, "the stream connects")
        await until(
            lambda: (
                not data or r.value("SELECT COUNT(*) FROM cursor WHERE source = 'positions'") == 4
            ),
            "inventories",
        )
        yield stream, polling
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await transport.close()


def start(r) -> None:
    import httpx

    httpx.post(f"{r.addresses['clob_url']}/sim/start", timeout=30)


def totals(r) -> dict:
    found = r.query("SELECT tx, wallet, token, side, shares FROM leader_trade")
    return {(f["tx"], f["wallet"].lower(), f["token"], f["side"]): f["shares"] for f in found}


def truth(r) -> dict:
    return {tuple(row[:4]): row[4] for row in r.sim.truth()["leader_trades"]}


@pytest.mark.parametrize(
    ("rtds", "data"), [(True, True), (False, True)], ids=["both sources", "polling alone"]
)
async def test_every_leader_trade_is_seen_with_its_exact_total(tmp_path, rtds, data):
    async with rig(tmp_path, FAST) as r, watching(r, rtds=rtds, data=data, page_limit=7):
        await asyncio.to_thread(start, r)
        await until(lambda: r.sim.finished, "the story ends")
        await until(lambda: totals(r) == truth(r), "totals are exact")
        assert len(totals(r)) >= 60
        emitted = r.query("SELECT SUM(shares) AS s, trade_id FROM signal GROUP BY trade_id")
        assert sum(row["s"] for row in emitted) == sum(truth(r).values())


async def test_the_stream_alone_sees_early_and_never_too_much(tmp_path):
    async with rig(tmp_path, FAST) as r, watching(r, data=False):
        await asyncio.to_thread(start, r)
        await until(lambda: r.sim.finished, "the story ends")
        await until(lambda: len(totals(r)) == len(truth(r)), "all groups seen")
        seen, true = totals(r), truth(r)
        assert all(seen[group] <= true[group] for group in true)


async def test_a_gap_is_read_when_the_monitor_returns(tmp_path):
    async with rig(tmp_path, FAST) as r:
        async with watching(r):
            pass
        await asyncio.to_thread(start, r)
        await until(lambda: r.sim.finished, "trades happen while nobody watches")
        async with watching(r):
            await until(lambda: totals(r) == truth(r), "the gap is filled")


async def test_history_before_we_watch_is_no_signal(tmp_path):
    async with rig(tmp_path, FAST) as r:
        await asyncio.to_thread(start, r)
        await until(lambda: r.sim.finished, "history is made")
        later = int(time.time()) + 2

        def begin(tx):
            tx.execute("UPDATE leader SET watch_start_s = ?", (later,))

        await r.ledger.transact(begin)
        async with watching(r) as (_, polling):
            await until(lambda: polling.answered_us is not None, "a poll")
            held = r.query("SELECT * FROM leader_position")
        assert totals(r) == {}
        assert held, "what a leader holds is known from the start"
        assert all(row["watched"] == 0 for row in held)


async def test_a_reader_of_other_shapes_survives_and_counts(tmp_path):
    frame = {"topic": "activity", "type": "trades", "payload": {}}
    async with rig(tmp_path, FAST) as r, watching(r, data=False) as (stream, _):
        sent = [
            "", "[]", "{", "null", json.dumps(frame), json.dumps({**frame, "topic": "comments"}),
            "\x00", "9" * 5000, json.dumps({**frame, "payload": {**next_payload(r), "size": 1e40}}),
            json.dumps({**frame, "payload": {**next_payload(r), "title": "\x1b]0;owned\x07"}}),
        ]  # fmt: skip
        for client in r.sim.streams.rtds_clients:
            for text in sent:
                client.send(text)
        await until(lambda: r.value("SELECT COUNT(*) FROM leader_trade") == 1, "the one good row")
        await until(lambda: r.intake.refused >= 6, "the others are counted")
        assert r.value("SELECT title FROM leader_trade").isprintable()
        assert stream.stream.connected


def next_payload(r) -> dict:
    market = r.market()
    return {
        "proxyWallet": r.leader, "asset": market.tokens[0], "conditionId": market.condition,
        "side": "BUY", "size": 10, "price": 0.5, "timestamp": int(time.time()),
        "transactionHash": "0x" + "d" * 64, "title": "t", "outcome": "Yes",
    }  # fmt: skip


async def test_a_silent_stream_is_subscribed_again_and_then_reconnected(tmp_path):
    async with rig(tmp_path, FAST) as r:
        stream = Rtds(
            r.addresses["rtds_url"], r.intake, boot_id=1, silence_s=1, reconnect_s=2, now_us=now_us
        )
        stream.stream.ping_s = 0.2
        task = asyncio.create_task(stream.run())
        await until(lambda: stream.stream.connected, "connects")
        # Pings are still answered by the socket's library, but nothing comes any more.
        for client in list(r.sim.streams.rtds_clients):
            client.frames = asyncio.Queue()
            client.send = lambda _frame: None
        await until(lambda: stream.stream.epoch >= 2, "silence is noticed")
        task.cancel()


async def test_an_unreachable_data_api_is_unavailable_and_loses_nothing(tmp_path):
    async with rig(tmp_path, FAST) as r:
        transport = Transport("http://127.0.0.1:9", timeout_s=1, requests_per_s=100)
        polling = Activity(DataApi(transport), r.ledger, r.intake, DetectSettings(), now_us)
        with pytest.raises(Unavailable, match="GET"):
            await polling.poll(r.leader)
        await transport.close()
        assert await r.ledger.transact(lambda tx: leaders.cursor(tx, "data_api", r.leader)) is None


async def test_a_leader_who_does_nothing_is_read_again_after_a_restore(tmp_path):
    async with rig(tmp_path, FAST) as r:
        wallet = r.leader
        when = int(time.time()) - 10
        await r.ledger.transact(leaders.advance, "data_api", wallet, when, now_us=0)
        assert await r.ledger.look(leaders.outdated, wallet)
        transport = Transport(r.addresses["data_url"], timeout_s=10, requests_per_s=100)
        polling = Activity(DataApi(transport), r.ledger, r.intake, DetectSettings(), now_us)
        await polling.poll(wallet)
        await transport.close()
        assert not await r.ledger.look(leaders.outdated, wallet)
        assert await r.ledger.look(leaders.cursor, "data_api", wallet) > when


async def test_stale_answers_are_avoided_by_asking_freshly(tmp_path):
    async with rig(tmp_path, dataclasses.replace(FAST, data_lag_ms=0)) as r:
        transport = Transport(r.addresses["data_url"], timeout_s=10, requests_per_s=100)
        api = DataApi(transport)
        since = int(time.time()) - 60
        wallet = r.leader
        assert (await api.activity(wallet, since_s=since, limit=100)).fills == []
        r.sim.exchange.inside(
            r.sim.exchange.accounts[wallet.lower()],
            r.market().tokens[0],
            "BUY",
            990_000,
            20 * M,
            "FAK",
        )
        for _ in range(600):
            found = (await api.activity(wallet, since_s=since, limit=100)).fills
            if found:
                break
            await asyncio.sleep(0.05)
        assert len(found) == 1
        await transport.close()


@contextlib.contextmanager
def locked(r):
    """Keep SQLite's write lock: whoever wants to write waits."""
    other = sqlite3.connect(r.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def test_what_only_repeats_what_is_stored_takes_no_transaction(tmp_path):
    async with rig(tmp_path, FAST) as r:
        fill = await r.sees(shares=100 * M)
        with locked(r):
            again = [(fill, (100 * M, fill.usdc)), (fill, (60 * M, fill.usdc // 2))]
            stored = r.intake.absorb("rtds:1:orders_matched", again, seen_us=now_us())
            assert await asyncio.wait_for(stored, 5) == 0  # it would wait for the lock, twice that
        more = [(fill, (130 * M, fill.usdc))]
        assert await r.intake.absorb("data_api", more, seen_us=now_us()) == 1
        assert r.value("SELECT shares FROM leader_trade") == 130 * M


async def test_more_than_a_statement_takes_is_stored_whole_and_counted_by_day(tmp_path):
    number, day_us = db.VALUES + 17, 86_400 * M
    less, whole = (30 * M, 15 * M), (31 * M, 15_500_000)
    async with rig(tmp_path) as r:
        first = await r.sees(shares=whole[0], price=500_000)
        # Each at its own time: what is told twice at one time may be one fill.
        fills = [
            dataclasses.replace(first, tx=f"0x{n:064x}", traded_s=first.traded_s + n * TWINS_S * 2)
            for n in range(100, 100 + number)
        ]
        seen = [Sight("rtds:1:x", fill, less, now_us()) for fill in fills]
        seen[0] = dataclasses.replace(seen[0], seen_us=seen[0].seen_us + day_us)
        assert await r.intake.take(seen) == number
        mined = {"source": "data_api", "total": whole, "state": FactState.MINED}
        again = [dataclasses.replace(s, **mined) for s in seen]
        assert await r.intake.take(again) == number
        told = r.query(
            "SELECT t.tx, t.emitted_shares, t.emitted_usdc, t.signals, s.shares, s.usdc"
            " FROM leader_trade t JOIN signal s ON s.trade_id = t.id"
        )
        assert {row["tx"] for row in told} == {first.tx, *(fill.tx for fill in fills)}
        assert {tuple(row.values())[1:] for row in told} == {(*whole, 1, *whole)}
        assert r.value("SELECT shares FROM leader_position") == (number + 1) * whole[0]
        assert r.value("SELECT COUNT(*) FROM leader_trade_source") == 2 * number + 1
        little = dataclasses.replace(again[0], total=(whole[0] + 1, whole[1]))
        assert await r.intake.take([little]) == 0, "sources round differently"
        told = r.query(
            "SELECT shares, emitted_shares FROM leader_trade WHERE tx = ?", little.fill.tx
        )
        assert told == [{"shares": whole[0] + 1, "emitted_shares": whole[0]}]
        counted = r.query("SELECT n FROM tally WHERE kind = 'seen' ORDER BY day")
        assert [row["n"] for row in counted] == [number, 1]


async def test_what_waits_together_is_stored_together(tmp_path):
    reached: list[str] = []
    hook = failpoints.hook.set(reached.append)
    try:
        async with rig(tmp_path, FAST) as r, watching(r, data=False) as (stream, _):
            with locked(r):
                for number in range(50):
                    payload = {**next_payload(r), "transactionHash": f"0x{number:064x}"}
                    frame = {"topic": "activity", "type": "trades", "payload": payload}
                    for client in r.sim.streams.rtds_clients:
                        client.send(json.dumps(frame))
                await until(lambda: stream.waiting >= 40, "fills wait for the ledger")
            await until(lambda: len(totals(r)) == 50, "all of them are stored")
            assert reached.count("seen.written") <= 13  # one by one it would be fifty
    finally:
        failpoints.hook.reset(hook)


async def test_a_server_that_hangs_up_at_once_is_met_ever_more_seldom(tmp_path):
    met: list[float] = []

    async def hangs_up(socket):
        met.append(time.monotonic())
        await socket.send("{}")
        await socket.close()

    async with rig(tmp_path, FAST) as r, serve(hangs_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stream = Rtds(
            f"ws://127.0.0.1:{port}", r.intake, boot_id=1, silence_s=30, reconnect_s=60,
            now_us=now_us,
        )  # fmt: skip
        task = asyncio.create_task(stream.run())
        await until(lambda: len(met) >= 4, "it comes back")
        assert stream.stream.failures >= 3, "a connection that brought nothing was no good"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_he_held_before_is_read_once_and_ours_is_a_part_of_all_of_it(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            ours = await entered(r, shares=100 * M)
        bought, other = r.market(0).tokens[0], r.market(1).tokens[0]
        (his,) = [a for a in r.sim.exchange.accounts.values() if a.wallet == r.leader]
        his.shares |= {bought: 300 * M, other: 50 * M}
        held = "SELECT token, shares, watched, peak FROM leader_position WHERE wallet = ?"
        for now in (300, 700):
            his.shares[bought] = now * M
            async with watching(r, rtds=False) as (_, polling):
                await until(lambda polling=polling: polling.answered_us, "he was read")
            assert {tuple(row.values()) for row in r.query(held, r.leader)} == {
                (bought, 300 * M, 100 * M, 300 * M),
                (other, 50 * M, 0, 50 * M),
            }
        assert r.query("SELECT portfolio, token, shares, leader FROM cover") == [
            {"portfolio": follower(r), "token": bought, "shares": ours, "leader": 300 * M}
        ]
