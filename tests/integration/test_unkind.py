"""What the exchange does to us on a bad day, and that it costs no more than it must."""

import asyncio
import os
import time
from pathlib import Path

import click
import httpx
import psutil
import pytest
import typer

from bot.cli import maintain
from bot.cli.output import Cli
from bot.config.home import Home
from bot.config.schema import Settings
from bot.errors import ConfigError, Unavailable
from bot.lab.demo import Options, _verdict
from bot.ledger import control
from bot.ledger.db import Ledger, rows
from bot.ledger.files import migrate
from bot.model.control import ControlMode
from bot.model.order import OrderState
from bot.polymarket.stream import Stream
from bot.report import lists, read
from bot.report.status import status
from bot.runtime import _begin, now_us
from bot.sim.faults import Rule
from bot.sim.quirks import Quirk
from tests.rig import M, rig, until


async def do(r, order: str, **arguments) -> dict:
    """Tell the simulation to do something, as a drill does."""
    async with httpx.AsyncClient(base_url=r.addresses["clob_url"]) as client:
        answer = (await client.post("/sim/do", json={"order": order, **arguments})).json()
    assert answer.get("ok"), answer
    return answer


def order_state(r) -> str | None:
    return r.value("SELECT state FROM orders ORDER BY created_us DESC LIMIT 1")


async def test_a_channel_that_answers_pings_alone_makes_no_book_fresh(tmp_path):
    async with rig(tmp_path) as r:
        r.books.shards[0].stream.ping_s = 0.05
        task = asyncio.create_task(r.books.run())
        token = r.market().tokens[0]
        await r.books.watch([token], max_age_us=0)
        await until(lambda: r.books.connected and r.books.book(token), "a first book")
        await do(r, "stream", channel="market", mode="lapsed")
        maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
        r.sim.exchange.inside(maker, token, "SELL", 505_000, 7 * M, "GTC")
        before, heard = r.books.book(token).seen_us, r.books.shards[0].stream.heard
        await until(lambda: r.books.shards[0].stream.heard > heard + 0.2, "pongs go on")
        assert r.books.book(token).seen_us == before
        assert r.books.book(token).asks[0][0] != 505_000, "frozen, and it does not claim otherwise"
        await r.books.watch([token], max_age_us=0)
        assert r.books.book(token).asks[0] == (505_000, 7 * M), "fetched, because it is old"
        task.cancel()


async def test_a_lapsed_subscription_is_asked_for_again_though_pings_are_answered(tmp_path):
    async with rig(tmp_path) as r:
        frames: list[str] = []

        async def on_frame(text: str) -> None:
            frames.append(text)

        wanted = '{"action":"subscribe","subscriptions":[{"topic":"activity","type":"trades"}]}'
        silence_s, answered = 0.3, []

        def subscribe() -> list[str]:
            # On a busy machine an answer may be late as well: that would be another reason to ask.
            if stream.connected and time.monotonic() - stream.heard < silence_s:
                answered.append(stream.epoch)
            return [wanted]

        stream = Stream(
            r.settings.venue.rtds_url, subscribe, ping_s=0.05, silence_s=silence_s, reconnect_s=60
        )
        task = asyncio.create_task(stream.run(on_frame))
        await until(lambda: stream.connected, "connected")
        await do(r, "stream", channel="rtds", mode="lapsed")
        await until(lambda: answered, "asked again though pings are answered")
        story = r.sim.story

        def trades() -> bool:
            r.sim.exchange.inside(story.leaders[0], r.market().tokens[0], "BUY", 990_000, M, "FAK")
            story.quote(r.market())
            return any("transactionHash" in frame for frame in frames)

        await until(trades, "data again, on the same connection")
        assert stream.epoch == 1 and set(answered) == {1}
        task.cancel()


