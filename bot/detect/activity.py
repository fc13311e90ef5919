"""Source: each leader's activity at the Data API. Late, complete, and it fills every gap.

Rows appear late and in the past: minutes after their own time on a bad day. So each poll starts
`overlap_s` before the moment at which the last one was answered, whatever rows it brought, and
reads all pages: only a complete answer gives a group's total.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from bot.config.schema import DetectSettings
from bot.detect.heat import Heat
from bot.detect.intake import Intake, Observation
from bot.errors import Unavailable
from bot.ledger import leaders, markets, roster
from bot.ledger.db import Ledger, Tx
from bot.model import totals
from bot.model.leader import FactKind, LeaderFill, Wallet
from bot.model.market import ConditionId, Side
from bot.model.units import MICRO
from bot.polymarket import wire
from bot.polymarket.data_api import DataApi

logger = structlog.get_logger(__name__)
SOURCE = totals.INDEX
#: Leaders polled at the same time.
CONCURRENCY = 8
#: How far was read is stored this often where nothing happens: what is read again costs little.
NOTED_S = 60
#: Where answers take so long, the index is asked too much: everything is asked half as often.
SLOW_S, SLOWEST = 2.0, 8
IDLE_S = 1.0


class Activity:
    """Polls every leader for ever, each as often as he is likely to have done something."""

    def __init__(
        self,
        api: DataApi,
        ledger: Ledger,
        intake: Intake,
        settings: DetectSettings,
        now_us: Callable[[], int],
        moved: Callable[[Wallet, Sequence[ConditionId]], None] = lambda _, __: None,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`moved` is told of markets in which a leader's shares came or went, nobody says how."""
        self._api, self._ledger, self._intake, self._settings, self._now = (
            api,
            ledger,
            intake,
            settings,
            now_us,
        )
        self._moved, self._clock_s, self._sleep = moved, clock_s, sleep
        self._heat = Heat(settings.poll_s)
        self._reached: dict[Wallet, int] = {}  #: seconds up to which each was answered
        self._stretch = 1  #: how many times as seldom as wished the index is asked
        self.answered_us: int | None = None  #: when the Data API last gave a complete answer

    async def run(self, wallets: list[Wallet]) -> None:
        """Poll all wallets until cancelled, each at its own moment."""
        self.watch(wallets)
        slots = asyncio.Semaphore(CONCURRENCY)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                while (wallet := self._heat.take(self._clock_s())) is None:
                    await self._sleep(min(self._heat.wait_s(self._clock_s()), IDLE_S))
                task = group.create_task(self._visit(wallet), name="activity.poll")
                task.add_done_callback(lambda _: slots.release())

    def watch(self, wallets: Sequence[Wallet]) -> None:
        """Poll exactly these from now on; who is new is taken for somebody who has just traded."""
        now_s = self._clock_s()
        self._heat.watch([(wallet, now_s) for wallet in wallets], now_s)

    def active(self, wallet: Wallet, traded_s: int) -> None:
        """Note that somebody saw a leader trade: he is asked about soon."""
        now_s = self._clock_s()
        self._heat.active(wallet, now_s - max(self._now() / MICRO - traded_s, 0), now_s)

    async def _visit(self, wallet: Wallet) -> None:
        try:
            await self.poll(wallet)
        except Unavailable as error:
            logger.warning("activity.unavailable", leader=wallet, error=str(error))
        self._pace()
        jitter = self._stretch * random.uniform(0.8, 1.2)  # noqa: S311 (spreads the load)
        self._heat.polled(wallet, self._clock_s(), jitter)

    def _pace(self) -> None:
        """Ask less where answers are slow: requests are held back before they are refused."""
        slow = self._api.slowest_s > SLOW_S
        stretch = min(self._stretch * 2, SLOWEST) if slow else max(self._stretch // 2, 1)
        if stretch != self._stretch:
            self._api.forget_times()
            logger.info("activity.pace", times_as_seldom=stretch)
        self._stretch = stretch

    async def poll(self, wallet: Wallet) -> None:
        """Read one leader's activity since the last answer, less the overlap, and store it."""

        def read(tx: Tx) -> tuple[int | None, int | None, bool]:
            start = roster.watch_start(tx, wallet)
            return leaders.cursor(tx, SOURCE, wallet), start, leaders.outdated(tx, wallet)

        cursor, start, outdated = await self._ledger.look(read)
        if start is None:
            return
        asked_s = self._now() // MICRO
        # Never ahead of our own clock: after a leap of it what comes next would be skipped.
        reached = min(max(cursor or 0, self._reached.get(wallet, 0)), asked_s)
        since = max(reached - self._settings.overlap_s, start) if reached else start
        # One second earlier than needed, so that a group's whole second is surely inside.
        answer = await self._api.activity(
            wallet, since_s=since - 1, limit=self._settings.page_limit
        )
        self.answered_us = self._now()
        for problem in answer.refused:
            self._intake.refused += 1
            logger.warning("activity.refused", leader=wallet, error=problem)
        groups = totals.snapshot(fill for fill in answer.fills if fill.traded_s >= since)
        seen = [*groups.values(), *await self._pairs([p for p in answer.pairs if p.at_s >= since])]
        stored = None
        if outdated or asked_s - (cursor or 0) >= NOTED_S:
            stored = (SOURCE, wallet, asked_s)
        await self._intake.absorb(SOURCE, seen, seen_us=self._now(), cursor=stored)
        self._reached[wallet] = asked_s
        if answer.moved:
            self._moved(wallet, sorted(answer.moved))

    async def _pairs(self, pairs: Sequence[wire.Pairs]) -> list[Observation]:
        """Return pairs that were made or given back, each as what it did to both tokens.

        Those of markets that nobody knows wait until somebody does: they are read again.
        """
        conditions = {pair.condition for pair in pairs}
        known = await self._ledger.look(markets.tokens_of, sorted(conditions))
        for condition in conditions - known.keys():
            self._intake.used(condition)
        return [
            (_moves(pair, token, outcome), (pair.shares, 0))
            for pair in pairs
            for token, outcome in known.get(pair.condition, ())
        ]


def _moves(pair: wire.Pairs, token: str, outcome: str) -> LeaderFill:
    kind, side = (FactKind.SPLIT, Side.BUY) if pair.made else (FactKind.MERGE, Side.SELL)
    return LeaderFill(
        pair.tx, pair.wallet, wire.token_id(token), side, pair.shares, 0, pair.condition,
        outcome, pair.title, pair.at_s, kind,
    )  # fmt: skip
