"""DECIDE how a standing exit goes on: the next attempt, or what it waits for.

The wish was decided when the leader left; driving it may wait for a book, for shares or for bids.
Each exit is driven on its own, so that a market whose endpoints hang holds up no other.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from bot import failpoints
from bot.config.schema import Settings, StrategySettings
from bot.errors import Unavailable
from bot.execution import look
from bot.execution.attempt import Birth, Terms, bear
from bot.ledger import control, intents, markets, orders, positions
from bot.ledger.db import Ledger, Tx
from bot.model.amounts import CENT
from bot.model.control import ControlMode
from bot.model.intent import Intent, IntentKind, IntentState, leader_of
from bot.model.market import Book, Market, Side
from bot.model.order import Order, OrderState
from bot.model.units import MICRO
from bot.polymarket.signer import OrderSigner
from bot.ports import MarketData, OrderVenue
from bot.strategy.leave import NO_BIDS, Sale, attempt, floor

logger = structlog.get_logger(__name__)
#: A gate that has not opened for so long lets an exit go alone, on the wallet's own word.
ALONE_S = 60
#: What rests is renewed this long after it was sent: while the book still has it.
RENEW_S = 240


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at the world has found."""

    market: Market | None
    book: Book
    wallet_shares: int | None  #: None: not asked, or no answer
    whole: int | None  #: what proved the wallet whole when it was asked; None: nothing would
    skew_s: int
    owner: str


@dataclass(slots=True)
class Driver:
    """Drives the exits of one wallet. `born_us` is when this life began."""

    ledger: Ledger
    venue: OrderVenue
    data: MarketData
    signer: OrderSigner
    settings: Settings
    boot_id: int
    born_us: int
    now_us: Callable[[], int]
    #: Where an exit waits for bids: (its target price's floor) by intent, as last seen.
    _floors: dict[int, int] = field(default_factory=dict)

    def due(self, standing: list[Intent], moving: Collection[tuple[str, str]]) -> list[Intent]:
        """Return which of the exits that stand are due: their look has come, or bids are back.

        None whose (portfolio, token) is `moving`: the end of its order asks for the next look.
        """
        now = self.now_us()
        self._floors = {i.id: self._floors[i.id] for i in standing if i.id in self._floors}
        return [
            intent
            for intent in standing
            if (intent.portfolio, intent.token) not in moving
            and (_due(intent, now) or self._bids_are_back(intent))
        ]

    def _bids_are_back(self, intent: Intent) -> bool:
        least, book = self._floors.get(intent.id), self.data.book(intent.token)
        if intent.waits != NO_BIDS or least is None or book is None or not book.bids:
            return False
        fresh_us = self.settings.strategy.book_max_age_s * MICRO
        return book.bids[0][0] >= least and self.now_us() - book.seen_us <= fresh_us

    async def drive(self, intent: Intent, stopping: asyncio.Event) -> Order | None:
        """Return an exit's next attempt, stored and signed, or None: it waits, and says for what.

        Raises InvariantBroken if another executor has been started on this ledger.
        """
        market = await self._facts(intent)
        with suppress(Unavailable):
            max_age_us = self.settings.strategy.book_max_age_s * MICRO
            await look.watch(self.data, [intent.token], max_age_us=max_age_us)
        at, skew_s, shares = self.now_us(), self.venue.skew_s, None
        whole = await self.ledger.look(
            positions.whole_in_wallet, intent.token, now_us=at, skew_s=skew_s
        )
        if await self.ledger.look(_asks_wallet, intent, now_us=self.now_us()):
            shares = await look.in_wallet(self.venue, intent.token)
        failpoints.reach("drive.begun")
        book = look.book(self.data, intent.token)
        found = Found(market, book, shares, whole, self.venue.skew_s, self.venue.owner)
        order = await self.ledger.transact(self._attempt, intent.id, found, stopping)
        failpoints.reach("drive.committed")
        return order

    async def _facts(self, intent: Intent) -> Market | None:
        """Return a market's facts; where nobody tells them, those last known serve an exit."""
        with suppress(Unavailable):
            if (found := await look.facts(self.data, intent.condition)) is not None:
                return found
        return await self.ledger.look(markets.last_known, intent.condition)

    def _attempt(
        self, tx: Tx, intent_id: int, seen: Found, stopping: asyncio.Event
    ) -> Order | None:
        if stopping.is_set():
            return None
        control.fence(tx, self.boot_id)
        intent, now = intents.get(tx, intent_id), self.now_us()
        if intent is None or intent.state is not IntentState.OPEN:
            return None
        if intents.flying(tx, intent.portfolio, intent.token):
            return None  # its end asks for the next look
        if (why := self._held_up(tx, intent, seen)) is not None:
            intents.wait(tx, intent, why[0], now_us=now, seconds=why[1])
            return None
        held = positions.shares_of(tx, intent.portfolio, intent.token)
        over = held - intent.target
        if over < CENT:
            intents.review(tx, intent.portfolio, intent.token, now_us=now)
            return None
        settled = held - orders.arriving(tx, intent.portfolio, intent.token)
        if min(over, settled) < CENT:
            intents.wait(tx, intent, "shares that are not settled yet", now_us=now)
            return None
        return self._sell(tx, intent, min(over, settled), seen)

    def _held_up(self, tx: Tx, intent: Intent, seen: Found) -> tuple[str, int | None] | None:
        """Return why an exit may not be attempted now, and when to look again.

        None where it may.
        """
        now = self.now_us()
        if control.read(tx, now_us=now).mode is ControlMode.HALTED:
            return "halted by the operator: botctl resume", 60
        if (what := _gate(tx, intent, now_us=now)) is not None:
            if now < self.born_us + ALONE_S * MICRO:
                return what, 5
            if (less := _wallet(tx, intent, seen, now, exactly=True)) is not None:
                return f"{what}: {less}", None
        # The attempt before may have sold what another portfolio would be sold for now.
        doubted = intents.doubted(tx, intent)
        if doubted and (less := _wallet(tx, intent, seen, now, exactly=False)) is not None:
            return f"proof of the attempt before: {less}", None
        if seen.market is None:
            return "the market's facts: nobody has told them yet", None
        return None

    def _sell(self, tx: Tx, intent: Intent, shares: int, seen: Found) -> Order | None:
        now, market = self.now_us(), seen.market
        assert market is not None
        strategy = self._strategy(intent)
        found = attempt(shares, intent.price, market, seen.book, strategy, now)
        if not isinstance(found, Sale):
            if found == NO_BIDS:
                left_at = intent.price or 0
                self._floors[intent.id] = floor(left_at, market.tick, strategy.exit_floor_ratio)
            intents.wait(tx, intent, found, now_us=now)
            return None
        if intent.price is None and seen.book.bids:
            # He left at no price that we know: the first fresh bid is what the floor counts from.
            intents.change(tx, intent, target=intent.target, price=seen.book.bids[0][0], now_us=now)
        birth = Birth(self.signer, seen.owner, seen.skew_s, self.settings.execution.validity_s, now)
        try:
            terms = Terms(Side.SELL, found.kind, found.price, found.shares)
            return bear(tx, intent, market, terms, birth)
        except ValueError as error:
            intents.wait(tx, intent, f"no order can be made: {error}", now_us=now)
            return None

    def _strategy(self, intent: Intent) -> StrategySettings:
        return self.settings.strategy_for(leader_of(intent.portfolio))

    async def unrest(self) -> None:
        """Ask for the cancel of what rests and should not any more: stale, renewed, or halted."""
        await self.ledger.transact(self._unrest)
        failpoints.reach("cancel.asked")

    def _unrest(self, tx: Tx) -> None:
        control.fence(tx, self.boot_id)
        for order in self.unwanted(tx):
            orders.ask_cancel(tx, order.id, now_us=self.now_us())

    def unwanted(self, tx: Tx) -> list[Order]:
        """Return what rests, should not any more, and was not asked to go yet."""
        resting = [order for order in orders.resting(tx) if order.cancel_us is None]
        return [order for order in resting if self._should_go(tx, order)]

    def _should_go(self, tx: Tx, order: Order) -> bool:
        now = self.now_us()
        if order.state is not OrderState.OPEN and now < order.deadline_us:
            return False  # it may not have arrived yet: a cancel would prove nothing
        intent = intents.get(tx, order.intent_id)
        halted = control.read(tx, now_us=now).mode is ControlMode.HALTED
        old = now >= order.created_us + RENEW_S * MICRO
        return halted or old or intent is None or self._outdated(tx, order, intent)

    def _outdated(self, tx: Tx, order: Order, intent: Intent) -> bool:
        """Return whether a resting order offers another size or price than its intent wants now."""
        if intent.state is not IntentState.OPEN or intent.kind is not IntentKind.EXIT:
            return True
        left = order.shares - orders.filled(tx, order.id)[0]
        held = positions.shares_of(tx, intent.portfolio, intent.token)
        settled = held - orders.arriving(tx, intent.portfolio, intent.token)
        wanted = min(held - intent.target, settled)
        market = markets.last_known(tx, intent.condition)
        if market is None or intent.price is None:
            return abs(wanted - left) >= CENT
        least = floor(intent.price, market.tick, self._strategy(intent).exit_floor_ratio)
        return abs(wanted - left) >= CENT or least != order.price


