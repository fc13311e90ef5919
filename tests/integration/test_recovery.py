"""Recovery: lost answers, kills between two steps, refusals of a re-post.

Only evidence ends an order.
"""

import asyncio
import dataclasses
import time

import pytest

from bot.errors import InvariantBroken
from bot.model.control import ControlMode
from bot.model.fill import Evidence
from bot.model.order import Accepted, Deferred, Order, Rejected, RejectReason, Unknown
from bot.polymarket.clob import Clob
from bot.runtime import now_us
from tests.exits import at, held, offers_only, resting
from tests.rig import M, rig, steer, stored_order, until


class Lossy:
    """A venue whose answers are lost after the exchange has accepted."""

    def __init__(self, clob: Clob, *, answers: list) -> None:
        self._clob, self._answers = clob, answers
        self.posts: list[str] = []

    def __getattr__(self, name):
        return getattr(self._clob, name)

    async def post(self, order: Order):
        outcome = await self._clob.post(order)
        self.posts.append(order.body)
        return self._answers.pop(0) if self._answers else outcome


async def test_a_lost_answer_is_resolved_by_evidence_and_never_signed_again(tmp_path):
    async with rig(tmp_path) as r:
        venue = Lossy(r.clob, answers=[Unknown("timeout")])
        async with r.working(venue):
            await r.sees()
            await until(lambda: r.reasons() == ["copied"], "a decision")
            await r.settled()
        assert r.value("SELECT state FROM orders") == "filled"
        assert len(set(venue.posts)) == 1
        assert len(r.sim.exchange.outside) == 1
        r.assert_equal_to_exchange()


async def test_what_rests_though_its_answer_was_lost_is_found_to_rest(tmp_path):
    async with rig(tmp_path) as r:
        venue = Lossy(r.clob, answers=[Unknown("timeout"), Unknown("timeout")])
        async with r.working(venue):
            await resting(r)
            assert len(venue.posts) == len(set(venue.posts)) == 2


class Late:
    """A venue whose answer to a POST comes after the user channel has told its fill."""

    def __init__(self, r) -> None:
        self._rig = r

    def __getattr__(self, name):
        return getattr(self._rig.clob, name)

    async def post(self, order: Order):
        outcome = await self._rig.clob.post(order)
        state = "SELECT state FROM orders WHERE id = ?"
        await until(lambda: self._rig.value(state, order.id) == "open", "the channel spoke first")
        return outcome


async def test_an_answer_after_its_fill_still_says_how_much_has_matched(tmp_path):
    async with rig(tmp_path) as r:
        with at("decide.committed", lambda: offers_only(r, 8)):
            async with r.working(Late(r)):
                await r.sees(shares=1000 * M)
                await until(lambda: held(r) == 8 * M, "a part of it")
                await until(lambda: r.value("SELECT matched FROM orders"), "its answer")
        assert r.query("SELECT state, matched FROM orders LIMIT 1") == [
            {"state": "partial", "matched": 8 * M}
        ]


async def test_a_busy_exchange_gets_the_same_bytes_again(tmp_path):
    async with rig(tmp_path) as r:
        venue = Busy(r.clob)
        async with r.working(venue):
            await r.sees()
            await until(lambda: r.reasons() == ["copied"], "a decision")
            await r.settled()
        assert r.value("SELECT state FROM orders") == "filled"
        assert len(venue.bodies) == 2 and len(set(venue.bodies)) == 1
        r.assert_equal_to_exchange()


class Busy:
    """Answers 425 once, without asking the exchange."""

    def __init__(self, clob: Clob) -> None:
        self._clob, self.bodies = clob, []

    def __getattr__(self, name):
        return getattr(self._clob, name)

    async def post(self, order: Order):
        self.bodies.append(order.body)
        return Deferred("HTTP 425", 1) if len(self.bodies) == 1 else await self._clob.post(order)


@pytest.mark.parametrize(
    "posted", [False, True], ids=["killed before the POST", "killed after the POST"]
)
async def test_a_new_life_finishes_what_an_earlier_one_left(tmp_path, posted):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=posted)
        async with r.working():
            await r.settled()
        assert r.value("SELECT state FROM orders") == "filled"
        assert r.sim.exchange.outside == [order.id]
        r.assert_equal_to_exchange()


