"""The ledger on real SQLite files."""

import asyncio
import multiprocessing
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlmodel import SQLModel

import bot.ledger.tables  # noqa: F401  (fills the metadata)
from bot import report
from bot.errors import InvariantBroken, LedgerError, SchemaMismatch, StateUnknown
from bot.ledger import account, control, facts, intents, leaders, orders, signals
from bot.ledger.db import SCHEMA, Ledger, insert, one, run, scalar
from bot.ledger.files import busy, migrate
from bot.model.control import ControlMode
from bot.model.intent import IntentKind
from bot.model.market import Side
from bot.model.order import Order, OrderKind, OrderState
from bot.report import status

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "ledger-demo.db"
    migrate(found, "demo")
    return found


def test_migrations_and_models_agree(path):
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    engine.dispose()
    assert ScriptDirectory(str(ROOT / "migrations")).get_current_head() == SCHEMA


def test_every_table_is_strict(path):
    connection = sqlite3.connect(path)
    loose = [r[1] for r in connection.execute("PRAGMA table_list") if r[2] == "table" and not r[5]]
    connection.close()
    assert {name for name in loose if not name.startswith("sqlite_")} == {"alembic_version"}


def test_the_file_is_closed_to_others_and_migrating_twice_is_safe(path):
    migrate(path, "demo")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sqlite_has_no_wal_reset_bug():
    assert sqlite3.sqlite_version_info >= (3, 51, 3)


async def test_every_connection_is_durable(path):
    async with Ledger(path).open() as ledger:
        for pragma, value in (
            ("synchronous", 2),
            ("journal_mode", "wal"),
            ("foreign_keys", 1),
            ("mmap_size", 0),
        ):
            assert await ledger.transact(lambda tx, p=pragma: scalar(tx, f"PRAGMA {p}")) == value


async def test_a_failed_transaction_leaves_nothing(path):
    async with Ledger(path).open() as ledger:

        def broken(tx):
            control.record(tx, "t", "k", "x", now_us=1)
            raise RuntimeError("on purpose")

        with pytest.raises(RuntimeError, match="on purpose"):
            await ledger.transact(broken)
        with pytest.raises(LedgerError, match="no such table"):
            await ledger.transact(lambda tx: run(tx, "INSERT INTO nowhere VALUES (1)"))
        assert await ledger.transact(lambda tx: scalar(tx, "SELECT COUNT(*) FROM event")) == 0


@pytest.mark.parametrize("value", [1.5, "abc", float("nan"), 2**63])
async def test_integer_columns_take_integers_only(path, value):
    async with Ledger(path).open() as ledger:
        row = {"wallet": "w", "opening": value, "cash": 1, "updated_us": 1}
        with pytest.raises((LedgerError, OverflowError)):
            await ledger.transact(lambda tx: insert(tx, "account", row))


def _spend(path: str, times: int, barrier) -> None:
    async def spend() -> None:
        async with Ledger(Path(path)).open() as ledger:
            barrier.wait(60)  # all at once, or nobody reads between another's read and write

            def once(tx):
                cash = scalar(tx, "SELECT cash FROM account")
                run(tx, "UPDATE account SET cash = :cash", cash=cash - 1)

            for _ in range(times):
                await ledger.transact(once)

    asyncio.run(spend())


def test_who_holds_the_lock_of_a_ledger_is_told_of(path):
    assert busy(path) is None
    assert busy(path) is None, "whoever has asked has let it go"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "locked" in (busy(path) or "")
    other.close()
    assert busy(path) is None


async def test_three_processes_that_read_and_write_lose_no_update(path):
    async with Ledger(path).open() as ledger:
        await ledger.transact(lambda tx: account.open_account(tx, "w", 1000, now_us=1))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_spend, args=(str(path), 80, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join)
    async with Ledger(path).open() as ledger:
        assert (
            await ledger.transact(lambda tx: scalar(tx, "SELECT cash FROM account")) == 1000 - 240
        )


def test_a_ledger_of_another_mode_or_program_is_refused_and_untouched(path, tmp_path):
    with pytest.raises(SchemaMismatch, match="written in mode demo, configured mode is live"):
        migrate(path, "live")
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE notes (x)")
    connection.commit()
    connection.close()
    before = foreign.read_bytes()
    with pytest.raises(SchemaMismatch, match="of another program"):
        migrate(foreign, "demo")
    assert foreign.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"not a database, but text that is long enough", b"SQLite format 3\x00" + b"\xff" * 500],
)
def test_a_file_that_is_no_database_is_refused_and_untouched(tmp_path, content):
    path = tmp_path / "ledger-demo.db"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="ledger"):
        migrate(path, "demo")
    with pytest.raises(LedgerError, match="ledger"), report.read(path) as found:
        status.status(found)
    assert path.read_bytes() == content


async def test_a_newer_schema_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(SchemaMismatch, match="newer"):
        migrate(path, "demo")
    with pytest.raises(SchemaMismatch, match="schema 9999"):
        async with Ledger(path).open():
            pass


def test_no_ledger_is_a_state_of_its_own(tmp_path):
    with pytest.raises(StateUnknown, match="no ledger"), report.read(tmp_path / "none.db"):
        pass


