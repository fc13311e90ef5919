"""Source: the real-time stream of all wallets' trades. Early, undocumented, sometimes silent.

Two subscriptions on one connection, `trades` and `orders_matched`; each is a source of its own,
and so is each connection (epoch), because rows of two may overlap.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable

import structlog
from cachetools import TTLCache

from bot.detect.fold import Sight
from bot.detect.intake import Intake
from bot.detect.match import Match
from bot.model import totals
from bot.model.leader import LeaderFill
from bot.polymarket import wire
from bot.polymarket.stream import Stream

logger = structlog.get_logger(__name__)
TYPES = ("trades", "orders_matched")
#: Sights in one transaction: a larger one keeps the executor waiting for the write lock.
AT_ONCE = 20
#: Between two transactions, so that who decides on the first one gets the write lock.
PAUSE_S = 0.002
#: Sights that wait at most: a ledger that others have locked for minutes is no reason to grow.
MOST = 20_000
#: A transaction may find out with the first few of fifty that they are enough to follow.
FEW = 4


class Rtds:
    """Watches the stream and hands leaders' trades to the intake."""

    def __init__(
        self,
        url: str,
        intake: Intake,
        *,
        boot_id: int,
        silence_s: int,
        reconnect_s: int,
        now_us: Callable[[], int],
        most: int = MOST,
    ) -> None:
        self._intake, self._boot, self._now = intake, boot_id, now_us
        self._most = most  #: sights that wait
        #: By connection and transaction: those with a row of a leader, and all others for a moment.
        self._matches: TTLCache[tuple[str, str], Match] = TTLCache(20_000, 60)
        self._strangers: TTLCache[tuple[str, str], Match] = TTLCache(10_000, 5)
        self._waiting: deque[Sight] = deque()
        self._fresh = asyncio.Event()
        self.dropped = 0  #: sights that nobody could store in time
        self.stream = Stream(
            url, _subscription, ping_s=5, silence_s=silence_s, reconnect_s=reconnect_s
        )

    @property
    def waiting(self) -> int:
        """Return how many sights wait to be stored."""
        return len(self._waiting)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._store(), name="rtds.store")
            await self.stream.run(self._on_frame)

    async def _store(self) -> None:
        """Store what was seen, all that waits together: an order's fifty fills come as fifty."""
        while True:
            await self._fresh.wait()
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
            if not self._waiting:
                self._fresh.clear()
            await self._intake.take(taken)
            if self._waiting:
                await asyncio.sleep(PAUSE_S)

    async def _on_frame(self, text: str) -> None:
        seen_us = self._now()
        try:
            found = wire.rtds(text, self._intake.knows)
        except wire.BadInput as error:
            self._intake.refused += 1
            logger.warning("rtds.refused", error=str(error))
            return
        if found is None:
            return
        kind, fill = found
        source = f"rtds:{self._boot}.{self.stream.epoch}:{kind}"
        for first, total in self._add((source, fill.tx), fill):
            if len(self._waiting) >= self._most:
                # The ledger is away: what is dropped here, others tell again.
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(Sight(source, first, total, seen_us))
            self._fresh.set()
        if len(self._waiting) >= FEW:
            await asyncio.sleep(0)  # what is read and waits is stored before more is read

    def _add(self, key: tuple[str, str], fill: LeaderFill) -> list[tuple[LeaderFill, totals.Total]]:
        """Take a row, and return what of leaders is news by it: his own, or by another's row."""
        watched = self._intake.follows(fill)
        match = self._matches.get(key) or self._strangers.get(key) or Match()
        (self._matches if watched or key in self._matches else self._strangers)[key] = match
        return match.add(fill, watched=watched)


def _subscription() -> list[str]:
    topics = [{"topic": "activity", "type": kind} for kind in TYPES]
    return [json.dumps({"action": "subscribe", "subscriptions": topics}, separators=(",", ":"))]
