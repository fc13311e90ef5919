"""health: judge the others, restart what hangs, alert, prune. It trades nothing and holds no key."""

import asyncio
import sys
import time
from contextlib import suppress
from functools import partial

import structlog

from bot.errors import StateUnknown
from bot.home import WORKERS
from bot.ledger import control, leaders
from bot.ledger.db import Tx, rows, scalar
from bot.runtime import Boot, now_us, run, until_stopped
from bot.supervise import Process, Watch, restart_hung, revive, seen
from bot.units import MICRO

logger = structlog.get_logger(__name__)
CHECK_S = 1.0
PRUNE_S = 3600.0
#: supervisord never tries again what it calls FATAL: we do, this often.
REVIVE_S = 60.0
UNKNOWN_ALERT_US = 60 * MICRO
#: DETECTION 6: without an authoritative source for this long something is wrong.
STALLED_S = 15


async def health(boot: Boot) -> None:
    """Look at everything every second until stopped."""
    await boot.ready()
    await until_stopped(boot, _watch(boot), _prune(boot))


async def _watch(boot: Boot) -> None:
    watch = Watch(boot.home, tuple(n for n in WORKERS if n != boot.worker), boot.settings.runtime.hung_s)
    revived, before = time.monotonic(), set[str]()
    while True:
        found = await seen(boot.home)
        hung = await restart_hung(watch, found)
        problems = {f"worker:hung:{p.name}": f"{p.name} did not answer for {watch.hung_s:g} s; restarted" for p in hung}
        given_up = [p for p in found if p.state in ("FATAL", "EXITED")]
        # Seen twice: a killed worker is EXITED for the moment before it is started again.
        problems |= {f"worker:ended:{p.name}": _why(p) for p in given_up if p.name in before}
        before = {p.name for p in given_up}
        if time.monotonic() - revived > REVIVE_S:
            revived = time.monotonic()
            for process in given_up:
                if process.state == "FATAL":
                    with suppress(StateUnknown):
                        await asyncio.to_thread(revive, boot.home, process.name)
        await boot.ledger.transact(partial(_judge, problems=problems, at=now_us()))
        boot.progress_us = now_us()
        await asyncio.sleep(CHECK_S)


def _why(process: Process) -> str:
    if process.state == "FATAL":
        return f"{process.name} is FATAL: it ended too often; tried again every {REVIVE_S:.0f} s, botctl logs shows why"
    return f"{process.name} has ended with exit code {process.exit_code}; botctl logs {process.name} shows why"


async def _judge(tx: Tx, problems: dict[str, str], at: int) -> None:
    """Raise an alert for every problem that is there, and clear those that are gone."""
    old = await scalar(
        tx, "SELECT COUNT(*) FROM orders WHERE state = 'unknown' AND sent_us < :limit", limit=at - UNKNOWN_ALERT_US
    )
    for name in await _stalled(tx, at):
        text = f"{name} lives but got no work done for {STALLED_S} s; are its sources or the exchange away?"
        problems[f"worker:stalled:{name}"] = text
    if old:
        problems["worker:orders_unknown"] = f"{old} orders without a proven outcome for a minute"
    for key, text in problems.items():
        if await control.alert(tx, key, "critical", text, now_us=at):
            logger.error("alert", alert=key, text=text)
    await control.clear_alerts(tx, set(problems), "worker:", now_us=at)


async def _stalled(tx: Tx, now_us: int) -> list[str]:
    """Return workers whose loop turns while no work gets done."""
    found = await rows(
        tx,
        "SELECT worker FROM boot b WHERE ended_us IS NULL AND id = (SELECT MAX(id) FROM boot WHERE worker = b.worker)"
        " AND started_us < :limit AND COALESCE(progress_us, 0) < :limit",
        limit=now_us - STALLED_S * MICRO,
    )
    return [row["worker"] for row in found]


async def _prune(boot: Boot) -> None:
    while True:
        before = now_us() // MICRO - boot.settings.runtime.keep_days * 86_400
        gone = await boot.ledger.transact(partial(leaders.prune, before_s=before))
        if gone:
            logger.info("ledger.pruned", leader_trades=gone)
        await asyncio.sleep(PRUNE_S)


if __name__ == "__main__":
    sys.exit(run("health", health))
