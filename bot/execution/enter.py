"""DECIDE how an entry goes on: the next attempt at what the last one did not get.

Inside its deadline only, under the limits as they are now, and never after an attempt that was in
doubt (law 2). What nobody offers in time is not bought.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bot import failpoints
from bot.config.schema import Settings
from bot.errors import Unavailable
from bot.execution import allow, look
from bot.execution.attempt import Birth, Terms, bear
from bot.ledger import control, intents, positions, roster
from bot.ledger.db import Ledger, Tx
from bot.model.amounts import CENT, floor_to_tick
from bot.model.decision import Proposal
from bot.model.intent import Intent, IntentKind, IntentState, leader_of
from bot.model.leader import Wallet, Word
from bot.model.market import Book, Market, Side
from bot.model.order import Order, OrderKind
from bot.model.units import MICRO, printable
from bot.polymarket.signer import OrderSigner
from bot.ports import MarketData, OrderVenue
from bot.strategy.mirror import MIN_BUY_USDC
from bot.strategy.walk import walk

#: An entry is tried for so long at most: after that his price is an old one.
ENTRY_S = 10


def deadline(traded_s: int, max_age_s: int, *, now_us: int) -> int:
    """Return until when an entry may be attempted, in microseconds."""
    return min((traded_s + max_age_s) * MICRO, now_us + ENTRY_S * MICRO)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look at the world has found."""

    market: Market | None
    book: Book
    skew_s: int
    owner: str


@dataclass(frozen=True, slots=True)
class Enterer:
    """Drives the entries of one wallet on. `boot_id` is the life that does."""

    ledger: Ledger
    venue: OrderVenue
    data: MarketData
    signer: OrderSigner
    settings: Settings
    boot_id: int
    now_us: Callable[[], int]

    async def enter(self, intent: Intent, stopping: asyncio.Event) -> Order | None:
        """Return an entry's next attempt, stored and signed, or None: it waits, or is over.

        Raises InvariantBroken if another executor has been started on this ledger.
        """
        market = None
        try:
            max_age_us = self.settings.strategy.book_max_age_s * MICRO
            market = await look.at(self.data, intent.condition, intent.token, max_age_us=max_age_us)
        except Unavailable:
            pass  # it waits for facts, and says so
        book = look.book(self.data, intent.token)
        failpoints.reach("enter.begun")
        seen = _Seen(market, book, self.venue.skew_s, self.venue.owner)
        order = await self.ledger.transact(self._attempt, intent.id, seen, stopping)
        failpoints.reach("enter.committed")
        return order

    def _attempt(
        self, tx: Tx, intent_id: int, seen: _Seen, stopping: asyncio.Event
    ) -> Order | None:
        if stopping.is_set():
            return None
        control.fence(tx, self.boot_id)
        intent, now = intents.get(tx, intent_id), self.now_us()
        if intent is None or intent.state is not IntentState.OPEN:
            return None
        if intent.kind is not IntentKind.ENTRY or intents.flying(
            tx, intent.portfolio, intent.token
        ):
            return None  # its end asks for the next look
        held = positions.shares_of(tx, intent.portfolio, intent.token)
        if held + CENT > intent.target:
            intents.finish(tx, intent, IntentState.REACHED, now_us=now)
            return None
        found = self._wanted(tx, intent, intent.target - held, seen, now)
        if isinstance(found, Proposal):
            return self._buy(tx, intent, found, seen, now)
        if found is not None:
            intents.finish(tx, intent, IntentState.EXPIRED, now_us=now, why=found)
        return None

    def _stands(self, tx: Tx, wallet: Wallet) -> Word:
        return roster.stands(tx, wallet, listed=self.settings.lists(wallet))

    def _wanted(
        self, tx: Tx, intent: Intent, rest: int, seen: _Seen, now: int
    ) -> Proposal | str | None:
        """Return what to buy now; why nothing more is bought; or None: it waits, and says so."""
        attempts, spent = intents.bought(tx, intent)
        wallet = leader_of(intent.portfolio)
        left = intent.budget - spent
        if now >= (intent.deadline_us or 0) or attempts >= intents.ENTRY_ATTEMPTS:
            return "its time is over"
        if wallet is None or self._stands(tx, wallet) is not Word.FOLLOW:
            return "not followed any more, or muted"
        if left < MIN_BUY_USDC:
            return "less than a dollar of its budget is left"
        waits = self._waits(tx, intent, seen, now)
        if waits is None and seen.market is not None:
            limit = floor_to_tick(intent.price or 0, seen.market.tick)
            depth = self.settings.strategy_for(wallet).max_depth_ratio
            found = walk(seen.book, limit, rest, left, depth)
            if found.usdc >= MIN_BUY_USDC and limit <= (intent.price or 0):
                return Proposal(intent.token, limit, found.shares, found.usdc, {})
            waits = "an ask inside its limit"
        intents.wait(tx, intent, waits or "", now_us=now, seconds=1)
        return None

    def _waits(self, tx: Tx, intent: Intent, seen: _Seen, now: int) -> str | None:
        if seen.market is None:
            return "the market's facts"
        if not seen.market.accepting:
            return "the market to take orders"
        if intents.exit_stands_in(tx, intent.token):
            return "an exit of ours in this token to end"
        if now - seen.book.seen_us > self.settings.strategy.book_max_age_s * MICRO:
            return "a fresh book"
        return None

    def _buy(self, tx: Tx, intent: Intent, wanted: Proposal, seen: _Seen, now: int) -> Order | None:
        assert seen.market is not None
        skip = allow.refused(
            tx,
            intent.portfolio,
            wanted,
            seen.market,
            self.settings,
            skew_s=seen.skew_s,
            now_us=now,
        )
        if skip is not None:
            intents.finish(tx, intent, IntentState.EXPIRED, now_us=now, why=str(skip.reason))
            return None
        birth = Birth(self.signer, seen.owner, seen.skew_s, self.settings.execution.validity_s, now)
        try:
            terms = Terms(Side.BUY, OrderKind.FAK, wanted.price, wanted.usdc)
            return bear(tx, intent, seen.market, terms, birth)
        except ValueError as error:
            why = f"no order can be made: {printable(error)}"
            intents.finish(tx, intent, IntentState.EXPIRED, now_us=now, why=why[:200])
            return None