async def test_a_pause_ends_by_itself_and_does_not_soften_a_halt(path):
    async with Ledger(path).open() as ledger:

        async def steer(mode, until=None):
            await ledger.transact(
                lambda tx: control.steer(tx, mode, reason="r", actor="a", now_us=5, until_us=until)
            )

        await steer(ControlMode.PAUSED, until=10)
        for now, mode in ((9, ControlMode.PAUSED), (10, ControlMode.RUNNING)):
            assert (
                await ledger.transact(lambda tx, n=now: control.read(tx, now_us=n))
            ).mode is mode
        await steer(ControlMode.HALTED)
        await steer(ControlMode.PAUSED)
        assert (
            await ledger.transact(lambda tx: control.read(tx, now_us=1))
        ).mode is ControlMode.HALTED


async def test_locks_hold_until_their_time(path):
    async with Ledger(path).open() as ledger:
        await ledger.transact(
            lambda tx: insert(tx, "lock", {"scope": "leader:w", "until_us": 10, "reason": "loss"})
        )
        assert (
            await ledger.transact(lambda tx: control.locked(tx, ["market:c", "leader:w"], now_us=9))
            == "loss"
        )
        assert await ledger.transact(lambda tx: control.locked(tx, ["leader:w"], now_us=10)) is None


async def test_pruning_never_forgets_what_could_be_seen_again(path):
    day = 86_400

    def fill(tx):
        for i, (traded, decided) in enumerate([(10, 1), (10, 0), (200 * day, 1)]):
            row = {
                "id": i + 1, "tx": f"0x{i}", "wallet": "w", "token": "7", "side": "BUY",
                "condition": "c", "outcome": "o", "title": "t", "shares": 1, "usdc": 1,
                "emitted_shares": 1, "emitted_usdc": 1, "signals": 1, "traded_s": traded,
                "seen_us": 1,
            }  # fmt: skip
            insert(tx, "leader_trade", row)
            signal = {
                "id": f"s{i}", "kind": "increase", "portfolio": "mirror/w", "condition": "c",
                "token": "7", "trade_id": i + 1, "seq": 0, "shares": 1, "usdc": 1,
                "leader_watched": 1, "source": "rtds", "seen_us": 1, "decided": decided,
            }  # fmt: skip
            insert(tx, "signal", signal)

    async with Ledger(path).open() as ledger:
        await ledger.transact(fill)
        assert await ledger.transact(lambda tx: facts.prune(tx, 300 * day)) == 0, (
            "no cursor: anything may come again"
        )
        await ledger.transact(lambda tx: leaders.advance(tx, "data_api", "w", 100 * day, now_us=1))
        # A wish has no trade, and keeps none.
        await ledger.transact(signals.ask, "manual", "c", "7", "close", now_us=1)
        # A quiet leader keeps his own, and nobody else's.
        await ledger.transact(lambda tx: leaders.advance(tx, "data_api", "quiet", 1, now_us=1))
        assert await ledger.transact(lambda tx: facts.prune(tx, 300 * day)) == 1
        left = await ledger.transact(
            lambda tx: one(tx, "SELECT GROUP_CONCAT(id) AS ids FROM leader_trade")
        )
        assert left == {"ids": "2,3"}


def test_a_report_reads_while_another_process_writes(path):
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE control SET reason = 'half done'")
    with report.read(path) as found:
        assert status.status(found).control_reason == "first start"
    with pytest.raises(LedgerError, match="readonly"), report.read(path) as found:
        found.rows("UPDATE control SET mode = 'halted'")
    writer.execute("ROLLBACK")
    writer.close()


async def test_an_order_is_moved_only_from_the_state_it_was_read_in(path):
    read = Order(
        "0x1", None, 1, "mirror/w", "c", "7", Side.BUY, OrderKind.FAK, 500_000, 1, 2, 0, "{}",
        OrderState.POSTING, 1, 2,
    )  # fmt: skip
    async with Ledger(path).open() as ledger:
        await ledger.transact(orders.add, read)
        await ledger.transact(orders.move, read, OrderState.OPEN, now_us=1)
        with pytest.raises(InvariantBroken, match="no longer posting, cannot become rejected"):
            await ledger.transact(orders.move, read, OrderState.REJECTED, now_us=1)
        with pytest.raises(ValueError, match="no edge from filled"):
            await ledger.transact(
                orders.move, replace(read, state=OrderState.FILLED), OrderState.OPEN, now_us=1
            )
        assert (await ledger.look(orders.order, "0x1")).state is OrderState.OPEN


async def test_one_attempt_of_an_intent_is_in_flight(path):
    async with Ledger(path).open() as ledger:
        intent = await ledger.transact(
            intents.add, IntentKind.EXIT, "mirror/w", "c", "7", target=0, price=None,
            signal_id="s", now_us=1,
        )  # fmt: skip
        with pytest.raises(LedgerError, match="UNIQUE"):
            await ledger.transact(
                intents.add, IntentKind.ENTRY, "mirror/w", "c", "7", target=1, price=None,
                signal_id="t", now_us=1,
            )  # fmt: skip
        first = Order(
            "0x1", intent.id, 1, "mirror/w", "c", "7", Side.SELL, OrderKind.FAK, 500_000, 1, 2, 0,
            "{}", OrderState.POSTING, 1, 2,
        )  # fmt: skip
        await ledger.transact(orders.add, first)
        second = replace(first, id="0x2", attempt=2)
        with pytest.raises(LedgerError, match=r"UNIQUE constraint failed: orders\.intent_id$"):
            await ledger.transact(orders.add, second)
        await ledger.transact(orders.move, first, OrderState.CANCELLED, now_us=3)
        with pytest.raises(LedgerError, match=r"orders\.intent_id, orders\.attempt"):
            await ledger.transact(orders.add, replace(first, id="0x2"))
        await ledger.transact(orders.add, second)
