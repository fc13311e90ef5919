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
from bot.queue import Ping, ask
from bot.runtime import Boot, now_us, run, until_stopped
from bot.supervise import processes, restart
from bot.units import MICRO

logger = structlog.get_logger(__name__)
CHECK_S = 2.0
PRUNE_S = 3600.0
UNKNOWN_ALERT_US = 60 * MICRO
#: DETECTION 6: without an authoritative source for this long something is wrong.
STALLED_S = 15


async def health(boot: Boot) -> None:
    """Look at everything every two seconds until stopped."""
    await boot.ready()
    await until_stopped(boot, _watch(boot), _prune(boot))


async def _watch(boot: Boot) -> None:
    answered = {name: time.monotonic() for name in WORKERS if name != boot.worker}
    while True:
        for name in answered:
            if await ask(boot.home.socket(name), Ping(), timeout_s=CHECK_S):
                answered[name] = time.monotonic()
        hung = [n for n, at in answered.items() if time.monotonic() - at > boot.settings.runtime.hung_s]
        await _judge(boot, hung, answered)
        boot.progress_us = now_us()
        await asyncio.sleep(CHECK_S)


async def _judge(boot: Boot, hung: list[str], answered: dict[str, float]) -> None:
    problems: dict[str, str] = {}
    try:
        states = {p.name: p for p in await asyncio.to_thread(processes, boot.home)}
    except StateUnknown:
        # Run as plain systemd units: systemd's own watchdog restarts what hangs.
        states = {}
    for name, process in states.items():
        if process.state == "FATAL":
            problems[f"worker:fatal:{name}"] = f"{name} is FATAL: supervisord has given up on it"
        if name in hung and process.state == "RUNNING":
            problems[f"worker:hung:{name}"] = f"{name} did not answer for {boot.settings.runtime.hung_s} s; restarted"
            logger.error("worker.hung", hung=name, pid=process.pid)
            with suppress(StateUnknown):  # it ended by itself meanwhile
                await asyncio.to_thread(restart, boot.home, name)
            answered[name] = time.monotonic()
    at = now_us()

    async def store(tx: Tx) -> None:
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

    await boot.ledger.transact(store)


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
