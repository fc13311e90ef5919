"""DECIDE one signal: evaluate, check, reserve, sign and store, in one transaction."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum, auto

import structlog

from bot import failpoints
from bot.config.schema import Settings
from bot.errors import InvariantBroken, Unavailable
from bot.ledger import control, leaders, markets, orders, positions
from bot.ledger.db import Ledger, Tx
from bot.model.amounts import CENT, Amounts, market_amounts
from bot.model.decision import Numbers, Proposal, Skip, SkipReason, View
from bot.model.fees import highest_fee
from bot.model.market import Book, Market, Side, TokenId
from bot.model.order import Order, OrderState
from bot.model.signal import Signal
from bot.model.units import MICRO, notional, printable, utc_day
from bot.polymarket.signer import OrderSigner
from bot.ports import MarketData, OrderVenue
from bot.risk.breaker import tripped
from bot.risk.guards import Usage, check
from bot.strategy import build

logger = structlog.get_logger(__name__)
#: An exit stopped by one of these is not over.
_TRY_AGAIN = frozenset(
    {
        SkipReason.BOOK_STALE,
        SkipReason.NO_LIQUIDITY,
        SkipReason.MARKET_CLOSED,
        SkipReason.HALTED,
        SkipReason.GUARD_ERROR,
    }
)
_NO_BOOK = Book((), (), 0)
#: A decision waits no longer than this for facts or books of its market: those behind it wait too.
PATIENCE_S = 3


class Later(Enum):
    """The signal stays undecided for now."""

    BUSY = auto()  #: an order or fill of the same position is still moving
    GONE = auto()  #: somebody has decided it meanwhile


@dataclass(frozen=True, slots=True)
class Seen:
    """What was known of the world when a decision began: frozen, because it goes to another thread."""

    market: Market
    book: Book
    complement_book: Book
    skew_s: int
    owner: str


@dataclass(frozen=True, slots=True)
class Decider:
    """Turns signals into decisions. `boot_id` fences out an executor that outlived its successor."""

    ledger: Ledger
    venue: OrderVenue
    data: MarketData
    signer: OrderSigner
    settings: Settings
    boot_id: int
    now_us: Callable[[], int]

    async def decide(self, signal: Signal, stopping: asyncio.Event) -> Order | Skip | Later:
        """Store the decision of a signal and return the order to post, the skip, or Later.

        Once `stopping` is set nothing is decided any more: it is looked at in the transaction
        that would give birth to the order, after everything that may have waited.

        Raises Unavailable if market facts are needed that the exchange does not give now, and
        InvariantBroken if another executor has been started on this ledger.
        """
        market = await self._facts(signal)
        if market is None or signal.token not in market.tokens:
            return await self.ledger.transact(self._skip_unknown, signal)
        max_age_us = self.settings.strategy.book_max_age_s * MICRO
        with suppress(TimeoutError):  # without a book the decision says so
            async with asyncio.timeout(PATIENCE_S):
                await self.data.watch(list(market.tokens), max_age_us=max_age_us)
        if await self._ledger_may_be_old(signal, market):
            return Later.BUSY
        failpoints.reach("decide.begun")
        seen = Seen(
            market,
            self.data.book(signal.token) or _NO_BOOK,
            self.data.book(market.complement(signal.token)) or _NO_BOOK,
            self.venue.skew_s,
            self.venue.owner,
        )
        return await self.ledger.transact(self._decide, signal.id, seen, stopping)

    async def _facts(self, signal: Signal) -> Market | None:
        """Return a market's facts; where nobody tells them, those last known serve an exit.

        One endpoint that hangs holds up nobody for longer than `PATIENCE_S`.
        """
        away: Unavailable | None = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                if (market := await self.data.market(signal.condition)) is not None:
                    return market
        except Unavailable as error:
            away = error
        except TimeoutError:
            away = Unavailable(f"no facts of market {signal.condition} within {PATIENCE_S} s")
        known, leaving = await self.ledger.look(_last_known, signal)
        if leaving and known is not None:
            return known
        if away is not None:
            raise away
        return None

    async def _ledger_may_be_old(self, signal: Signal, market: Market) -> bool:
        """Return whether an exit must wait because the wallet has less than the ledger says.

        One that was not compared with the exchange in this life yet asks the wallet: it must have
        what all positions add up to. No answer in time is no.
        """
        token, ours = await self.ledger.look(_uncompared, signal, market, now_us=self.now_us())
        if not ours:
            return False
        try:
            async with asyncio.timeout(PATIENCE_S):
                there = await self.venue.shares(token)
        except (TimeoutError, Unavailable) as error:
            logger.warning("exit.waits", signal=signal.id, error=str(error) or "no balance in time")
            return True
        if there + CENT <= ours:
            logger.warning("exit.waits", signal=signal.id, positions=ours, wallet=there)
        return there + CENT <= ours

    async def give_up(self, signal: Signal) -> bool:
        """Skip an entry that went stale while the exchange was away; return if it is decided."""
        settings = self.settings.followed(signal.wallet)
        age_s = self.now_us() // MICRO - signal.traded_s
        fresh = settings is not None and age_s <= settings.max_signal_age_s
        if signal.side is Side.SELL or fresh:
            return False

        def skip(tx: Tx) -> bool:
            if positions.holds_other(tx, signal):
                return False  # buying the other side is an exit: it waits for the exchange
            if leaders.undecided(tx, signal.id) is not None:
                numbers: Numbers = {"age_s": age_s, "exchange": "unavailable"}
                self._record(tx, signal, Skip(SkipReason.STALE, numbers))
            return True

        return await self.ledger.transact(skip)

    def _skip_unknown(self, tx: Tx, signal: Signal) -> Skip | Later:
        held = positions.shares_of(tx, signal.wallet, signal.token) >= CENT
        if (signal.side is Side.SELL and held) or positions.holds_other(tx, signal):
            return Later.BUSY  # an exit is ended by no missing fact: it is asked for again
        skip = Skip(SkipReason.MARKET_UNKNOWN, {"condition": signal.condition})
        if leaders.undecided(tx, signal.id) is not None:
            self._record(tx, signal, skip)
        return skip

    def _decide(
        self, tx: Tx, signal_id: str, seen: Seen, stopping: asyncio.Event
    ) -> Order | Skip | Later:
        if stopping.is_set():
            return Later.BUSY
        if control.newest_boot(tx, "executor") != self.boot_id:
            raise InvariantBroken("another executor was started on this ledger; this one stops")
        # Read again: the leader trade may have grown since it was queued.
        signal = leaders.undecided(tx, signal_id)
        if signal is None:
            return Later.GONE
        if orders.moving(tx, signal.wallet, signal.condition):
            return Later.BUSY
        wanted = self._wanted(tx, signal, seen)
        found: Proposal | Skip = wanted
        rest = _to_sell(wanted)
        if isinstance(wanted, Proposal):
            part = _settled_part(tx, signal, wanted, now_us=self.now_us())
            if part is None:
                return Later.BUSY
            wanted = found = part
            usage = self._usage(tx, signal, wanted, seen)
            found = check(wanted, usage, self.settings.risk) or wanted
        if isinstance(found, Proposal):
            order = self._place(tx, signal, found, seen)
            if rest is not None and rest - found.shares >= CENT:
                unsettled = rest - found.shares
                leaders.retry_exit(tx, signal.id, rest=unsettled, now_us=self.now_us())
            return order
        self._record(tx, signal, found)
        if found.reason in _TRY_AGAIN and rest is not None:
            # The leader has left all the same: late exits still run.
            leaders.retry_exit(tx, signal.id, rest=rest, now_us=self.now_us())
        return found

    def _wanted(self, tx: Tx, signal: Signal, seen: Seen) -> Proposal | Skip:
        try:
            wanted = self._evaluate(tx, signal, seen)
            if isinstance(wanted, Proposal):
                _amounts(wanted, seen.market)
            return wanted
        except (ValueError, ArithmeticError) as error:
            # One odd signal must not stop those behind it.
            return Skip(SkipReason.GUARD_ERROR, {"error": printable(error)})

    def _evaluate(self, tx: Tx, signal: Signal, seen: Seen) -> Proposal | Skip:
        settings = self.settings.followed(signal.wallet)
        held = positions.held(tx, signal, seen.market.complement(signal.token))
        if settings is None and not (signal.side is Side.SELL or held.complement):
            return Skip(SkipReason.NOT_FOLLOWED, {})
        # Not following stops entries only: what we hold of a leader follows him out.
        settings = settings or self.settings.strategy
        view = View(
            signal=signal,
            market=seen.market,
            book=seen.book,
            complement_book=seen.complement_book,
            held=held.ours,
            held_complement=held.complement,
            held_opposite=held.complement_by_anyone,
            leader_complement=held.leader_complement,
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
        state = control.read(tx, now_us=now)
        loss = state.loss(utc_day(now), used.realized)
        return Usage(
            mode=state.mode,
            tripped=tripped(loss, state.errors, self.settings.risk),
            lock=control.locked(tx, scopes, now_us=now),
            market_stake=used.stake_market + used.reserved_market,
            total_stake=used.stake + used.reserved,
            bought_today=used.bought + used.reserved,
            cash=used.cash - used.reserved,
            fee=highest_fee(proposal.usdc, seen.market.fee_rate),
            skew_s=seen.skew_s,
        )

    def _place(self, tx: Tx, signal: Signal, proposal: Proposal, seen: Seen) -> Order:
        now, market = self.now_us(), seen.market
        amounts = _amounts(proposal, market)
        signed = self.signer.sign(
            proposal.token,
            proposal.side,
            amounts,
            neg_risk=market.neg_risk,
            owner=seen.owner,
            now_us=now,
        )
        failpoints.reach("decide.signed")
        fee = highest_fee(amounts.making, market.fee_rate)
        order = Order(
            id=signed.id,
            signal_id=signal.id,
            wallet=signal.wallet,
            condition=signal.condition,
            token=proposal.token,
            side=proposal.side,
            price=proposal.price,
            making=amounts.making,
            taking=amounts.taking,
            reserved=amounts.making + fee if proposal.side is Side.BUY else 0,
            body=signed.body,
            state=OrderState.POSTING,
            created_us=now,
            deadline_us=now + self.settings.execution.validity_s * MICRO,
        )
        orders.add(tx, order)
        markets.learn(tx, market, now_us=now)
        self._record(tx, signal, proposal, order.id)
        failpoints.reach("decide.written")
        return order

    def _record(
        self, tx: Tx, signal: Signal, found: Proposal | Skip, order_id: str | None = None
    ) -> None:
        orders.decide(
            tx,
            signal,
            reason=found.reason if isinstance(found, Skip) else None,
            numbers=found.numbers,
            order_id=order_id,
            boot_id=self.boot_id,
            now_us=self.now_us(),
        )


def _last_known(tx: Tx, signal: Signal) -> tuple[Market | None, bool]:
    """Return the last known facts of a signal's market, and whether it may ask for an exit."""
    leaving = signal.side is Side.SELL or positions.holds_other(tx, signal)
    return markets.last_known(tx, signal.condition), leaving


