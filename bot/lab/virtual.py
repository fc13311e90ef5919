"""Virtual time: an event loop whose clock jumps to the next timer, and SQLite without a thread.

Code that waits with asyncio runs in it unchanged and deterministically, a thousand times faster
than the clock on the wall.
"""

import asyncio
import selectors
import sqlite3
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class _Skipping(selectors.SelectSelector):
    """Never waits: the time it was to wait has passed already."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("virtual time stands still: everything waits and nothing is scheduled")
        self.passed += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that lives in virtual seconds."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Return virtual seconds since the loop was made: small, so that microseconds are not lost in a float."""
        return self._skipping.passed


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


class Cursor:
    """Rows of a statement that has run."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.rowcount, self.description = cursor.rowcount, cursor.description

    async def fetchall(self) -> list[Any]:
        """Return every row."""
        return self._cursor.fetchall()


class Inline:
    """A connection with the ledger's asynchronous face that runs each statement at once."""

    def __init__(self, uri: str) -> None:
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None)

    @property
    def in_transaction(self) -> bool:
        """Return whether a transaction is open."""
        return self._db.in_transaction

    async def execute(self, sql: str, values: Any = ()) -> Cursor:
        """Run one statement."""
        return Cursor(self._db.execute(sql, values))

    async def execute_fetchall(self, sql: str, values: Any = ()) -> Iterable[Any]:
        """Run one statement and return its rows."""
        return self._db.execute(sql, values).fetchall()

    async def close(self) -> None:
        """Close; safe to call twice."""
        self._db.close()

    def cut(self) -> None:
        """Lose the connection and what it has not committed, in the middle of anything."""
        self._db.close()
