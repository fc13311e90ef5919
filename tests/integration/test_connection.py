"""Transactions of one process: together where they can, on the loop where nobody waits."""

import asyncio
import contextvars
import sqlite3
import threading
import time

import pytest

from bot.errors import LedgerError
from bot.ledger import control
from bot.ledger.connection import SLOW_S, SLOW_TIMES, Elsewhere, Threaded
from bot.ledger.db import Ledger, rows, run, scalar
from bot.ledger.files import migrate
from tests.rig import until


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "ledger-demo.db"
    migrate(found, "demo")
    return found


async def test_a_cancelled_caller_does_not_cancel_the_commit(path):
    other = sqlite3.connect(path, isolation_level=None)
    async with Ledger(path).open() as ledger:
        for held in (False, True):
            if held:
                other.execute("BEGIN IMMEDIATE")
            task = asyncio.create_task(ledger.transact(noting("kept")))
            await asyncio.sleep(0.05 if held else 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if held:
                other.execute("COMMIT")
        assert await ledger.transact(scalar, "SELECT COUNT(*) FROM event") == 2
    other.close()


async def test_what_a_cancelled_caller_left_behind_is_written_before_the_ledger_closes(path):
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    async with Ledger(path).open() as ledger:
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(ledger.transact(noting("kept")))
        await asyncio.sleep(0)
        task.cancel()
        asyncio.get_running_loop().call_later(0.1, other.execute, "COMMIT")
    assert other.execute("SELECT COUNT(*) FROM event").fetchone() == (1,)
    other.close()


async def test_nothing_runs_at_once_on_a_connection_that_is_being_closed(path):
    connection = await Threaded.connect(f"{path.as_uri()}?mode=rw")
    assert await connection.run(lambda db: db.total_changes) == 0
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    with pytest.raises(Elsewhere):
        connection.at_once(lambda db: None)
    await closing


async def grouped(ledger, works):
    """Ask for works in one turn of the loop and return how each has ended."""
    asked = [ledger.transact(work) for work in works]
    return await asyncio.gather(*asked, return_exceptions=True)


def noting(text):
    return lambda tx: control.record(tx, "t", "k", text, now_us=1)


async def test_what_waits_together_commits_together_and_one_that_raises_is_undone_alone(path):
    async with Ledger(path).open() as ledger:

        def broken(tx):
            noting("broken")(tx)
            raise RuntimeError("on purpose")

        def refused(tx):
            noting("refused")(tx)
            run(tx, "INSERT INTO nowhere VALUES (1)")

        statements = []
        await ledger.look(lambda tx: tx.set_trace_callback(statements.append))
        ends = await grouped(ledger, [noting("a"), broken, noting("b"), refused, noting("c")])
        assert [type(end) for end in ends] == [
            type(None),
            RuntimeError,
            type(None),
            LedgerError,
            type(None),
        ]
        assert statements.count("BEGIN IMMEDIATE") == 1
        texts = await ledger.look(rows, "SELECT text FROM event ORDER BY id")
        assert [row["text"] for row in texts] == ["a", "b", "c"]


async def test_a_transaction_that_has_written_many_rows_takes_no_more(path):
    def many(tx):
        for number in range(150):
            noting(str(number))(tx)

    async with Ledger(path).open() as ledger:
        statements = []
        await ledger.look(lambda tx: tx.set_trace_callback(statements.append))
        ends = await grouped(ledger, [many] * 5)
        assert ends == [None] * 5
        assert statements.count("BEGIN IMMEDIATE") == 3
        assert await ledger.look(scalar, "SELECT COUNT(*) FROM event") == 750


async def test_a_look_needs_no_write_lock_and_sees_one_moment(path):
    writer = sqlite3.connect(path, isolation_level=None)
    async with Ledger(path).open() as ledger:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE control SET reason = 'half done'")

        def twice(tx):
            before = scalar(tx, "SELECT reason FROM control")
            writer.execute("COMMIT")
            return before, scalar(tx, "SELECT reason FROM control")

        assert await ledger.look(twice) == ("first start", "first start")
        assert await ledger.look(scalar, "SELECT reason FROM control") == "half done"
    writer.close()


async def test_work_runs_here_and_now_in_the_callers_context(path):
    word = contextvars.ContextVar("word", default="nobody's")
    async with Ledger(path).open() as ledger:
        word.set("the caller's")
        thread, said = await ledger.transact(lambda tx: (threading.get_ident(), word.get()))
        assert said == "the caller's"
        assert thread == threading.get_ident()


async def test_who_has_to_wait_for_the_lock_waits_on_a_thread_and_the_loop_goes_on(path):
    writer = sqlite3.connect(path, isolation_level=None)
    word = contextvars.ContextVar("word", default="nobody's")

    def note(tx):
        noting("late")(tx)
        return threading.get_ident(), word.get()

    async with Ledger(path).open() as ledger:
        writer.execute("BEGIN IMMEDIATE")
        word.set("the caller's")
        waiting = [asyncio.create_task(ledger.transact(note)) for _ in range(2)]
        await until(ledger._writing, "they wait on the thread")
        later = asyncio.create_task(ledger.transact(noting("behind them")))
        await asyncio.sleep(0.05)
        looking = asyncio.create_task(ledger.look(scalar, "SELECT COUNT(*) FROM event"))
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in (*waiting, later, looking))
        writer.execute("COMMIT")
        assert await looking == 2, "one connection: it reads when the thread is done"
        for thread, said in await asyncio.gather(*waiting):
            assert thread != threading.get_ident()
            assert said == "the caller's"
        await later
        texts = await ledger.look(rows, "SELECT text FROM event ORDER BY id")
        assert [row["text"] for row in texts] == ["late", "late", "behind them"]
        assert (await ledger.transact(note))[0] == threading.get_ident(), "here again"
    writer.close()


async def test_what_takes_long_goes_on_beside_the_loop(path):
    async with Ledger(path).open() as ledger:
        for _ in range(SLOW_TIMES):
            await ledger.transact(lambda _: time.sleep(2 * SLOW_S))  # as a disk does
        assert await ledger.transact(lambda tx: threading.get_ident()) != threading.get_ident()
