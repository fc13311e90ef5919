"""Virtual time: an event loop whose clock jumps to the next timer, and SQLite without a thread.

Code that waits with asyncio runs in it unchanged and deterministically, a thousand times faster
than the clock on the wall.
"""

import asyncio
import selectors
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Skipping(selectors.SelectSelector):
    """Never waits: the time it was to wait has passed already."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError(
                "virtual time stands still: everything waits and nothing is scheduled"
            )
        self.passed += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that lives in virtual seconds."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Return virtual seconds since the loop was made.

        They are small, so that microseconds are not lost in a float.
        """
        return self._skipping.passed

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run it here and now: a thread would end at a moment of the machine's own, and the same
        seed would tell another story on a busy one.
        """
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


class Inline:
    """A ledger's connection without a thread: work runs at once, in the caller's."""

    def __init__(self, uri: str) -> None:
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` with the connection."""
        return self.at_once(work)

    def at_once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` with the connection."""
        return work(self._db)

    async def close(self) -> None:
        """Close; safe to call twice."""
        self._db.close()

    def cut(self) -> None:
        """Lose the connection and what it has not committed, in the middle of anything."""
        self._db.close()
