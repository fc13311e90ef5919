"""How far behind the Data API says that it is: an index may answer, and know nothing new."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.errors import Unavailable
from bot.polymarket.data_api import DataApi

logger = structlog.get_logger(__name__)
LOOK_S = 15.0
#: An index that is further behind knows too little to be relied on.
BEHIND_S = 60


class Freshness:
    """Asks for ever."""

    def __init__(
        self, api: DataApi, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._api, self._sleep = api, sleep
        self.lag_s: int | None = None  #: None: it has not said, or nobody can read it

    @property
    def behind(self) -> bool:
        """Return whether it says itself that it knows nothing new."""
        return self.lag_s is not None and self.lag_s > BEHIND_S

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.look()
            await self._sleep(LOOK_S)

    async def look(self) -> None:
        """Ask once; where nobody answers, what it said last stands."""
        try:
            found = await self._api.lag_s()
        except Unavailable as error:
            logger.info("freshness.unavailable", error=str(error))
            return
        was, self.lag_s = self.behind, found
        if self.behind is not was:
            logger.warning("freshness.behind" if self.behind else "freshness.back", lag_s=found)
