"""Source: each leader's activity at the Data API. Late, complete, and it fills every gap.

Each poll starts `overlap_s` before the cursor, because rows appear late and in the past, and
reads all pages: only a complete answer gives a group's total.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import chain, repeat

import structlog

from bot.config.schema import DetectSettings
from bot.detect.intake import Intake
from bot.errors import Unavailable
from bot.ledger import covers, leaders
from bot.ledger.db import Ledger, Tx
from bot.model import totals
from bot.model.intent import Cover, mirror
from bot.model.leader import Holding, Wallet
from bot.model.units import MICRO
from bot.polymarket.data_api import DataApi

logger = structlog.get_logger(__name__)
SOURCE = "data_api"
INVENTORY = "positions"
#: Leaders polled at the same time.
CONCURRENCY = 8
#: How late rows usually are. What was traded while a life began is found by its second poll.
LAG_S = 5


class Activity:
    """Polls every leader for ever."""

    def __init__(
        self,
        api: DataApi,
        ledger: Ledger,
        intake: Intake,
        settings: DetectSettings,
        now_us: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api, self._ledger, self._intake, self._settings, self._now = (
            api,
            ledger,
            intake,
            settings,
            now_us,
        )
        self._sleep = sleep
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self.answered_us: int | None = None  #: when the Data API last gave a complete answer

    async def run(self, wallets: list[Wallet]) -> None:
        """Poll all wallets until cancelled, each at its own moment."""
        async with asyncio.TaskGroup() as group:
            for wallet in wallets:
                group.create_task(self._follow(wallet))

    async def _follow(self, wallet: Wallet) -> None:
        pauses = chain((LAG_S,), repeat(self._settings.poll_s))
        for pause in pauses:
            try:
                async with self._slots:
                    try:
                        await self._inventory(wallet)
                    finally:
                        await self.poll(wallet)
            except Unavailable as error:
                logger.warning("activity.unavailable", leader=wallet, error=str(error))
            await self._sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 (spreads the load)

    async def poll(self, wallet: Wallet) -> None:
        """Read one leader's activity since the cursor, less the overlap, and store it."""

        def read(tx: Tx) -> tuple[int | None, int, bool]:
            start = leaders.watch_starts(tx)[wallet]
            return leaders.cursor(tx, SOURCE, wallet), start, leaders.outdated(tx, wallet)

        cursor, start, outdated = await self._ledger.look(read)
        since = max((cursor or start) - self._settings.overlap_s, start)
        # One second earlier than needed, so that a group's whole second is surely inside.
        answer = await self._api.activity(
            wallet, since_s=since - 1, limit=self._settings.page_limit
        )
        self.answered_us = self._now()
        for problem in answer.refused:
            self._intake.refused += 1
            logger.warning("activity.refused", leader=wallet, error=problem)
        groups = totals.snapshot(fill for fill in answer.fills if fill.traded_s >= since)
        # Never ahead of our own clock: after a leap of theirs the cursor would skip what comes
        # next.
        newest = min(
            max((fill.traded_s for fill, _ in groups.values()), default=0), self._now() // MICRO
        )
        moved = None
        if newest > (cursor or 0) or outdated:
            moved = (SOURCE, wallet, max(newest, cursor or 0))
        await self._intake.absorb(SOURCE, groups.values(), seen_us=self._now(), cursor=moved)

    async def _inventory(self, wallet: Wallet) -> None:
        """Store once what a leader held when we began to watch: exits are in proportion to it."""
        if await self._ledger.look(leaders.cursor, INVENTORY, wallet) is not None:
            return
        held = await self._api.positions(wallet)

        def store(tx: Tx) -> None:
            now = self._now()
            for token, condition, shares in held:
                known = leaders.holding(tx, wallet, token)
                # What we saw being bought meanwhile is part of the answer already.
                whole = Holding(max(shares, known.shares), known.watched, max(shares, known.peak))
                leaders.hold(tx, wallet, token, condition, whole, now_us=now)
                # What we bought of him before we knew is a part of all of it.
                portfolio = mirror(wallet)
                cover = covers.get(tx, portfolio, token)
                if cover is not None:
                    exposure = leaders.exposure_decided(tx, wallet, condition, token)
                    cover = Cover(cover.shares, exposure)
                    covers.store(tx, portfolio, token, cover, now_us=now)
            leaders.advance(tx, INVENTORY, wallet, now // MICRO, now_us=now)

        await self._ledger.transact(store)
        for _, condition, _ in held:
            self._intake.used(condition)
