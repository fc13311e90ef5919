"""Open the ledger, and own every transaction.

All dialect-specific lines of the program are here: pragmas, BEGIN, the upsert form and the
translation of driver errors. Statements go straight to aiosqlite, in one thread hop each:
through SQLAlchemy's async layer each took 0.35 ms instead of 0.07, and every worker paid 50 MB.
The schema is still declared once, in `tables`, and only migrations load it.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from bot.errors import ConfigError, LedgerAway, LedgerDamaged, LedgerError, SchemaMismatch

Tx = aiosqlite.Connection  #: a connection with an open transaction
T = TypeVar("T")
#: The one revision this code understands; a test holds it against the newest migration.
SCHEMA = "0001"
#: The WAL-reset bug (see bot/__init__.py) was fixed in this version.
SAFE_SQLITE = (3, 51, 3)

PRAGMAS = (
    "PRAGMA busy_timeout = 10000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA journal_size_limit = 16777216",
)


class Ledger:
    """One process's connection to the ledger file.

    `transact` is the only way to write. Work of one process is serialised by a lock; between
    processes BEGIN IMMEDIATE and the busy timeout do it.
    """

    def __init__(self, path: Path, *, connect: Callable[[str], Awaitable[Any]] | None = None) -> None:
        self.path, self._connect = path, connect or _connect
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._connection: aiosqlite.Connection | None = None

    async def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work` inside one BEGIN IMMEDIATE transaction and return its result.

        When this returns, the commit is on disk (synchronous=FULL). If the caller is cancelled
        the transaction still runs to its end: a cancelled commit would leave the caller not
        knowing. Raises LedgerError if SQLite refuses; then nothing of it was written.
        """
        task = asyncio.ensure_future(self._transact(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        tx = self._connection
        assert tx is not None, "the ledger is not open"
        async with self._lock:
            try:
                await tx.execute("BEGIN IMMEDIATE")
                try:
                    result = await work(tx)
                    await tx.execute("COMMIT")
                except BaseException:
                    # Disk full has rolled back by itself; a second ROLLBACK would be an error.
                    if tx.in_transaction:
                        await tx.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise refused(self.path, error) from error
            return result

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Ledger"]:
        """Connect and check the version on entry; close on exit, whatever happens.

        aiosqlite keeps a process alive while a connection is open, so this is the only way in.
        """
        if sqlite3.sqlite_version_info < SAFE_SQLITE:
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} may lose commits; install pysqlite3 0.6.1 or later")
        try:
            self._connection = await self._connect(f"{self.path.absolute().as_uri()}?mode=rw")
        except sqlite3.Error as error:
            raise refused(self.path, error) from None
        try:
            await self._prepare(self._connection)
            await self.transact(_check)
            yield self
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=30)
            await self._connection.close()

    async def _prepare(self, connection: aiosqlite.Connection) -> None:
        try:
            for pragma in PRAGMAS:
                await connection.execute(pragma)
        except sqlite3.Error as error:
            raise refused(self.path, error) from None


async def _connect(uri: str) -> aiosqlite.Connection:
    # The driver's own BEGIN is off: it comes after the first SELECT, and two processes would then
    # write what they read before each other's commit.
    return await aiosqlite.connect(uri, uri=True, isolation_level=None)


async def _check(tx: Tx) -> None:
    found = await scalar(tx, "SELECT version_num FROM alembic_version")
    if found != SCHEMA:
        raise SchemaMismatch(f"ledger: schema {found}, this version needs {SCHEMA}; run botctl up to migrate it")


_AWAY = frozenset({"BUSY", "LOCKED", "FULL", "READONLY", "IOERR", "CANTOPEN"})
_DAMAGED = frozenset({"CORRUPT", "NOTADB"})
#: Part of SQLite's message, and the fix.
_FIXES = (
    ("not a database", "not a ledger; move it away, or restore a backup with botctl db restore"),
    ("malformed", "corrupt; restore a backup with botctl db restore"),
    ("unable to open", "cannot be opened; check path and permissions, and that the disk is not read-only"),
    ("readonly", "read-only; make it and its folder writable for this user"),
    ("locked", "locked by another program; open it read-only elsewhere"),
    ("is full", "disk is full; free some space, work resumes by itself"),
    ("disk I/O", "the disk refuses; check its space, limits and health, work resumes by itself"),
)


def refused(path: Path, error: BaseException) -> LedgerError:
    """Return what an error of SQLite means for a ledger, with the fix.

    LedgerAway where trying again later may help, LedgerDamaged where only a backup does.
    """
    cause = getattr(error, "orig", None) or error
    kind = str(getattr(cause, "sqlite_errorname", "")).removeprefix("SQLITE_").split("_")[0]
    message = str(cause)
    text = next((f"{message}: {fix}" for part, fix in _FIXES if part in message), message)
    family = LedgerAway if kind in _AWAY else LedgerDamaged if kind in _DAMAGED else LedgerError
    return family(f"ledger {path}: {text}")


async def run(tx: Tx, sql: str, /, **values: Any) -> int:
    """Execute one statement and return the number of rows it changed."""
    return (await tx.execute(sql, values)).rowcount


async def insert(tx: Tx, table: str, values: Mapping[str, Any], *, ignore: bool = False) -> int:
    """Insert one row and return 1, or 0 where `ignore` is set and its key exists."""
    columns, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
    tail = " ON CONFLICT DO NOTHING" if ignore else ""
    return await run(tx, f"INSERT INTO {table} ({columns}) VALUES ({marks}){tail}", **values)


async def upsert(tx: Tx, table: str, keys: Sequence[str], values: Mapping[str, Any]) -> None:
    """Insert one row, or overwrite the row with the same `keys`."""
    columns, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
    changes = ", ".join(f"{name} = excluded.{name}" for name in values if name not in keys)
    conflict = f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    await run(tx, f"INSERT INTO {table} ({columns}) VALUES ({marks}) {conflict}", **values)


async def rows(tx: Tx, sql: str, /, **values: Any) -> list[dict[str, Any]]:
    """Return every row of a query as a dictionary."""
    cursor = await tx.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


async def one(tx: Tx, sql: str, /, **values: Any) -> dict[str, Any] | None:
    """Return the first row of a query as a dictionary, or None."""
    found = await rows(tx, sql, **values)
    return found[0] if found else None


async def scalar(tx: Tx, sql: str, /, **values: Any) -> Any:
    """Return the first column of the first row, or None."""
    found = list(await tx.execute_fetchall(sql, values))
    return found[0][0] if found else None


__all__ = [
    "PRAGMAS",
    "SCHEMA",
    "Ledger",
    "Tx",
    "insert",
    "one",
    "refused",
    "rows",
    "run",
    "scalar",
    "upsert",
]