def _due(intent: Intent, now_us: int) -> bool:
    """Return whether an exit's next look has come.

    Further away than any pause, a clock was set back.
    """
    return intent.due_us <= now_us or intent.due_us > now_us + 2 * intents.LAST_LOOK_S * MICRO


def _gate(tx: Tx, intent: Intent, *, now_us: int) -> str | None:
    """Return what of an exit's token was not compared with the exchange, or None."""
    if control.locked(tx, [control.UNCOMPARED], now_us=now_us) is not None:
        return "the ledger to be compared with the exchange"
    if control.locked(tx, [f"{control.IN_TOKEN}{intent.token}"], now_us=now_us) is not None:
        return "trades of this token that the ledger cannot read or does not know"
    return None


def _wallet(tx: Tx, intent: Intent, seen: Found, now_us: int, *, exactly: bool) -> str | None:
    """Return why the wallet's word does not let an exit go, or None where it does."""
    whole = positions.whole_in_wallet(tx, intent.token, now_us=now_us, skew_s=seen.skew_s)
    # An answer is about the moment at which it was asked for: what has moved since voids it.
    if whole is None or whole != seen.whole:
        return "shares of its token are being bought or have just moved"
    if seen.wallet_shares is None:
        return "the wallet does not answer"
    if seen.wallet_shares + CENT <= whole:
        return "the wallet has less than the portfolios"
    more = exactly and seen.wallet_shares >= whole + CENT
    return "the wallet has more than the portfolios" if more else None


def _asks_wallet(tx: Tx, intent: Intent, *, now_us: int) -> bool:
    """Return whether only the wallet's own balance may let an exit go."""
    return _gate(tx, intent, now_us=now_us) is not None or intents.doubted(tx, intent)
