"""Judge other workers.

Who hangs is killed, who has ended is told of, who was given up is tried again.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from bot.config.home import Home
from bot.errors import StateUnknown
from bot.ledger import control
from bot.ledger.db import Ledger, Tx
from bot.supervise import Process, Watch, restart_hung, revive, seen

logger = structlog.get_logger(__name__)
#: supervisord never tries again what it calls FATAL: we do, this often.
REVIVE_S = 60.0
#: Between two looks: supervisord's answer costs both sides some milliseconds.
CHECK_S = 2.5
#: A worker that was seen to be started so often and never began work is told of. Where it takes
#: longer than supervisord's `startsecs` to fail, it is never FATAL.
STARTS = 4
#: Alert key, without the prefix of who tells -> text.
Problems = dict[str, str]


class Watchdog:
    """Looks after `names`.

    `guard` acts, `tell` stores. Apart, because a worker that hangs inside a transaction keeps
    the ledger from everybody else: who must write before he may kill it waits for ever.
    """

    def __init__(self, home: Home, names: tuple[str, ...], *, hung_s: float) -> None:
        self._home = home
        self._watch = Watch(home, names, hung_s)
        self._ready: set[int] = set()  #: pids that have begun work, as the ledger last said
        self._hung: Problems = {}  #: killed since the last telling
        self._ended: Problems = {}  #: not at work, twice in a row
        self._seen_ended: set[str] = set()
        self._starts: dict[str, tuple[int, int]] = {}  #: last pid, pids since it last was at work
        self._revived = time.monotonic()

    async def guard(self) -> None:
        """Kill what hangs and try again what was given up, for as long as there are `names`.

        Needs no ledger.
        """
        while self._watch.names:
            found = [p for p in await seen(self._home) if p.name in self._watch.names]
            for process in await restart_hung(self._watch, found, self._ready):
                text = f"{process.name} did not answer for {self._watch.hung_s:g} s; restarted"
                self._hung[f"hung:{process.name}"] = text
                logger.warning("worker.hung", worker_name=process.name, pid=process.pid)
            ended = [p for p in found if p.state in ("FATAL", "EXITED")]
            # Seen twice: a killed worker is EXITED for the moment before it is started again.
            self._ended = self._never_at_work(found) | {
                f"ended:{p.name}": _ended(p) for p in ended if p.name in self._seen_ended
            }
            self._seen_ended = {p.name for p in ended}
            await self._revive([p for p in ended if p.state == "FATAL"])
            await asyncio.sleep(CHECK_S)

    async def tell(
        self, ledger: Ledger, now_us: int, prefix: str, more: Callable[[Tx], Problems]
    ) -> None:
        """Raise an alert for every problem and clear those that are gone.

        Their keys begin with `prefix`, which no other watchdog uses. `more` finds problems that
        only the ledger knows.
        """
        self._ready = await ledger.look(control.at_work)
        hung = dict(self._hung)

        def store(tx: Tx) -> None:
            found = {**hung, **self._ended, **more(tx)}
            standing = {f"{prefix}{key}": text for key, text in found.items()}
            for key, text in standing.items():
                if control.alert(tx, key, "critical", text, now_us=now_us):
                    logger.error("alert", alert=key, text=text)
            control.clear_alerts(tx, set(standing), prefix, now_us=now_us)

        await ledger.transact(store)
        for key in hung:
            self._hung.pop(key, None)

    def _never_at_work(self, found: list[Process]) -> Problems:
        for process in found:
            pid, starts = self._starts.get(process.name, (0, 0))
            if process.pid in self._ready:
                self._starts[process.name] = process.pid, 0
            elif process.pid not in (0, pid):
                self._starts[process.name] = process.pid, starts + 1
        return {
            f"ended:{name}": f"{name} was started {starts} times and never began work;"
            f" botctl logs {name} shows why"
            for name, (_, starts) in self._starts.items()
            if starts >= STARTS
        }

    async def _revive(self, fatal: list[Process]) -> None:
        if time.monotonic() - self._revived < REVIVE_S:
            return
        self._revived = time.monotonic()
        for process in fatal:
            try:
                await asyncio.to_thread(revive, self._home, process.name)
            except StateUnknown as error:
                logger.warning("revive.refused", worker_name=process.name, error=str(error))


def _ended(process: Process) -> str:
    if process.state == "FATAL":
        return (
            f"{process.name} is FATAL: it ended too often; tried again every {REVIVE_S:.0f} s,"
            " botctl logs shows why"
        )
    return (
        f"{process.name} has ended with exit code {process.exit_code};"
        f" botctl logs {process.name} shows why"
    )
