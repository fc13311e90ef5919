"""Open the ledger, and own every transaction.

All dialect-specific lines of the program are here: pragmas, BEGIN, savepoints, the upsert form and
the translation of driver errors. A verb is a plain function `def verb(tx, ...)`. A transaction runs
whole, on the event loop where nobody else has the lock and the disk is quick, else on the
connection's own thread: two hops to a thread and back take a millisecond while everybody is at
work, and statement by statement through aiosqlite fifteen took 2.3 ms instead of 0.26. The schema
is declared once, in `tables`; only migrations load it.
"""

import asyncio
import contextvars
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from bot.errors import ConfigError, SchemaMismatch
from bot.ledger.connection import BUSY_TIMEOUT, Connection, Elsewhere, Threaded, hastily
from bot.ledger.refusal import refused

Tx = sqlite3.Connection  #: a connection with an open transaction, on its own thread
T = TypeVar("T")
P = ParamSpec("P")
#: The one revision this code understands; a test holds it against the newest migration.
SCHEMA = "0010"
#: The WAL-reset bug (see bot/__init__.py) was fixed in this version.
SAFE_SQLITE = (3, 51, 3)
#: A transaction takes no further item once it has written so many rows: beside batches of 2,000
#: rows a small commit's p99 goes from 3 to 36 ms.
GROUP_ROWS = 200
#: Rows of values in one statement.
VALUES = 200
#: A lock that somebody has is asked for again so soon, and so often.
RETRY_S, TRIES = 0.0005, 20

PRAGMAS = (
    BUSY_TIMEOUT,
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA journal_size_limit = 16777216",
)


@dataclass(frozen=True, slots=True)
class _Item:
    """One caller's work, waiting for its turn."""

    work: Callable[[Tx], Any]
    context: contextvars.Context
    done: "asyncio.Future[Any]"

    def run(self, tx: Tx) -> Any:
        return self.context.run(self.work, tx)


