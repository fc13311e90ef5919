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
#: Alert key -> text.
Problems = dict[str, str]


class Watchdog:
    """Looks after `names`; its alerts begin with `prefix`, which no other watchdog uses."""

    def __init__(
        self, ledger: Ledger, home: Home, names: tuple[str, ...], *, hung_s: float, prefix: str
    ) -> None:
        self._ledger, self._home, self._prefix = ledger, home, prefix
        self._watch = Watch(home, names, hung_s)
        self._ended: set[str] = set()
        self._revived = time.monotonic()

    async def look(self, now_us: int, more: Callable[[Tx], Problems] | None = None) -> None:
        """Look once: restart, revive, and tell.

        Raise an alert for every problem and clear those that are gone.
        """
        found = [p for p in await seen(self._home) if p.name in self._watch.names]
        hung = await restart_hung(self._watch, found, await self._ledger.look(control.at_work))
        ended = [p for p in found if p.state in ("FATAL", "EXITED")]
        problems = {f"{self._prefix}hung:{p.name}": self._hung(p) for p in hung}
        # Seen twice: a killed worker is EXITED for the moment before it is started again.
        problems |= {
            f"{self._prefix}ended:{p.name}": _ended(p) for p in ended if p.name in self._ended
        }
        self._ended = {p.name for p in ended}
        await self._revive([p for p in ended if p.state == "FATAL"])

        def store(tx: Tx) -> None:
            standing = problems | (more(tx) if more else {})
            for key, text in standing.items():
                if control.alert(tx, key, "critical", text, now_us=now_us):
                    logger.error("alert", alert=key, text=text)
            control.clear_alerts(tx, set(standing), self._prefix, now_us=now_us)

        await self._ledger.transact(store)

    async def _revive(self, fatal: list[Process]) -> None:
        if time.monotonic() - self._revived < REVIVE_S:
            return
        self._revived = time.monotonic()
        for process in fatal:
            try:
                await asyncio.to_thread(revive, self._home, process.name)
            except StateUnknown as error:
                logger.warning("revive.refused", worker_name=process.name, error=str(error))

    def _hung(self, process: Process) -> str:
        return f"{process.name} did not answer for {self._watch.hung_s:g} s; restarted"


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
