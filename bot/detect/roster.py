"""Who is watched: by the operator's word as well, which holds without a restart."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from bot.detect.intake import Intake
from bot.ledger import roster
from bot.ledger.db import Ledger
from bot.model.leader import Wallet

logger = structlog.get_logger(__name__)
LOOK_S = 2.0


class Roster:
    """Looks for words of the operator, and lets who has left go once we hold nothing of him."""

    def __init__(
        self,
        ledger: Ledger,
        intake: Intake,
        changed: Callable[[Sequence[Wallet]], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`changed` is told of all who are watched, whenever they are others than before."""
        self._ledger, self._intake, self._changed, self._sleep = ledger, intake, changed, sleep

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Look once."""
        if not await self._ledger.look(roster.due):
            return
        before = set(self._intake.wallets())
        while not await self._ledger.transact(roster.settle):
            continue
        wallets = await self._intake.load()
        if set(wallets) != before:
            logger.info("roster.changed", watched=len(wallets), before=len(before))
            await self._changed(wallets)