class Ledger:
    """One process's connection to the ledger file.

    `transact` is the only way to write, `look` reads what decides nothing. What waits while a
    commit is on its way shares the next one. Between processes BEGIN IMMEDIATE and the busy
    timeout keep order.
    """

    def __init__(
        self, path: Path, *, connect: Callable[[str], Awaitable[Connection]] = Threaded.connect
    ) -> None:
        self.path, self._connect = path, connect
        self._waiting: deque[_Item] = deque()
        self._flushing, self._tries = False, 0
        self._writer: asyncio.Task[None] | None = None
        self._connection: Connection | None = None

    async def transact(
        self, work: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(tx, ...)` inside a BEGIN IMMEDIATE transaction and return its result.

        When this returns, the commit is on disk (synchronous=FULL). Work that raises is undone
        alone; what shares its transaction is kept. If the caller is cancelled the work still runs
        to its end: a cancelled commit would leave the caller not knowing. Raises LedgerError if
        SQLite refuses; then nothing of it was written.
        """
        done = asyncio.get_running_loop().create_future()
        # Nobody is left to hear of it where the caller was cancelled.
        done.add_done_callback(lambda found: found.cancelled() or found.exception())
        self._waiting.append(
            _Item(lambda tx: work(tx, *args, **kwargs), contextvars.copy_context(), done)
        )
        if not self._flushing:
            self._flushing = True
            # What is asked for in the same turn of the loop shares one commit.
            asyncio.get_running_loop().call_soon(self._flush)
        found: T = await asyncio.shield(done)
        return found

    async def look(
        self, work: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(tx, ...)` on a snapshot, without the write lock, and return its result."""
        assert self._connection is not None, "the ledger is not open"

        def read(db: Tx) -> T:
            return _snapshot(db, partial(work, db, *args, **kwargs))

        try:
            with suppress(Elsewhere):
                return self._connection.at_once(partial(hastily, work=read))
            return await self._connection.run(read)
        except sqlite3.Error as error:
            raise refused(self.path, error) from error

    def _flush(self) -> None:
        """Commit what waits, here and now; where that would wait for somebody, on the thread."""
        assert self._connection is not None, "the ledger is not open"
        self._flushing = False
        if self._writing():
            return  # it takes what waits when it is back
        while self._waiting:
            group = list(self._waiting)
            try:
                ends = self._connection.at_once(
                    partial(hastily, work=partial(_commit, items=group))
                )
            except Elsewhere as error:
                self._later(error)
                return
            except BaseException as error:
                ends = [error] * len(group)
            self._tries = 0
            self._end(group, ends)

    def _writing(self) -> bool:
        return self._writer is not None and not self._writer.done()

    def _later(self, why: Elsewhere) -> None:
        """Try again in a moment where somebody has the lock: SQLite itself would sleep for ten
        times as long as they need. Who needs longer is waited for on the thread.
        """
        if why.locked and self._tries < TRIES:
            self._tries, self._flushing = self._tries + 1, True
            asyncio.get_running_loop().call_later(RETRY_S, self._flush)
            return
        self._tries = 0
        self._writer = asyncio.create_task(self._write(), name="ledger.write")

    async def _write(self) -> None:
        assert self._connection is not None, "the ledger is not open"
        while self._waiting:
            group = list(self._waiting)
            try:
                ends = await self._connection.run(partial(_commit, items=group))
            except asyncio.CancelledError:
                for item in group:
                    self._waiting.popleft()
                    item.done.cancel()
                raise
            except BaseException as error:
                ends = [error] * len(group)
            self._end(group, ends)

    def _end(self, group: list[_Item], ends: list[Any]) -> None:
        # What came after the row limit has not been run: it is first in the next one. What came
        # meanwhile is behind it.
        for item, end in zip(group, ends, strict=False):
            self._waiting.popleft()
            self._settle(item, end)

    def _settle(self, item: _Item, end: Any) -> None:
        if item.done.done():
            return
        if isinstance(end, sqlite3.Error):
            reason = refused(self.path, end)
            reason.__cause__ = end
            item.done.set_exception(reason)
        elif isinstance(end, BaseException):
            item.done.set_exception(end)
        else:
            item.done.set_result(end.value)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Ledger"]:
        """Connect and check the version on entry; close on exit, whatever happens.

        aiosqlite keeps a process alive while a connection is open, so this is the only way in.
        """
        if sqlite3.sqlite_version_info < SAFE_SQLITE:
            raise ConfigError(
                f"SQLite {sqlite3.sqlite_version} may lose commits;"
                " install pysqlite3 0.6.1 or later"
            )
        try:
            self._connection = await self._connect(f"{self.path.absolute().as_uri()}?mode=rw")
        except sqlite3.Error as error:
            raise refused(self.path, error) from None
        try:
            await self._prepare(self._connection)
            await self.transact(_check)
            yield self
        finally:
            # Callers that were cancelled have left work behind, which runs to its end.
            if self._waiting and not self._writing():
                self._writer = asyncio.create_task(self._write(), name="ledger.write")
            if self._writer is not None and self._writing():
                await asyncio.wait({self._writer}, timeout=30)
            await self._connection.close()

    async def _prepare(self, connection: Connection) -> None:
        try:
            await connection.run(_pragmas)
        except sqlite3.Error as error:
            raise refused(self.path, error) from None


@dataclass(frozen=True, slots=True)
class _Kept:
    """The result of work that was committed."""

    value: Any


def _commit(db: Tx, items: Sequence[_Item]) -> list[_Kept | BaseException]:
    """Run items in one transaction until it is full; return how each that was run has ended."""
    db.execute("BEGIN IMMEDIATE")
    before = db.total_changes
    ends: list[_Kept | BaseException] = []
    try:
        if len(items) == 1:
            ends = [_Kept(items[0].run(db))]
        for item in items if len(items) > 1 else ():
            ends.append(_apart(db, item))
            if db.total_changes - before >= GROUP_ROWS:
                break
        db.execute("COMMIT")
    except BaseException:
        # Disk full has rolled back by itself; a second ROLLBACK would be an error.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return ends


def _apart(db: Tx, item: _Item) -> _Kept | BaseException:
    """Run one item in its own savepoint: one that raises takes no neighbour with it."""
    db.execute("SAVEPOINT item")
    try:
        found = _Kept(item.run(db))
    except BaseException as error:
        if not db.in_transaction:
            raise  # the whole transaction is gone: disk full, say
        db.execute("ROLLBACK TO item")
        db.execute("RELEASE item")
        return error
    db.execute("RELEASE item")
    return found


def _snapshot(db: Tx, work: Callable[[], T]) -> T:
    db.execute("BEGIN")
    try:
        return work()
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _pragmas(db: Tx) -> None:
    for pragma in PRAGMAS:
        db.execute(pragma)


def _check(tx: Tx) -> None:
    found = scalar(tx, "SELECT version_num FROM alembic_version")
    if found != SCHEMA:
        raise SchemaMismatch(
            f"ledger: schema {found}, this version needs {SCHEMA}; run botctl up to migrate it"
        )


def run(tx: Tx, sql: str, /, **values: Any) -> int:
    """Execute one statement and return the number of rows it changed."""
    return tx.execute(sql, values).rowcount


def insert(tx: Tx, table: str, values: Mapping[str, Any], *, ignore: bool = False) -> int:
    """Insert one row and return 1, or 0 where `ignore` is set and its key exists."""
    tail = " ON CONFLICT DO NOTHING" if ignore else ""
    return run(tx, _insert(table, tuple(values)) + tail, **values)


def insert_all(tx: Tx, table: str, values: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of the same columns."""
    if values:
        tx.executemany(_insert(table, tuple(values[0])), values)


def added(
    tx: Tx, table: str, values: Sequence[Mapping[str, Any]], returning: str = "*"
) -> list[dict[str, Any]]:
    """Insert rows of the same columns; return columns of them as they stand, in no order."""
    if not values:
        return []
    head = f"INSERT INTO {table} ({', '.join(values[0])})"
    return _together(tx, head, [tuple(row.values()) for row in values], f"RETURNING {returning}")


def upsert(tx: Tx, table: str, keys: Sequence[str], values: Mapping[str, Any]) -> None:
    """Insert one row, or overwrite the row with the same `keys`."""
    columns = tuple(values)
    run(tx, _insert(table, columns) + _overwrite(tuple(keys), columns), **values)


def upsert_all(
    tx: Tx, table: str, keys: Sequence[str], values: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows of the same columns, or overwrite the rows with the same `keys`."""
    if values:
        columns = tuple(values[0])
        tx.executemany(_insert(table, columns) + _overwrite(tuple(keys), columns), values)


@lru_cache
def _insert(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"


@lru_cache
def _overwrite(keys: tuple[str, ...], columns: tuple[str, ...]) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    return f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"


def rows(tx: Tx, sql: str, /, **values: Any) -> list[dict[str, Any]]:
    """Return every row of a query as a dictionary."""
    return _named(tx.execute(sql, values))


def _named(cursor: Any) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def among(
    tx: Tx, sql: str, columns: str, wanted: Sequence[tuple[Any, ...]]
) -> list[dict[str, Any]]:
    """Return every row of a query that joins the table `wanted`, whose `columns` are told.

    Joined, each is looked up by its index; a list after IN is read against a whole table by some
    versions of SQLite.
    """
    return _together(tx, f"WITH wanted ({columns}) AS (", wanted, f") {sql}")


def _together(
    tx: Tx, head: str, values: Sequence[tuple[Any, ...]], tail: str
) -> list[dict[str, Any]]:
    """Return the rows of a statement with many VALUES: so many of them at once."""
    found: list[dict[str, Any]] = []
    for first in range(0, len(values), VALUES):
        some = values[first : first + VALUES]
        marks = f"({', '.join('?' * len(some[0]))})"
        sql = f"{head} VALUES {', '.join([marks] * len(some))} {tail}"
        cursor = tx.execute(sql, [value for row in some for value in row])
        found += _named(cursor)
    return found


def one(tx: Tx, sql: str, /, **values: Any) -> dict[str, Any] | None:
    """Return the first row of a query as a dictionary, or None."""
    found = rows(tx, sql, **values)
    return found[0] if found else None


def scalar(tx: Tx, sql: str, /, **values: Any) -> Any:
    """Return the first column of the first row, or None."""
    row = tx.execute(sql, values).fetchone()
    return row[0] if row else None
