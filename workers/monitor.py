"""monitor: see leaders' trades, store them, announce them. It holds no secret."""

import asyncio
import sys

from bot.detect.assemble import Outside, Tells, Watch
from bot.ledger import roster
from bot.model.units import MICRO
from bot.queue import Sender, SignalSeen, Warm
from bot.runtime import Boot, now_us, run, until_stopped
from bot.watchdog import CHECK_S


async def monitor(boot: Boot) -> None:
    """Watch every leader through every source until stopped."""
    settings = boot.settings
    wallets = [(leader.wallet, leader.label) for leader in settings.leaders]
    while not await boot.ledger.transact(roster.follow, wallets, now_s=now_us() // MICRO):
        continue
    sender, outside = Sender(boot.home.socket("executor")), Outside.of(settings)
    tells = Tells(
        lambda signal: sender.put(SignalSeen(signal.id, signal.purchase)),
        lambda fill: sender.put(Warm(fill.condition, fill.token)),
        # The executor looks at its rows whenever it is woken: which message wakes it is all one.
        lambda condition: sender.put(SignalSeen(condition)),
    )
    watch = Watch(boot.ledger, settings, outside, tells, now_us, boot_id=boot.id)
    tasks = await watch.tasks()
    if watch.hook is not None and settings.detect.hook_port is not None:
        from bot.web.hook import serve  # a server costs memory: only who uses it pays

        tasks.append(serve(watch.hook, settings.detect.hook_host, settings.detect.hook_port))
    boot.detail = lambda: {**watch.detail(), "queue": sender.waiting}
    boot.progressed = watch.progressed
    await boot.ready()
    try:
        await until_stopped(boot, sender.run(), _watch_health(boot), *tasks)
    finally:
        await outside.close()


async def _watch_health(boot: Boot) -> None:
    # health judges the others; without this nobody would judge health.
    while True:
        await boot.watchdog.tell(boot.ledger, now_us(), "health:", lambda _: {})
        await asyncio.sleep(CHECK_S)


if __name__ == "__main__":
    sys.exit(run("monitor", monitor, watches=("health",)))
