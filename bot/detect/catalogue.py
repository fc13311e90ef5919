"""Keep the market table: what is told of markets is stored before anybody has to ask for it.

`seen` keeps the markets that leaders hold or trade, those of the same events, and new ones as the
market channel names them. `all` keeps every market that is open: Gamma's pages are read once a day
and the newest ones in between. All of it is compared in a snapshot; only what changes is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, TypeVar

import structlog
from cachetools import LRUCache

from bot.errors import Unavailable
from bot.ledger import leaders, markets
from bot.ledger.db import Ledger, Tx
from bot.model.leader import Wallet
from bot.model.market import ConditionId, Facts, TokenId
from bot.model.units import MICRO
from bot.polymarket.gamma import (
    CONDITIONS_AT_ONCE,
    EVENTS_AT_ONCE,
    TOKENS_AT_ONCE,
    Gamma,
    Listing,
)

logger = structlog.get_logger(__name__)
#: Rows in one transaction at most: beside larger ones everybody's commits take ten times as long.
WRITTEN_AT_ONCE = 200
#: What was just named is asked for after so long; what Gamma does not know yet, ever more seldom,
#: and what nobody but a leader has named, not for ever.
LOOK_S, PATIENT_S = 2.0, 1800.0
NEWEST_S, CRAWL_S = 300, 86_400
#: Markets that nobody could say more of for two days are forgotten.
FORGOTTEN_US = 2 * 86_400 * MICRO
#: Three times as many as there are: a cursor that leads nowhere ends.
MAX_PAGES = 3_000
REMEMBERED = 100_000
_CRAWL = ("catalogue", "gamma")
T = TypeVar("T")


class Catalogue:
    """Writes what Gamma and the market channel tell. Nothing waits for it."""

    def __init__(
        self,
        ledger: Ledger,
        gamma: Gamma,
        mode: Literal["seen", "all", "off"],
        now_us: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger, self._gamma, self._mode = ledger, gamma, mode
        self._now, self._sleep = now_us, sleep
        self._wanted: dict[ConditionId, None] = {}
        self._named: list[tuple[Facts, int]] = []  #: by the channel, and when
        self._known: LRUCache[ConditionId, bool] = LRUCache(REMEMBERED)
        self._events: LRUCache[str, bool] = LRUCache(REMEMBERED)
        self._families: dict[str, None] = {}  #: events whose markets are to be asked for
        #: When a market that Gamma did not know is asked for again, and the pause before that.
        self._later: LRUCache[ConditionId, tuple[int, float]] = LRUCache(REMEMBERED)

    def want(self, condition: ConditionId) -> None:
        """Have a market's facts in the table soon: a leader trades there, or holds something."""
        if self._mode != "off" and condition not in self._known:
            self._known[condition] = True
            self._wanted[condition] = None

    async def ask_tokens(self, tokens: Sequence[TokenId]) -> None:
        """Ask once for the markets of tokens, and store what is told. Raises Unavailable."""
        for part in _parts(tokens, TOKENS_AT_ONCE):
            await self._take(await self._gamma.of_tokens(part))

    def named(self, facts: Facts) -> None:
        """Take what the channel says of a new market."""
        if self._mode != "off":
            self._named.append((facts, self._now()))

    async def run(self, wallets: Sequence[Wallet]) -> None:
        """Keep the table until cancelled; what these leaders hold is wanted from the start."""
        for wallet in wallets:
            for condition in await self._ledger.look(leaders.markets_held, wallet):
                self.want(condition)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_up(), name="catalogue.seen")
            if self._mode == "all":
                group.create_task(self._read_all(), name="catalogue.all")

    async def _keep_up(self) -> None:
        while True:
            await self.complete()
            await self._sleep(LOOK_S)

    async def complete(self) -> None:
        """Store what the channel has named, and ask once for what is wanted and not known."""
        named, self._named = self._named, []
        await self._store([(facts, "clob", at) for facts, at in named])
        wanted, self._wanted = list(self._wanted), {}
        missing: list[ConditionId] = []
        for part in _parts(wanted, WRITTEN_AT_ONCE):
            missing += await self._ledger.look(markets.unknown, part)
        little = await self._ledger.look(markets.incomplete, WRITTEN_AT_ONCE)
        now = self._now()
        late = [condition for condition, (due_us, _) in self._later.items() if due_us <= now]
        fresh = [condition for condition in [*missing, *little] if condition not in self._later]
        for asked in _parts(list(dict.fromkeys([*fresh, *late])), CONDITIONS_AT_ONCE):
            try:
                await self._ask(asked, set(little))
            except Unavailable as error:
                logger.warning("catalogue.unavailable", error=str(error))
                self._wanted |= dict.fromkeys(missing)
                return
        await self._ask_siblings()
        if little:
            await self._ledger.transact(markets.forget_incomplete, now - FORGOTTEN_US)

    async def _ask(self, asked: Sequence[ConditionId], named: Collection[ConditionId]) -> None:
        found = await self._gamma.markets(asked)
        await self._take(found)
        told = {facts.condition for facts in found.facts}
        for condition in asked:
            if condition in told:
                self._later.pop(condition, None)
                continue
            # It is listed minutes after it is named, or it is closed and never will be: of the
            # dead that leaders hold there are thousands.
            pause = max(self._later.get(condition, (0, 0.0))[1] * 2, 2 * LOOK_S)
            if pause > PATIENT_S and condition not in named:
                self._later.pop(condition, None)
                continue
            pause = min(pause, PATIENT_S)
            self._later[condition] = (self._now() + int(pause * MICRO), pause)
        for facts in found.facts:
            if facts.event and facts.event not in self._events:
                self._events[facts.event] = True
                self._families[facts.event] = None

    async def _ask_siblings(self) -> None:
        """Ask for the other markets of events; what is not answered is asked for again."""
        for events in _parts(list(self._families), EVENTS_AT_ONCE):
            try:
                await self._take(await self._gamma.siblings(events))
            except Unavailable as error:
                logger.warning("catalogue.unavailable", error=str(error))
                return
            for event in events:
                del self._families[event]

    async def _read_all(self) -> None:
        while True:
            try:
                await self.crawl()
            except Unavailable as error:
                logger.warning("catalogue.unavailable", error=str(error))
            await self._sleep(NEWEST_S)

    async def crawl(self) -> None:
        """Read every page if that was not done for a day; else the newest, up to what is known."""
        now_s = self._now() // MICRO
        last = await self._ledger.look(leaders.cursor, *_CRAWL)
        whole = last is None or not 0 <= now_s - last < CRAWL_S
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._gamma.page(cursor, newest_first=not whole)
            changed = await self._take(page)
            cursor = page.next_cursor
            if cursor is None or not (whole or changed):
                break
        if whole:
            await self._ledger.transact(leaders.advance, *_CRAWL, now_s, now_us=self._now())
            logger.info("catalogue.read")

    async def _take(self, found: Listing) -> int:
        for problem in found.refused[:3]:
            logger.warning("catalogue.refused", rows=len(found.refused), error=problem)
        now = self._now()
        return await self._store([(facts, "gamma", now) for facts in found.facts])

    async def _store(self, words: list[markets.Word]) -> int:
        """Store what is news, and return how much of it there was."""
        new: list[markets.Word] = []
        for part in _parts(words, WRITTEN_AT_ONCE):
            new += await self._ledger.look(markets.news, part)

        def store(tx: Tx, part: Sequence[markets.Word]) -> None:
            for facts, source, at in part:
                markets.learn(tx, facts, source, as_of_us=at)

        for part in _parts(new, WRITTEN_AT_ONCE):
            await self._ledger.transact(store, part)
        return len(new)


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
