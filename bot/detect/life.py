"""Source: the life of the markets that we hold something of. An ended one is announced once."""

import asyncio
from collections.abc import Callable

import structlog

from bot.errors import Unavailable
from bot.ledger import markets
from bot.ledger.db import Ledger
from bot.polymarket.resolution import AT_ONCE, Payouts, Resolutions

logger = structlog.get_logger(__name__)
#: Markets end minutes or days after the last trade: asking more often gains nothing.
LOOK_S = 20


class MarketLife:
    """Asks whether markets have ended, many at a time, and stores how."""

    def __init__(
        self,
        ledger: Ledger,
        resolutions: Resolutions,
        announce: Callable[[str], None],
        now_us: Callable[[], int],
    ) -> None:
        self._ledger, self._resolutions = ledger, resolutions
        self._announce, self._now = announce, now_us

    async def run(self) -> None:
        """Look at every market of interest, again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Ask once about every market that we hold something of and that has not ended."""
        held = await self._ledger.look(markets.held)
        for start in range(0, len(held), AT_ONCE):
            part = held[start : start + AT_ONCE]
            try:
                found = await self._resolutions.ended(part)
            except Unavailable as error:
                logger.warning("market.life_unknown", markets=len(part), error=str(error))
                continue
            for condition, payouts in found.items():
                await self._end(condition, payouts)

    async def _end(self, condition: str, payouts: Payouts) -> None:
        if await self._ledger.transact(
            markets.end, condition, payouts, source="clob+gamma", now_us=self._now()
        ):
            logger.info("market.ended", condition=condition, payouts=payouts)
            self._announce(condition)
