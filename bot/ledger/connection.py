"""A connection to the ledger and the thread it lives on.

Work runs here and now, on the event loop, where nobody else has the lock and the disk is quick;
else on the thread: there and back costs half a millisecond while everybody is at work.
"""

import sqlite3
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import aiosqlite

T = TypeVar("T")
BUSY_TIMEOUT = "PRAGMA busy_timeout = 10000"
#: Every statement of a worker stays prepared: there are some 110 in the executor, and variants by
#: how many values they name; the driver would keep 128.
STATEMENTS = 256
#: A disk that lets the event loop wait for longer than this, so often in a row, has its commits
#: made beside it for a while.
SLOW_S, SLOW_TIMES, SLOW_FOR_S = 0.02, 3, 60.0


class Connection(Protocol):
    """One open database and the thread it lives on."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` with the raw connection, whole, and return its result."""
        ...

    def at_once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` here and now; raises Elsewhere if the connection is at work for others."""
        ...

    async def close(self) -> None:
        """Close; safe to call twice."""
        ...


class Elsewhere(Exception):
    """The connection is at work on its own thread, or should be; `locked`: others have the lock."""

    def __init__(self, *, locked: bool = False) -> None:
        super().__init__()
        self.locked = locked


class Threaded:
    """aiosqlite's connection and thread. The only place that touches its private call."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._given = self._ended = 0  #: works of the thread; each is written by one side alone
        self._slow, self._slow_until = 0, 0.0  #: slow works in a row, and what follows from them

    @classmethod
    async def connect(cls, uri: str) -> "Threaded":
        """Open a database by its URI."""
        # The driver's own BEGIN is off: it comes after the first SELECT, and two processes would
        # then write what they read before each other's commit.
        return cls(
            await aiosqlite.connect(
                uri,
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=STATEMENTS,
            )
        )

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection's thread."""

        def counted() -> T:
            # Also where the caller was cancelled: the thread is free when it says so.
            try:
                return work(self._connection._conn)
            finally:
                self._ended += 1

        self._given += 1
        found: T = await self._connection._execute(counted)  # type: ignore[no-untyped-call]
        return found

    def at_once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` here and now; raises Elsewhere if the thread is at work or the disk slow."""
        began = time.monotonic()
        if self._given != self._ended or began < self._slow_until:
            raise Elsewhere
        found = work(self._connection._conn)
        now = time.monotonic()
        self._slow = self._slow + 1 if now - began > SLOW_S else 0
        if self._slow >= SLOW_TIMES:
            self._slow, self._slow_until = 0, now + SLOW_FOR_S
        return found

    async def close(self) -> None:
        """Close and end the thread; nothing runs at once from here on."""
        self._given += 1  # closed on its thread: SQLite falls over whoever uses it meanwhile
        await self._connection.close()


def hastily(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run work without waiting for anybody's lock; raises Elsewhere where it would have to."""
    db.execute("PRAGMA busy_timeout = 0")
    try:
        return work(db)
    except sqlite3.OperationalError as error:
        if str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_BUSY"):
            raise Elsewhere(locked=True) from None
        raise
    finally:
        db.execute(BUSY_TIMEOUT)