def _uncompared(tx: Tx, signal: Signal, market: Market, *, now_us: int) -> tuple[TokenId, int]:
    """Return the token that a signal may ask us to sell, and how much of it all positions add up to.

    0 where the ledger has been compared with the exchange, or nothing would be sold.
    """
    selling = signal.side is Side.SELL
    token = signal.token if selling else market.complement(signal.token)
    compared = control.locked(tx, [control.UNCOMPARED], now_us=now_us) is None
    if compared or not (selling or positions.holds_other(tx, signal)):
        return token, 0
    return token, positions.in_market(tx, signal.condition).get(token, 0)


def _settled_part(tx: Tx, signal: Signal, wanted: Proposal, *, now_us: int) -> Proposal | None:
    """Return an exit's part that can be sold now, or None; the rest follows when it has arrived.

    The exchange refuses to sell shares that are not on the chain yet.
    """
    if wanted.side is Side.BUY:
        return wanted
    if control.locked(tx, [f"{control.IN_TOKEN}{wanted.token}"], now_us=now_us) is not None:
        return None  # trades of it are unknown here: it may have been sold long ago
    held = positions.shares_of(tx, signal.wallet, wanted.token)
    settled = max(held - orders.arriving(tx, signal.wallet, wanted.token), 0)
    shares = min(wanted.shares, settled - settled % CENT)
    if shares < CENT:
        return None
    return replace(wanted, shares=shares, usdc=notional(shares, wanted.price))


def _to_sell(wanted: Proposal | Skip) -> int | None:
    """Return the shares that an exit wants to sell; None for an entry."""
    if isinstance(wanted, Proposal):
        return wanted.shares if wanted.side is Side.SELL else None
    shares = wanted.numbers.get("exit_shares")
    return shares if isinstance(shares, int) else None


def _amounts(proposal: Proposal, market: Market) -> Amounts:
    size = proposal.usdc if proposal.side is Side.BUY else proposal.shares
    return market_amounts(proposal.side, proposal.price, size, market.tick)
