"""Lines at the edges whose breaking nobody had noticed: what is let in, and what may end."""

import asyncio
import json
import sqlite3
import time

import pytest

from bot.execution import look
from bot.ledger import orders, positions
from bot.model.fees import highest_fee
from bot.model.fill import Fill, Settlement
from bot.model.market import Side
from bot.model.order import Order
from bot.model.units import utc_day
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.integration.test_detection import FAST, next_payload, start, totals, watching
from tests.integration.test_recovery import Script, stored_order
from tests.rig import M, rig, until


def show(r, **changes) -> None:
    """Let the stream show one row of a leader's trade."""
    payload = {**next_payload(r), **changes}
    frame = {"topic": "activity", "type": "trades", "payload": payload}
    for client in r.sim.streams.rtds_clients:
        client.send(json.dumps(frame))


async def test_a_stream_that_replays_is_not_followed_into_the_past(tmp_path):
    async with rig(tmp_path, FAST) as r, watching(r, data=False):
        show(r, timestamp=int(time.time()) - 7_200)
        show(r, timestamp=int(time.time()), transactionHash="0x" + "e" * 64)
        await until(lambda: totals(r), "what came after it")
        assert [key[0] for key in totals(r)] == ["0x" + "e" * 64]


async def test_a_row_that_is_told_otherwise_is_the_same_row(tmp_path):
    async with rig(tmp_path, FAST) as r, watching(r, data=False):
        show(r, size=10)
        show(r, size=10, title="Another title", timestamp=int(time.time()) + 1)
        show(r, size=11, transactionHash="0x" + "e" * 64)
        await until(lambda: len(totals(r)) == 2, "what came after it")
        assert set(totals(r).values()) == {10 * M, 11 * M}


async def test_connections_of_a_stream_are_not_added_up(tmp_path):
    async with rig(tmp_path, FAST) as r, watching(r, data=False) as (stream, _):
        show(r, size=10)
        await until(lambda: list(totals(r).values()) == [10 * M], "one row")
        first = stream.stream.epoch
        r.sim.director.do_stream("rtds", "hang_up")
        show(r, transactionHash="0x" + "c" * 64)  # with the next frame it hangs up
        await until(lambda: stream.stream.epoch != first, "another connection")
        r.sim.director.do_heal()
        await until(lambda: stream.stream.connected, "it is subscribed")
        after, both = "0x" + "e" * 64, "0x" + "d" * 64

        def shown() -> bool:
            # Whether this is more of the same trade, or the same row told otherwise, nobody can
            # know. Again and again: another connection may just be hanging up.
            show(r, size=4)
            show(r, transactionHash=after)
            return after in {key[0] for key in totals(r)}

        await until(shown, "what came after it")
        assert {key[0]: shares for key, shares in totals(r).items()}[both] == 10 * M


async def test_a_cursor_never_runs_ahead_of_our_clock(tmp_path):
    async with rig(tmp_path, FAST) as r:
        r.sim.director.do_clock(3_600)
        async with watching(r, rtds=False):
            await asyncio.to_thread(start, r)
            await until(lambda: r.sim.finished, "the story ends")
            await until(lambda: len(totals(r)) > 10, "trades of an hour ahead")
            ahead = r.value("SELECT MAX(position_s) FROM cursor WHERE source = 'data_api'")
            assert ahead <= time.time()


async def test_an_order_is_not_given_up_before_lookups_have_had_their_time(tmp_path):
    execution = {"evidence_lag_s": 8, "settle_poll_s": 1, "timeout_s": 1}
    async with rig(tmp_path, execution=execution) as r:
        order = await stored_order(r, posted=True)
        past = now_us() - 3 * M

        def age(tx):
            tx.execute("UPDATE orders SET deadline_us = ?, last_sent_us = ?", (past, past))

        await r.ledger.transact(age)
        async with r.working(Script(r.clob, blind_s=4)):
            await r.settled()
        assert r.query("SELECT id, state FROM orders") == [{"id": order.id, "state": "filled"}]
        r.assert_equal_to_exchange()


async def test_the_fee_is_reserved_with_the_price(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        assert isinstance(order, Order)
        rate = r.market().fee_rate
        fee = highest_fee(order.maker_amount, rate)
        assert fee > 0
        reserved = r.value("SELECT reserved FROM orders WHERE id = ?", order.id)
        assert reserved == order.maker_amount + fee


async def test_a_market_that_hangs_holds_up_no_entry_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "PATIENCE_S", 600)  # it is not given up on meanwhile
    async with rig(tmp_path) as r:
        slow, other = r.market(0), r.market(1)
        r.sim.faults.rules.append(
            Rule("GET /clob-markets/", "hang", where=slow.condition, times=-1)
        )
        async with r.working():
            await r.sees(market=0)
            await r.sees(market=1)
            await r.sees(market=1, outcome=0, leader=1)
            await until(lambda: "copied" in r.reasons(), "an entry where everybody answers")
            assert r.query("SELECT DISTINCT condition FROM orders") == [
                {"condition": other.condition}
            ]
            r.sim.faults.rules.clear()


async def test_an_order_whose_money_is_spent_ends_although_its_answer_was_lost(tmp_path):
    """An exit of its position waited for twenty-five seconds after a kill in a POST."""
    execution = {"evidence_lag_s": 120, "settle_poll_s": 1, "timeout_s": 1}
    async with rig(tmp_path, execution=execution) as r:
        order = await stored_order(r, posted=True)

        def forget(tx):  # as if it had been killed before the answer was stored
            tx.execute("UPDATE orders SET sends = 0, sent_us = NULL, last_sent_us = NULL")

        await r.ledger.transact(forget)
        async with r.working():
            await until(
                lambda: r.value("SELECT state FROM orders WHERE id = ?", order.id) == "filled",
                "its end",
            )
            await r.settled()
        r.assert_equal_to_exchange()


@pytest.mark.parametrize(("settlement", "spent"), [("matched", 4_100_000), ("failed", 0)])
async def test_money_that_is_spent_counts_once_against_the_limits(tmp_path, settlement, spent):
    """Two filled orders that had not ended yet kept a third leader out of the market."""
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        booked = Fill(
            "t1", order.id, order.condition, order.token, Side.BUY, 8 * M, 4 * M, 100_000,
            Settlement(settlement), None, now_us(),
        )  # fmt: skip
        await r.ledger.transact(orders.add_fill, booked, order)
        used = await r.ledger.look(positions.budget, order.condition, utc_day(now_us()))
        assert used.reserved == used.reserved_market == order.reserved - spent


async def test_what_waits_for_a_ledger_that_is_away_is_bounded(tmp_path):
    async with rig(tmp_path, FAST) as r, watching(r, data=False, most=5) as (stream, _):
        other = sqlite3.connect(r.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for number in range(40):
            show(r, transactionHash=f"0x{number:064x}")
        await until(lambda: stream.dropped > 0, "more than may wait")
        assert stream.waiting <= 5
        other.execute("ROLLBACK")
        other.close()
        last = f"0x{39:064x}"
        await until(lambda: last in {key[0] for key in totals(r)}, "what came last is stored")
