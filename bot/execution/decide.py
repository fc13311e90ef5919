"""DECIDE an increase: evaluate, check, reserve, sign and store, in one transaction."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

import structlog

from bot import failpoints
from bot.config.schema import Settings
from bot.execution import allow, look
from bot.execution.attempt import Birth, Terms, bear
from bot.execution.enter import deadline
from bot.execution.leave import passed_over, raise_exit, raised
from bot.ledger import (
    agenda,
    bursts,
    control,
    covers,
    facts,
    intents,
    leaders,
    orders,
    positions,
    roster,
    signals,
)
from bot.ledger.db import Ledger, Tx
from bot.ledger.positions import Held
from bot.model.amounts import market_amounts
from bot.model.burst import Burst, joined
from bot.model.decision import Numbers, Proposal, Skip, SkipReason, View
from bot.model.intent import Cover, IntentKind, IntentState, leader_of
from bot.model.leader import Word
from bot.model.market import Book, Market, Side
from bot.model.order import Order, OrderKind
from bot.model.signal import Purchase, Signal
from bot.model.units import MICRO, printable
from bot.polymarket.signer import OrderSigner
from bot.ports import MarketData, OrderVenue
from bot.strategy import build

logger = structlog.get_logger(__name__)
#: Whether a leader trades both sides is told by so many seconds before his trade.
LATELY_S = 600
#: A purchase that is too old to follow, or nobody's, is no part of a burst.
_NO_PART = frozenset({SkipReason.STALE, SkipReason.NOT_FOLLOWED, SkipReason.MUTED})


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
        purchase = signal.purchase
        assert purchase is not None, "whatever is no increase is decided by leaving"
        if (seen := await self._see(purchase)) is None:
            return await self.ledger.transact(self._skip_unknown, signal)
        return await self.ledger.transact(self._decide, purchase, seen, stopping)

    async def at_once(self, purchase: Purchase, stopping: asyncio.Event) -> Order | Skip | Later:
        """Do the same for a purchase that nobody has looked at yet, if nothing comes before it.

        It stays undecided where something does, or where the exchange knows no such market.
        """
        if (seen := await self._see(purchase)) is None:
            return Later.GONE
        return await self.ledger.transact(self._decide, purchase, seen, stopping, alone=True)

    async def _see(self, purchase: Purchase) -> Seen | None:
        wallet = leader_of(purchase.portfolio)
        settings = self.settings.strategy_for(wallet)
        market = await look.at(
            self.data,
            purchase.condition,
            purchase.token,
            max_age_us=self.settings.strategy.book_max_age_s * MICRO,
            needs_book=settings.book == "required",
        )
        if market is None or purchase.token not in market.tokens:
            return None
        failpoints.reach("decide.begun")
        book = look.book(self.data, purchase.token)
        return Seen(market, book, self.venue.skew_s, self.venue.owner)

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
        settings = self.settings.strategy_for(signal.wallet)
        age_s = self.now_us() // MICRO - signal.traded_s
        if age_s <= settings.max_signal_age_s:
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
        self,
        tx: Tx,
        purchase: Purchase,
        seen: Seen,
        stopping: asyncio.Event,
        *,
        alone: bool = False,
    ) -> Order | Skip | Later:
        if stopping.is_set():
            return Later.BUSY
        control.fence(tx, self.boot_id)
        signal = self._read(tx, purchase, alone)
        if isinstance(signal, Later):
            return signal
        held = positions.held(tx, signal, seen.market.complement(signal.token))
        before = bursts.last(tx, signal.portfolio, signal.token)
        traded_us = signal.traded_s * MICRO
        burst = joined(before, signal.seen_us, traded_us, signal.shares, signal.usdc, held.ours)
        found = self._wanted(tx, signal, seen, held, burst)
        if isinstance(found, Proposal) or found.reason not in _NO_PART:
            bursts.store(tx, signal.portfolio, signal.token, burst)
        if isinstance(found, Proposal):
            skew_s, now = seen.skew_s, self.now_us()
            found = (
                allow.refused(
                    tx,
                    signal.portfolio,
                    found,
                    seen.market,
                    self.settings,
                    skew_s=skew_s,
                    now_us=now,
                )
                or found
            )
        if isinstance(found, Proposal):
            return self._place(tx, signal, found, burst, seen)
        self._pass(tx, signal, found)
        return found

    def _read(self, tx: Tx, purchase: Purchase, alone: bool) -> Signal | Later:
        # Read again: the leader trade may have grown since it was queued.
        signal = (agenda.alone if alone else signals.undecided)(tx, purchase.signal_id)
        if signal is None:
            return Later.GONE
        raise_exit(tx, signal, self.settings, signal.token, now_us=self.now_us())
        moving = not alone and orders.moving(tx, signal.portfolio, signal.condition)
        return Later.BUSY if moving else signal

    def _wanted(
        self, tx: Tx, signal: Signal, seen: Seen, held: Held, burst: Burst
    ) -> Proposal | Skip:
        try:
            wanted = self._evaluate(tx, signal, seen, held, burst)
            if isinstance(wanted, Proposal):
                market_amounts(Side.BUY, wanted.price, wanted.usdc, seen.market.tick)
            return wanted
        except (ValueError, ArithmeticError) as error:
            # One odd signal must not stop those behind it.
            return Skip(SkipReason.GUARD_ERROR, {"error": printable(error)})

    def _evaluate(
        self, tx: Tx, signal: Signal, seen: Seen, held: Held, burst: Burst
    ) -> Proposal | Skip:
        settings, now = self.settings.strategy_for(signal.wallet), self.now_us()
        listed = self.settings.lists(signal.wallet)
        if (word := roster.stands(tx, signal.wallet, listed=listed)) is not Word.FOLLOW:
            muted = word is Word.MUTE
            return Skip(SkipReason.MUTED if muted else SkipReason.NOT_FOLLOWED, {})
        if signal.group_shares <= 0:
            return Skip(SkipReason.REVERTED, {"tx": signal.tx})
        # Said before anything else: whoever closed a position asks why nothing is bought.
        closed = control.position(signal.portfolio, signal.token)
        if (why := control.locked(tx, [closed], now_us=now)) is not None:
            return Skip(SkipReason.POSITION_LOCKED, {"reason": why})
        since_s = signal.traded_s - LATELY_S
        view = View(
            signal=signal,
            market=seen.market,
            book=seen.book,
            held=held.ours,
            held_opposite=held.complement_by_anyone,
            exit_stands=intents.exit_stands_in(tx, signal.token),
            copied_before=bool(held.copied_before),
            burst=burst,
            spent=bursts.spent(tx, signal.portfolio, signal.token, burst.first_us),
            lately=(0, 0),
            provisional=self._is_early(tx, signal),
            now_us=now,
        )
        strategy = build(settings)
        found = strategy.evaluate(view)
        if isinstance(found, Skip):
            return found  # most are: his last ten minutes need not be added up for them
        lately = facts.both_ways(tx, signal.wallet, signal.condition, signal.token, since_s)
        return strategy.evaluate(replace(view, lately=lately))

    def _is_early(self, tx: Tx, signal: Signal) -> bool:
        if self.settings.detect.act_on != "provisional" or signal.trade_id is None:
            return False  # a bot that cannot see the chain, and risks no money, shows its size
        return facts.is_provisional(tx, signal.trade_id)

    def _place(self, tx: Tx, signal: Signal, proposal: Proposal, burst: Burst, seen: Seen) -> Order:
        now, held = self.now_us(), positions.shares_of(tx, signal.portfolio, signal.token)
        standing = intents.open_on(tx, signal.portfolio, signal.token)
        if standing is not None:
            # What it has not got yet is a part of what is wanted now.
            why = "a newer trade of his"
            intents.finish(tx, standing, IntentState.WITHDRAWN, now_us=now, why=why)
        settings = self.settings.strategy_for(signal.wallet)
        intent = intents.add(
            tx,
            IntentKind.ENTRY,
            signal.portfolio,
            signal.condition,
            signal.token,
            target=max(held, 0) + proposal.shares,
            price=proposal.price,
            budget=proposal.usdc,
            deadline_us=deadline(signal.traded_s, settings.max_signal_age_s, now_us=now),
            burst_us=burst.first_us,
            signal_id=signal.id,
            now_us=now,
        )
        # What he holds now is what our part is counted from, should he leave before this has ended.
        exposure = leaders.exposure_decided(tx, signal.wallet, signal.condition, signal.token)
        expected = Cover(intent.target, exposure)
        covers.store(tx, signal.portfolio, signal.token, expected, now_us=now)
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