@pytest.mark.parametrize("rule", [{"do": "bot_filter"}, {"do": "status", "status": 403}])
async def test_a_page_at_login_is_weather_and_a_refusal_of_the_key_is_not(tmp_path, rule):
    async with rig(tmp_path) as r:
        r.sim.faults.rules.append(Rule("POST /auth/api-key", **rule))
        with pytest.raises(Unavailable):
            await r.clob.login()
        await r.clob.login()
        refusal = '{"error": "Invalid L1 Request headers"}'
        for method in ("POST /auth/api-key", "GET /auth/derive-api-key"):
            r.sim.faults.rules.append(Rule(method, "status", status=401, body=refusal))
        with pytest.raises(ConfigError, match="Invalid L1 Request headers"):
            await r.clob.login()


async def test_a_restricted_region_and_a_closed_account_are_named(tmp_path):
    async with rig(tmp_path) as r:
        assert await r.clob.restriction() is None
        await do(r, "closed_only", on=True)
        assert "close positions only" in await r.clob.restriction()
        await do(r, "closed_only", on=False)
        await do(r, "region", orders="refused")
        assert "restricted in your region" in await r.clob.restriction()


async def test_an_answer_a_millionth_above_its_trades_ends_its_order(tmp_path):
    async with rig(tmp_path) as r, r.working():
        r.sim.exchange.quirks.waiting.append(Quirk("matched_more"))
        await r.sees()
        await until(lambda: order_state(r) is not None, "an order")
        await r.settled()
        assert order_state(r) == OrderState.FILLED
        assert r.value("SELECT matched - (SELECT SUM(shares) FROM fill) FROM orders") == 1
        r.assert_equal_to_exchange()


async def test_one_unreadable_trade_locks_nothing_and_is_told(tmp_path):
    async with rig(tmp_path) as r, r.working():
        for market in (0, 1):
            await r.sees(market=market)
            await r.settled()
        await r.ledger.transact(control.lock, control.UNCOMPARED, "not compared")
        r.sim.faults.rules.append(
            Rule("GET /data/trades", "bad_row", times=-1, field="maker_orders", value=None)
        )
        found = await r.execution.reconciler.compare(now_us=now_us())
        assert found.differences == ()
        locks = [row["scope"] for row in r.query("SELECT scope FROM lock")]
        assert len(locks) == 1 and locks[0].startswith("token:"), "only what the row names"
        alert = (
            "SELECT COUNT(*) FROM alert WHERE key = 'evidence:unreadable' AND cleared_us IS NULL"
        )
        assert r.value(alert) == 1
        r.sim.faults.rules.clear()
        await r.execution.reconciler.compare(now_us=now_us())
        assert r.value(alert) == 0


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "ledger-demo.db"
    migrate(found, "demo")
    return found


async def test_a_pause_is_never_cut_short_and_a_halt_keeps_its_first_reason(path):
    async with Ledger(path).open() as ledger:

        async def steer(mode, reason, until_us=None, now=5):
            return await ledger.transact(
                control.steer, mode, reason=reason, actor="a", now_us=now, until_us=until_us
            )

        async def state():
            return (await ledger.look(control.read, now_us=100)).reason

        assert await steer(ControlMode.PAUSED, "restored")
        assert not await steer(ControlMode.PAUSED, "lunch", until_us=10), "it would end it early"
        assert await state() == "restored"
        assert await steer(ControlMode.RUNNING, "resume")
        assert await steer(ControlMode.PAUSED, "lunch", until_us=10)
        assert await steer(ControlMode.PAUSED, "longer", until_us=20)
        assert await steer(ControlMode.PAUSED, "later", until_us=30, now=25), "that one was over"
        assert await steer(ControlMode.HALTED, "first")
        assert not await steer(ControlMode.HALTED, "second")
        assert await state() == "first"
        events = await ledger.look(lambda tx: tx.execute("SELECT text FROM event").fetchall())
        assert [text for (text,) in events if text in ("lunch", "second")] == ["lunch"]