async def test_an_order_that_never_arrived_expires_and_frees_its_budget(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        past = now_us() - 60 * M

        def age(tx):
            tx.execute(
                "UPDATE orders SET deadline_us = ?, created_us = ? WHERE id = ?",
                (past, past, order.id),
            )

        await r.ledger.transact(age)
        async with r.working():
            await r.settled()
        assert r.query("SELECT state, reserved FROM orders") == [
            {"state": "expired", "reserved": 0}
        ]
        assert r.sim.exchange.outside == []


async def test_a_second_executor_stops_the_first(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        old = r.execution.loop
        await r.boots()
        await r.sees()
        with pytest.raises(InvariantBroken, match="another executor"):
            await old.run(asyncio.Event())
        assert r.reasons() == []


class Script:
    """A venue that tells its own story for a while: scripted answers to posts, blind lookups."""

    def __init__(self, clob: Clob, *, answers=(), blind_s: float = 0) -> None:
        self._clob, self._answers = clob, list(answers)
        self._sees_at = time.monotonic() + blind_s
        self.bodies: list[str] = []

    def __getattr__(self, name):
        return getattr(self._clob, name)

    async def post(self, order: Order):
        self.bodies.append(order.body)
        outcome = await self._clob.post(order)
        return self._answers.pop(0) if self._answers else outcome

    async def fills(self, condition, *, after_s):
        if time.monotonic() < self._sees_at:
            return Evidence()
        return await self._clob.fills(condition, after_s=after_s)


async def carried(r, venue) -> None:
    """Carry one entry to its end without the user channel: lookups are the only evidence."""
    await r.boots(venue)
    stopping = asyncio.Event()
    books = asyncio.create_task(r.books.run())
    work = asyncio.create_task(r.execution.loop.run(stopping))
    await r.sees()
    await until(lambda: r.reasons() == ["copied"], "a decision")
    await r.settled()
    stopping.set()
    await work
    books.cancel()


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param((), id="matched, lookups blind for longer than their lag"),
        pytest.param((Accepted("matched"),), id="matched without amounts"),
        pytest.param((Accepted("duplicate"),), id="duplicate"),
        pytest.param(
            (Unknown("timeout"), Rejected(RejectReason.NO_BALANCE, "spent")),
            id="the re-post is refused",
        ),
        pytest.param(
            (Unknown("timeout"), Rejected(RejectReason.CREDENTIALS, "401")),
            id="the re-post is unauthorised",
        ),
    ],
)
async def test_only_evidence_ends_what_the_exchange_has(tmp_path, answers):
    async with rig(tmp_path, execution={"evidence_lag_s": 3, "timeout_s": 5}) as r:
        venue = Script(r.clob, answers=answers, blind_s=5 if not answers else 1.5)
        await carried(r, venue)
        assert r.value("SELECT state FROM orders") == "filled"
        assert len(set(venue.bodies)) == 1
        assert len(r.sim.exchange.outside) == 1
        r.assert_equal_to_exchange()


async def test_no_byte_leaves_after_the_deadline(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        venue = Script(r.clob)
        await r.boots(venue)
        await r.execution.poster.send(
            dataclasses.replace(order, deadline_us=now_us() - 1), again=True
        )
        assert venue.bodies == []


async def test_a_halt_stops_bytes_that_were_to_be_sent_again(tmp_path):
    async with rig(tmp_path) as r:
        await stored_order(r, posted=False)
        await steer(r, ControlMode.HALTED)
        venue = Script(r.clob)
        await r.boots(venue)
        await r.execution.loop._recover()
        assert venue.bodies == []


async def test_no_order_is_born_once_stopping_began(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        await r.sees()
        stopping, fetching = asyncio.Event(), asyncio.Event()
        original = r.books.market

        async def market(condition):
            # The stop arrives while a decision waits for the exchange.
            fetching.set()
            await stopping.wait()
            return await original(condition)

        r.books.market = market
        work = asyncio.create_task(r.execution.loop.run(stopping))
        await fetching.wait()
        stopping.set()
        await work
        assert r.value("SELECT COUNT(*) FROM orders") == 0
        assert r.value("SELECT COUNT(*) FROM signal WHERE decided = 0") == 1
        assert r.sim.exchange.outside == []


async def test_a_killed_reply_that_comes_late_hides_no_fill(tmp_path):
    async with rig(tmp_path, execution={"evidence_lag_s": 3, "timeout_s": 10}) as r:
        venue = Script(r.clob, answers=[Accepted("killed", text="killed")], blind_s=60)
        original = venue.post

        async def slow(order: Order):
            outcome = await original(order)
            await asyncio.sleep(
                3.5
            )  # longer than the lag of lookups: it counts from this answer on
            venue._sees_at = time.monotonic() + 1.5
            return outcome

        venue.post = slow
        await carried(r, venue)
        assert r.value("SELECT state FROM orders") == "filled"
        r.assert_equal_to_exchange()
