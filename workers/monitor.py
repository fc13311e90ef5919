"""monitor: see leaders' trades, store them, announce them. It holds no secret."""

import asyncio
import json
import sys
import time

from bot.detect.activity import Activity
from bot.detect.intake import Intake
from bot.detect.rtds import Rtds
from bot.ledger import leaders
from bot.polymarket.data_api import DataApi
from bot.polymarket.transport import Transport
from bot.queue import Sender, SignalSeen
from bot.runtime import Boot, now_us, run, until_stopped
from bot.units import MICRO

#: Well below the Data API's published limits.
DATA_REQUESTS_PER_S = 10


async def monitor(boot: Boot) -> None:
    """Watch every leader through every source until stopped."""
    settings, ledger = boot.settings, boot.ledger
    wallets = [(leader.wallet, leader.label) for leader in settings.leaders]
    await ledger.transact(lambda tx: leaders.follow(tx, wallets, now_s=now_us() // MICRO))
    sender = Sender(boot.home.socket("executor"))
    intake = Intake(ledger, lambda signal: sender.put(SignalSeen(signal)), now_us)
    followed = await intake.load()
    transport = Transport(
        settings.venue.data_url, timeout_s=settings.execution.timeout_s, requests_per_s=DATA_REQUESTS_PER_S
    )
    activity = Activity(DataApi(transport), ledger, intake, settings.detect, now_us)
    rtds = Rtds(
        settings.venue.rtds_url, intake, boot_id=boot.id, silence_s=settings.detect.silence_s,
        reconnect_s=settings.detect.reconnect_s, now_us=now_us,
    )  # fmt: skip

    def detail() -> str:
        heard = time.monotonic() - rtds.stream.heard if rtds.stream.connected else None
        answered = (now_us() - activity.answered_us) // MICRO if activity.answered_us else None
        return json.dumps({
            "rtds_age_s": None if heard is None else int(heard), "data_api_age_s": answered,
            "queue": sender.waiting, "refused_rows": intake.refused,
        })  # fmt: skip

    async def progress() -> None:
        # Work got done if any source said anything since the last look.
        while True:
            fresh = rtds.stream.connected and time.monotonic() - rtds.stream.heard < settings.detect.reconnect_s
            if fresh or (activity.answered_us or 0) > (boot.progress_us or 0):
                boot.progress_us = now_us()
            await asyncio.sleep(1)

    boot.detail = detail
    await boot.ready()
    tasks = [sender.run(), progress()]
    if settings.detect.rtds:
        tasks.append(rtds.run())
    if followed:
        tasks.append(activity.run(followed))
    try:
        await until_stopped(boot, *tasks)
    finally:
        await transport.close()


if __name__ == "__main__":
    sys.exit(run("monitor", monitor))
