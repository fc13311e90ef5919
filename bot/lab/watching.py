"""All sources, watched as the monitor does, over a ledger of its own that is thrown away.

A bot that runs is not disturbed, and nothing is bought.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bot.config.schema import Settings
from bot.detect.assemble import Outside, Tells, Watch
from bot.detect.fold import Sight
from bot.ledger import roster
from bot.ledger.db import Ledger
from bot.ledger.files import migrate
from bot.runtime import now_us


@dataclass(frozen=True, slots=True)
class Watching:
    """What watches, what it asks, and where it stores what it has seen."""

    watch: Watch
    outside: Outside
    ledger: Ledger
    path: Path

    async def run(self, seconds: float, until: asyncio.Event | None = None) -> None:
        """Watch for so long, or until something happens; how each source did is stored then."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in await self.watch.tasks()]
            with suppress(TimeoutError):
                await asyncio.wait_for((until or asyncio.Event()).wait(), seconds)
            self.watch.health.judge()
            await self.watch.health.store(self.watch.heard())
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def watching(
    settings: Settings, wallets: Sequence[str], seen: Callable[[Sight], None] = lambda _: None
) -> AsyncIterator[Watching]:
    """Yield sources that watch some wallets; `seen` is told of every sight of theirs."""
    with tempfile.TemporaryDirectory(prefix="copybot-") as folder:
        path = Path(folder) / "ledger.db"
        await asyncio.to_thread(migrate, path, settings.mode)
        outside = Outside.of(settings)
        try:
            async with Ledger(path).open() as ledger:
                leaders = [(wallet, "") for wallet in wallets]
                while not await ledger.transact(roster.follow, leaders, now_s=int(time.time())):
                    continue
                tells = Tells(lambda _: None, lambda _: None, lambda _: None, seen)
                watch = Watch(ledger, settings, outside, tells, now_us, boot_id=1)
                yield Watching(watch, outside, ledger, path)
        finally:
            await outside.close()
