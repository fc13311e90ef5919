"""Source: what leaders hold, as /v2/positions tells it. It is of no block, and only asks.

Whom we begin to follow is taken at its word, because exits are in proportion to what he had. After
that each leader has his turn, and what differs is doubted: the chain is asked. Where nobody answers
for the chain, the same difference told twice counts, both times at least ten minutes after the last
that is known to have happened.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog
from aiolimiter import AsyncLimiter

from bot.detect.balances import LEAST, Balances
from bot.detect.intake import Intake, Observed
from bot.errors import Unavailable
from bot.ledger import covers, facts, leaders
from bot.ledger.db import Ledger, Tx
from bot.model.intent import Cover, mirror
from bot.model.leader import Wallet
from bot.model.market import ConditionId, TokenId
from bot.model.units import MICRO
from bot.polymarket.data_api import DataApi

logger = structlog.get_logger(__name__)
INVENTORY = "positions"
#: Below half of the published limit (200 requests in ten seconds).
REQUESTS_PER_S = 7
#: Everybody has his turn in so long, as far as requests go; who is doubted sooner.
ROTATION_S, DOUBTED_S = 1800, 660
#: Positions in one transaction.
AT_ONCE = 50
#: An answer that is younger than the last that happened by less may not have it yet.
SETTLED_S = 600
Position = tuple[TokenId, ConditionId, int]


class Holdings:
    """Reads what every leader holds, once when he is new and then in turn."""

    def __init__(
        self,
        api: DataApi,
        ledger: Ledger,
        intake: Intake,
        balances: Balances,
        now_us: Callable[[], int],
        behind: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`behind` tells whether the index says itself that it knows nothing new."""
        self._api, self._ledger, self._intake, self._balances = api, ledger, intake, balances
        self._now, self._behind, self._sleep = now_us, behind, sleep
        self._budget = AsyncLimiter(REQUESTS_PER_S, 1)
        self._told: dict[tuple[Wallet, TokenId], int] = {}  #: differing shares, told once

    async def run(self, wallets: Callable[[], Sequence[Wallet]]) -> None:
        """Read whoever is new, then everybody in turn, until cancelled."""
        due_s: dict[Wallet, float] = {}
        while True:
            now_s = self._now() / MICRO
            due_s = {wallet: due_s.get(wallet, 0) for wallet in wallets()}
            for wallet in sorted((w for w in due_s if due_s[w] <= now_s), key=lambda w: due_s[w]):
                pause_s = await self._visit(wallet)
                jitter = random.uniform(0.8, 1.2)  # noqa: S311 (spreads the load)
                due_s[wallet] = self._now() / MICRO + pause_s * jitter
            await self._sleep(1)

    async def _visit(self, wallet: Wallet) -> float:
        """Read one leader and return when he is next, in seconds."""
        try:
            await self._budget.acquire()
            if await self._ledger.look(leaders.cursor, INVENTORY, wallet) is None:
                await self.adopt(wallet)
                return ROTATION_S
            return DOUBTED_S if await self.compare(wallet) else ROTATION_S
        except Unavailable as error:
            logger.warning("positions.unavailable", leader=wallet, error=str(error))
            return 10

    async def adopt(self, wallet: Wallet) -> None:
        """Store what a leader held when we began to watch. Raises Unavailable."""
        held = (await self._api.positions(wallet)).held

        now = self._now()

        def store(tx: Tx, part: Sequence[Position]) -> None:
            for token, condition, shares in part:
                _adopt(tx, wallet, token, condition, shares, now_us=now)

        # Who is killed on the way begins anew: the same answer changes nothing twice.
        for start in range(0, len(held), AT_ONCE):
            await self._ledger.transact(store, held[start : start + AT_ONCE])
        at_s = now // MICRO
        await self._ledger.transact(leaders.advance, INVENTORY, wallet, at_s, now_us=now)
        for _, condition, _ in held:
            self._intake.used(condition)
        self._balances.doubt(wallet, [token for token, _, _ in held])

    async def compare(self, wallet: Wallet) -> int:
        """Hold an answer against what is believed; return how much is doubted.

        Raises Unavailable.
        """
        answer = await self._api.positions(wallet)
        held = {token: (condition, n) for token, condition, n in answer.held}
        asked_s = self._now() // MICRO

        def differing(tx: Tx) -> list[tuple[Observed, bool]]:
            known = leaders.holdings(tx, wallet)
            found = []
            # Where a row cannot be read, what is not there may be what it is about.
            told = held.keys() if answer.refused else held.keys() | known.keys()
            for token in told:
                condition, there = held.get(token, (known.get(token, ("", 0))[0], 0))
                here = known.get(token, ("", 0))[1]
                if abs(max(here, 0) - there) >= LEAST:
                    newest_s = facts.newest(tx, wallet, token)
                    settled = newest_s is None or newest_s <= asked_s - SETTLED_S
                    seen = Observed(wallet, token, ConditionId(condition), there)
                    found.append((seen, settled))
            return found

        doubted = await self._ledger.look(differing)
        for seen, _ in doubted:
            self._intake.used(seen.condition)
        if self._balances.asks():
            self._balances.doubt(wallet, [seen.token for seen, _ in doubted])
        elif not self._behind():
            again = [s for s, ok in doubted if ok and self._told.get((wallet, s.token)) == s.shares]
            await self._intake.observe(again)
        self._told = {pair: n for pair, n in self._told.items() if pair[0] != wallet}
        self._told |= {(wallet, seen.token): seen.shares for seen, ok in doubted if ok}
        return len(doubted)


def _adopt(
    tx: Tx, wallet: Wallet, token: TokenId, condition: ConditionId, shares: int, *, now_us: int
) -> None:
    known = leaders.holding(tx, wallet, token)
    # What we saw being bought meanwhile is part of the answer already.
    whole = replace(known, shares=max(shares, known.shares), peak=max(shares, known.peak))
    leaders.hold(tx, wallet, token, condition, whole, now_us=now_us)
    # What we bought of him before we knew is a part of all of it.
    portfolio = mirror(wallet)
    cover = covers.get(tx, portfolio, token)
    if cover is not None:
        exposure = leaders.exposure_decided(tx, wallet, condition, token)
        covers.store(tx, portfolio, token, Cover(cover.shares, exposure), now_us=now_us)
