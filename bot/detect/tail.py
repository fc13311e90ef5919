"""Source: the newest trades of everybody at the Data API. It costs the same however many we follow.

It is minutes late, and finds what all others have missed. Whether the Data API goes on to answer a
question that names no wallet is not known: where it refuses, polls of each leader remain.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.detect.intake import Intake
from bot.errors import Unavailable
from bot.model import totals
from bot.polymarket.data_api import DataApi, Refused

logger = structlog.get_logger(__name__)
TAIL_S, REFUSED_S = 10.0, 600.0
#: Each reading goes back to so long before the newest trade of the last one.
OVERLAP_S = 60


class Tail:
    """Reads it for ever."""

    def __init__(
        self,
        api: DataApi,
        intake: Intake,
        now_us: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api, self._intake, self._now, self._sleep = api, intake, now_us, sleep
        self._newest_s = 0
        self.answered_us: int | None = None  #: when it was last read; None where it is refused

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            pause_s = TAIL_S
            try:
                await self.read()
            except Unavailable as error:
                logger.warning("tail.unavailable", error=str(error))
            except Refused as error:
                self.answered_us, pause_s = None, REFUSED_S
                logger.warning("tail.refused", error=str(error))
            await self._sleep(pause_s)

    async def read(self) -> int:
        """Read once; return how many signals came of it. Raises Unavailable, and Refused."""
        since_s = max(self._newest_s - OVERLAP_S, 0)
        found, newest_s = await self._api.tail(since_s, self._intake.knows)
        self.answered_us = self._now()
        self._newest_s = min(max(newest_s, self._newest_s), self.answered_us // 1_000_000)
        for problem in found.refused[:3]:
            self._intake.refused += 1
            logger.warning("tail.refused_row", error=problem)
        groups = totals.snapshot(found.fills)
        return await self._intake.absorb(totals.INDEX, groups.values(), seen_us=self.answered_us)