async def test_a_trade_that_was_bought_and_grew_too_late_is_shown_as_bought(tmp_path):
    async with rig(tmp_path) as r, r.working():
        fill = await r.sees(shares=100 * M, tx="0x" + "ab" * 32)
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.sees(shares=150 * M, tx=fill.tx, source="data_api", age_s=300)
        await until(lambda: len(r.reasons()) == 2, "its growth is decided")
        with read(r.path) as found:
            [shown] = lists.trades(found, 5)
        assert (shown["verdict"], shown["reason"]) == ("copied", None)
        await r.settled()


async def test_a_slow_beat_is_no_hang_and_locked_entries_are_on_the_first_screen(path):
    at = now_us()
    born = int(psutil.Process().create_time() * M)
    async with Ledger(path).open() as ledger:
        boot = await ledger.transact(
            control.boot, "monitor", os.getpid(), born, "abc", now_us=at - 60 * M
        )
        await ledger.transact(
            control.beat,
            boot,
            "running",
            '{"beat_s": 60, "pss_bytes": 7}',
            now_us=at - 40 * M,
            progress_us=at,
            ready_us=at,
        )
        await ledger.transact(control.lock, control.FORGOTTEN, "3 trades; botctl reconcile --adopt")
        await ledger.transact(control.lock, "leader:0x1", "only one leader")
    with read(path) as found:
        now = status(found)
    monitor = next(w for w in now.workers if w.worker == "monitor")
    assert (monitor.state, monitor.pss_bytes) == ("running", 7)
    assert now.entries == "3 trades; botctl reconcile --adopt"


def test_a_story_that_was_not_finished_fails(path):
    truth = {
        "steps_left": 25, "finished": False, "settled": True, "orders": [], "leader_trades": [],
        "collateral": 0, "shares": {},
    }  # fmt: skip
    with read(path) as found:
        verdict = _verdict(found, truth, Options(), {}, None, 240.0)
        assert not verdict.ok
        assert verdict.problems == ["the story was not finished: 25 steps left"]
        assert _verdict(found, {**truth, "steps_left": 0}, Options(), {}, None, 1.0).ok


async def test_a_crash_loop_stops_entries_for_a_while_and_a_reboot_is_nobodys_fault(path):
    settings = Settings(
        mode="demo",
        venue={"clob_url": "http://127.0.0.1:1"},
        runtime={"crash_window_s": 86_400},
    )

    async def crashes(ledger, count: int, at_us: int) -> None:
        for _ in range(count):
            await ledger.transact(control.boot, "executor", 1, 1, "abc", now_us=at_us)

    async with Ledger(path).open() as ledger:
        # Not the machine's own: one that is up for longer than the window would prove nothing.
        booted_us = now_us() - 600 * M
        await crashes(ledger, 9, booted_us - M)
        await _begin(ledger, "executor", settings, booted_us)
        assert (await ledger.look(control.read, now_us=now_us())).mode is ControlMode.RUNNING
        await crashes(ledger, 5, now_us())
        await _begin(ledger, "executor", settings, booted_us)
        control_row = (await ledger.look(rows, "SELECT * FROM control"))[0]
        assert control_row["mode"] == "paused" and "crash_loop: executor" in control_row["reason"]
        later = control_row["until_us"]
        assert (await ledger.look(control.read, now_us=later)).mode is ControlMode.RUNNING


@pytest.mark.parametrize(
    ("count", "quiet", "code", "said"),
    [
        (0, True, 0, "ledger and exchange agree"),
        (0, False, 75, "of the balances nothing is known"),
        (2, False, 1, "2 differences"),
    ],
)
def test_reconcile_says_that_it_agrees_only_when_it_knows(capsys, count, quiet, code, said):
    context = typer.Context(click.Command("reconcile"))
    context.obj = Cli(home=Home(Path("/nowhere")), config=None, json=False)
    answer = {"adopted": [], "booked": [], "differences": [], "count": count, "quiet": quiet}
    assert maintain._shown(context, answer) == code
    captured = capsys.readouterr()
    assert said in captured.out + captured.err
