"""monitor: see leaders' trades, store them, announce them. It holds no secret."""

import asyncio
import sys
import time
from dataclasses import dataclass

from bot.detect.activity import Activity
from bot.detect.catalogue import Catalogue
from bot.detect.intake import Intake
from bot.detect.life import MarketLife
from bot.detect.rtds import Rtds
from bot.ledger import leaders, markets
from bot.model.units import MICRO
from bot.polymarket.data_api import DataApi
from bot.polymarket.gamma import Gamma
from bot.polymarket.listings import Listings
from bot.polymarket.resolution import Resolutions
from bot.polymarket.transport import Transport
from bot.queue import Sender, SignalSeen, Warm
from bot.runtime import Boot, now_us, run, until_stopped
from bot.watchdog import CHECK_S

#: Well below the Data API's published limits.
DATA_REQUESTS_PER_S = 10
LIFE_REQUESTS_PER_S = 5
#: A stream that was heard this recently is at work.
FRESH_S = 5


@dataclass(frozen=True, slots=True)
class Sources:
    """All that the monitor listens to, and where it announces what is new."""

    sender: Sender
    intake: Intake
    rtds: Rtds
    activity: Activity
    life: MarketLife
    catalogue: Catalogue
    listings: Listings

    def detail(self) -> dict[str, object]:
        """Return each source's age, for the status screen."""
        stream, answered = self.rtds.stream, self.activity.answered_us
        return {
            "rtds_age_s": int(time.monotonic() - stream.data_heard) if stream.connected else None,
            "data_api_age_s": (now_us() - answered) // MICRO if answered else None,
            "queue": self.sender.waiting,
            "refused_rows": self.intake.refused,
            "waiting_sights": self.rtds.waiting,
            "dropped_sights": self.rtds.dropped,
        }

    def progressed(self) -> int | None:
        """Return when a source was last known to be at work, microseconds."""
        stream = self.rtds.stream
        fresh = stream.connected and time.monotonic() - stream.data_heard < FRESH_S
        return now_us() if fresh else self.activity.answered_us


def make_sources(boot: Boot, data: Transport, clob: Transport, gamma: Transport) -> Sources:
    """Wire the sources of this boot together."""
    settings = boot.settings
    catalogue = Catalogue(boot.ledger, Gamma(gamma), settings.detect.catalogue, now_us)
    listings = Listings(
        settings.venue.market_ws_url,
        lambda: boot.ledger.look(markets.some_token),
        catalogue.named,
    )
    sender = Sender(boot.home.socket("executor"))
    intake = Intake(
        boot.ledger,
        lambda signal: sender.put(SignalSeen(signal.id, signal.purchase)),
        now_us,
        lambda fill: sender.put(Warm(fill.condition, fill.token)),
        catalogue.want,
    )
    rtds = Rtds(
        settings.venue.rtds_url,
        intake,
        boot_id=boot.id,
        silence_s=settings.detect.silence_s,
        reconnect_s=settings.detect.reconnect_s,
        now_us=now_us,
    )
    activity = Activity(DataApi(data), boot.ledger, intake, settings.detect, now_us)
    # The executor looks at its rows whenever it is woken: which message wakes it is all the same.
    life = MarketLife(
        boot.ledger, Resolutions(clob, gamma), lambda c: sender.put(SignalSeen(c)), now_us
    )
    return Sources(sender, intake, rtds, activity, life, catalogue, listings)


async def monitor(boot: Boot) -> None:
    """Watch every leader through every source until stopped."""
    settings = boot.settings
    wallets = [(leader.wallet, leader.label) for leader in settings.leaders]
    await boot.ledger.transact(leaders.follow, wallets, now_s=now_us() // MICRO)
    transport = Transport(
        settings.venue.data_url,
        timeout_s=settings.execution.timeout_s,
        requests_per_s=DATA_REQUESTS_PER_S,
    )
    clob = Transport(
        settings.venue.clob_url,
        timeout_s=settings.execution.timeout_s,
        requests_per_s=LIFE_REQUESTS_PER_S,
    )
    gamma = Transport(
        settings.venue.gamma_url,
        timeout_s=settings.execution.timeout_s,
        requests_per_s=LIFE_REQUESTS_PER_S,
    )
    sources = make_sources(boot, transport, clob, gamma)
    followed = await sources.intake.load()
    boot.detail, boot.progressed = sources.detail, sources.progressed
    await boot.ready()
    tasks = [sources.sender.run(), sources.life.run(), _watch_health(boot)]
    if settings.detect.catalogue != "off":
        tasks += [sources.catalogue.run(followed), sources.listings.run()]
    if settings.detect.rtds:
        tasks.append(sources.rtds.run())
    if followed:
        tasks.append(sources.activity.run(followed))
    try:
        await until_stopped(boot, *tasks)
    finally:
        for used in (transport, clob, gamma):
            await used.close()


async def _watch_health(boot: Boot) -> None:
    # health judges the others; without this nobody would judge health.
    while True:
        await boot.watchdog.tell(boot.ledger, now_us(), "health:", lambda _: {})
        await asyncio.sleep(CHECK_S)


if __name__ == "__main__":
    sys.exit(run("monitor", monitor, watches=("health",)))
