"""DECIDE an increase: evaluate, check, reserve, sign and store, in one transaction."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import structlog

from bot import failpoints
from bot.config.schema import Settings
from bot.execution import look
from bot.execution.attempt import Birth, Terms, bear
from bot.execution.leave import passed_over, raise_exit, raised
from bot.ledger import control, intents, leaders, orders, positions, signals
from bot.ledger.db import Ledger, Tx
from bot.model.amounts import market_amounts
from bot.model.decision import Numbers, Proposal, Skip, SkipReason, View
from bot.model.fees import highest_fee
from bot.model.intent import Cover, IntentKind
from bot.model.market import Book, Market, Side
from bot.model.order import Order, OrderKind
from bot.model.signal import Signal
from bot.model.units import MICRO, printable, utc_day
from bot.polymarket.signer import OrderSigner
from bot.ports import MarketData, OrderVenue
from bot.risk.breaker import tripped
from bot.risk.guards import Usage, check
from bot.strategy import build

logger = structlog.get_logger(__name__)


class Later(Enum):
    """The signal stays undecided for now."""

    BUSY = auto()  #: an order of the same position is still moving
    GONE = auto()  #: somebody has decided it meanwhile


@dataclass(frozen=True, slots=True)
class Seen:
    """What was known of the world when a decision began.

    It is frozen, because it goes to another thread.
    """

    market: Market
    book: Book
    skew_s: int
    owner: str


@dataclass(frozen=True, slots=True)
class Decider:
    """Turns signals into decisions.

    `boot_id` fences out an executor that outlived its successor.
    """

    ledger: Ledger
    venue: OrderVenue
    data: MarketData
    signer: OrderSigner
    settings: Settings
    boot_id: int
    now_us: Callable[[], int]

    async def decide(self, signal: Signal, stopping: asyncio.Event) -> Order | Skip | Later:
        """Store the decision of an increase and return the order to post, the skip, or Later.

        Once `stopping` is set nothing is decided any more: it is looked at in the transaction
        that would give birth to the order, after everything that may have waited.

        Raises Unavailable if market facts are needed that the exchange does not give now, and
        InvariantBroken if another executor has been started on this ledger.
        """
        market = await look.facts(self.data, signal.condition)
        if market is None or signal.token not in market.tokens:
            return await self.ledger.transact(self._skip_unknown, signal)
        max_age_us = self.settings.strategy.book_max_age_s * MICRO
        await look.watch(self.data, market.tokens, max_age_us=max_age_us)
        failpoints.reach("decide.begun")
        book = look.book(self.data, signal.token)
        seen = Seen(market, book, self.venue.skew_s, self.venue.owner)
        return await self.ledger.transact(self._decide, signal.id, seen, stopping)

    async def raise_standing(self, signal: Signal) -> None:
        """Let a standing exit know what an increase that cannot be decided yet means for it."""
        if await self.ledger.look(raised, signal, self.settings, signal.token) is None:
            return  # as it was at the last look: no transaction for nothing

        def write(tx: Tx) -> None:
            control.fence(tx, self.boot_id)
            if (fresh := signals.undecided(tx, signal.id)) is not None:
                raise_exit(tx, fresh, self.settings, fresh.token, now_us=self.now_us())

        await self.ledger.transact(write)

    async def give_up(self, signal: Signal) -> bool:
        """Skip an entry that went stale while the exchange was away; return if it is decided."""
        settings = self.settings.followed(signal.wallet)
        age_s = self.now_us() // MICRO - signal.traded_s
        if settings is not None and age_s <= settings.max_signal_age_s:
            return False

        def skip(tx: Tx) -> None:
            if signals.undecided(tx, signal.id) is not None:
                numbers: Numbers = {"age_s": age_s, "exchange": "unavailable"}
                self._pass(tx, signal, Skip(SkipReason.STALE, numbers))

        await self.ledger.transact(skip)
        return True

    def _skip_unknown(self, tx: Tx, signal: Signal) -> Skip:
        skip = Skip(SkipReason.MARKET_UNKNOWN, {"condition": signal.condition})
        if signals.undecided(tx, signal.id) is not None:
            self._pass(tx, signal, skip)
        return skip

    def _decide(
        self, tx: Tx, signal_id: str, seen: Seen, stopping: asyncio.Event
    ) -> Order | Skip | Later:
        if stopping.is_set():
            return Later.BUSY
        control.fence(tx, self.boot_id)
        # Read again: the leader trade may have grown since it was queued.
        signal = signals.undecided(tx, signal_id)
        if signal is None:
            return Later.GONE
        raise_exit(tx, signal, self.settings, signal.token, now_us=self.now_us())
        if orders.moving(tx, signal.portfolio, signal.condition):
            return Later.BUSY
        found = self._wanted(tx, signal, seen)
        if isinstance(found, Proposal):
            usage = self._usage(tx, signal, found, seen)
            found = check(found, usage, self.settings.risk) or found
        if isinstance(found, Proposal):
            return self._place(tx, signal, found, seen)
        self._pass(tx, signal, found)
        return found

    def _wanted(self, tx: Tx, signal: Signal, seen: Seen) -> Proposal | Skip:
        try:
            wanted = self._evaluate(tx, signal, seen)
            if isinstance(wanted, Proposal):
                market_amounts(Side.BUY, wanted.price, wanted.usdc, seen.market.tick)
            return wanted
        except (ValueError, ArithmeticError) as error:
            # One odd signal must not stop those behind it.
            return Skip(SkipReason.GUARD_ERROR, {"error": printable(error)})

    def _evaluate(self, tx: Tx, signal: Signal, seen: Seen) -> Proposal | Skip:
        settings = self.settings.followed(signal.wallet)
        if settings is None:
            return Skip(SkipReason.NOT_FOLLOWED, {})
        held = positions.held(tx, signal, seen.market.complement(signal.token))
        view = View(
            signal=signal,
            market=seen.market,
            book=seen.book,
            held=held.ours,
            held_opposite=held.complement_by_anyone,
            exit_stands=intents.exit_stands_in(tx, signal.token),
            copied_before=bool(held.copied_before),
            now_us=self.now_us(),
        )
        return build(settings).evaluate(view)

    def _usage(self, tx: Tx, signal: Signal, proposal: Proposal, seen: Seen) -> Usage:
        now = self.now_us()
        used = positions.budget(tx, signal.condition, utc_day(now))
        scopes = [
            *control.EVERYWHERE,
            f"leader:{signal.wallet}",
            f"market:{signal.condition}",
            f"{control.IN_TOKEN}{proposal.token}",
        ]
        closed = control.position(signal.portfolio, signal.token)
        state = control.read(tx, now_us=now)
        loss = state.loss(utc_day(now), used.realized)
        return Usage(
            mode=state.mode,
            tripped=tripped(loss, state.errors, self.settings.risk),
            lock=control.locked(tx, scopes, now_us=now),
            position_lock=control.locked(tx, [closed], now_us=now),
            market_stake=used.stake_market + used.reserved_market,
            total_stake=used.stake + used.reserved,
            bought_today=used.bought + used.reserved,
            cash=used.cash - used.reserved,
            fee=highest_fee(proposal.usdc, seen.market.fee_rate),
            skew_s=seen.skew_s,
        )

    def _place(self, tx: Tx, signal: Signal, proposal: Proposal, seen: Seen) -> Order:
        now, held = self.now_us(), positions.shares_of(tx, signal.portfolio, signal.token)
        intent = intents.add(
            tx,
            IntentKind.ENTRY,
            signal.portfolio,
            signal.condition,
            signal.token,
            target=max(held, 0) + proposal.shares,
            price=proposal.price,
            budget=proposal.usdc,
            signal_id=signal.id,
            now_us=now,
        )
        # What he holds now is what our part is counted from, should he leave before this has ended.
        exposure = leaders.exposure_decided(tx, signal.wallet, signal.condition, signal.token)
        expected = Cover(intent.target, exposure)
        intents.set_cover(tx, signal.portfolio, signal.token, expected, now_us=now)
        validity_s = self.settings.execution.validity_s
        birth = Birth(self.signer, seen.owner, seen.skew_s, validity_s, now)
        terms = Terms(Side.BUY, OrderKind.FAK, proposal.price, proposal.usdc)
        order = bear(tx, intent, seen.market, terms, birth)
        self._record(tx, signal, proposal.numbers, intent_id=intent.id)
        return order

    def _pass(self, tx: Tx, signal: Signal, skip: Skip) -> None:
        control.fence(tx, self.boot_id)
        self._record(tx, signal, skip.numbers, reason=skip.reason)
        passed_over(tx, signal, self.settings, now_us=self.now_us())

    def _record(
        self,
        tx: Tx,
        signal: Signal,
        numbers: Numbers,
        *,
        reason: SkipReason | None = None,
        intent_id: int | None = None,
    ) -> None:
        orders.decide(
            tx,
            signal,
            reason=reason,
            numbers=numbers,
            intent_id=intent_id,
            boot_id=self.boot_id,
            now_us=self.now_us(),
        )
