"""Decide one signal: evaluate, check, reserve, sign and store, in one transaction."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from bot import failpoints
from bot.errors import InvariantBroken
from bot.execution.venue import BookSource, Venue
from bot.ledger import control, leaders, orders
from bot.ledger.db import Ledger, Tx
from bot.model import Book, Market, Order, OrderState, Proposal, Side, Signal, Skip, SkipReason, View
from bot.polymarket.amounts import Amounts, market_amounts
from bot.polymarket.fees import most
from bot.polymarket.orders import OrderSigner
from bot.risk import Usage, check, tripped
from bot.settings import Settings
from bot.strategy.base import Strategy
from bot.units import MICRO, printable, utc_day

#: An exit stopped by one of these is not over.
_TRY_AGAIN = frozenset({SkipReason.NO_LIQUIDITY, SkipReason.MARKET_CLOSED, SkipReason.HALTED, SkipReason.GUARD_ERROR})
_NO_BOOK = Book((), (), 0)


class Later(Enum):
    """The signal stays undecided for now."""

    BUSY = auto()  #: an order or fill of the same position is still moving
    GONE = auto()  #: somebody has decided it meanwhile


@dataclass(frozen=True, slots=True)
class Decider:
    """Turns signals into decisions. `boot_id` fences out an executor that outlived its successor."""

    ledger: Ledger
    venue: Venue
    books: BookSource
    signer: OrderSigner
    strategy: Strategy
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
        market = await self.venue.market(signal.condition)
        if market is None or signal.token not in market.tokens:
            return await self.ledger.transact(lambda tx: self._skip_unknown(tx, signal))
        await self.books.watch(list(market.tokens), max_age_us=self.settings.strategy.book_max_age_s * MICRO)
        failpoints.reach("decide.begun")
        return await self.ledger.transact(lambda tx: self._decide(tx, signal.id, market, stopping))

    async def give_up(self, signal: Signal) -> bool:
        """Skip an entry that has grown stale while the exchange was away; return whether it is decided now."""
        settings = self.settings.followed(signal.wallet)
        age_s = self.now_us() // MICRO - signal.traded_s
        if signal.side is Side.SELL or (settings is not None and age_s <= settings.max_signal_age_s):
            return False

        async def skip(tx: Tx) -> bool:
            if await orders.holds_other(tx, signal):
                return False  # buying the other side is an exit: it waits for the exchange
            if await leaders.undecided(tx, signal.id) is not None:
                await self._record(tx, signal, Skip(SkipReason.STALE, {"age_s": age_s, "exchange": "unavailable"}))
            return True

        return await self.ledger.transact(skip)

    async def _skip_unknown(self, tx: Tx, signal: Signal) -> Skip:
        skip = Skip(SkipReason.MARKET_UNKNOWN, {"condition": signal.condition})
        if await leaders.undecided(tx, signal.id) is not None:
            await self._record(tx, signal, skip)
        return skip

    async def _decide(self, tx: Tx, signal_id: str, market: Market, stopping: asyncio.Event) -> Order | Skip | Later:
        if stopping.is_set():
            return Later.BUSY
        if await control.newest_boot(tx, "executor") != self.boot_id:
            raise InvariantBroken("another executor was started on this ledger; this one stops")
        # Read again: the leader trade may have grown since it was queued.
        signal = await leaders.undecided(tx, signal_id)
        if signal is None:
            return Later.GONE
        if await orders.moving(tx, signal.wallet, signal.condition):
            return Later.BUSY
        wanted = await self._wanted(tx, signal, market)
        found: Proposal | Skip = wanted
        if isinstance(wanted, Proposal):
            if wanted.side is Side.SELL and await orders.arriving(tx, signal.wallet, signal.condition):
                return Later.BUSY
            found = check(wanted, await self._usage(tx, signal, wanted, market), self.settings.risk) or wanted
        if isinstance(found, Proposal):
            return await self._place(tx, signal, found, market)
        await self._record(tx, signal, found)
        rest = _to_sell(wanted)
        if found.reason in _TRY_AGAIN and rest is not None:
            # The leader has left all the same: late exits still run.
            await leaders.retry_exit(tx, signal.id, rest=rest, now_us=self.now_us())
        return found

    async def _wanted(self, tx: Tx, signal: Signal, market: Market) -> Proposal | Skip:
        try:
            wanted = await self._evaluate(tx, signal, market)
            if isinstance(wanted, Proposal):
                _amounts(wanted, market)
            return wanted
        except (ValueError, ArithmeticError) as error:
            # One odd signal must not stop those behind it.
            return Skip(SkipReason.GUARD_ERROR, {"error": printable(error)})

    async def _evaluate(self, tx: Tx, signal: Signal, market: Market) -> Proposal | Skip:
        settings = self.settings.followed(signal.wallet)
        if settings is None:
            return Skip(SkipReason.NOT_FOLLOWED, {})
        other = market.complement(signal.token)
        held = await orders.held(tx, signal, other)
        view = View(
            signal=signal,
            market=market,
            book=self.books.book(signal.token) or _NO_BOOK,
            complement_book=self.books.book(other) or _NO_BOOK,
            held=held.ours,
            held_complement=held.complement,
            held_opposite=held.complement_by_anyone,
            leader_complement=held.leader_complement,
            copied_before=bool(held.copied_before),
            now_us=self.now_us(),
        )
        return self.strategy.evaluate(view, settings)

    async def _usage(self, tx: Tx, signal: Signal, proposal: Proposal, market: Market) -> Usage:
        now = self.now_us()
        used = await orders.budget(tx, signal.condition, utc_day(now))
        scopes = [*control.EVERYWHERE, f"leader:{signal.wallet}", f"market:{signal.condition}"]
        state = await control.read(tx, now_us=now)
        return Usage(
            mode=state.mode,
            tripped=tripped(state.loss(utc_day(now), used.realized), state.errors, self.settings.risk),
            lock=await control.locked(tx, scopes, now_us=now),
            market_stake=used.stake_market + used.reserved_market,
            total_stake=used.stake + used.reserved,
            bought_today=used.bought + used.reserved,
            cash=used.cash - used.reserved,
            fee=most(proposal.usdc, market.fee_rate),
            skew_s=self.venue.skew_s,
        )

    async def _place(self, tx: Tx, signal: Signal, proposal: Proposal, market: Market) -> Order:
        now = self.now_us()
        buy = proposal.side is Side.BUY
        amounts = _amounts(proposal, market)
        signed = self.signer.sign(
            proposal.token, proposal.side, amounts, neg_risk=market.neg_risk, owner=self.venue.owner, now_us=now
        )
        failpoints.reach("decide.signed")
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
            reserved=amounts.making + most(amounts.making, market.fee_rate) if buy else 0,
            body=signed.body,
            state=OrderState.POSTING,
            created_us=now,
            deadline_us=now + self.settings.execution.validity_s * MICRO,
        )
        await orders.add(tx, order)
        await self._record(tx, signal, proposal, order.id)
        failpoints.reach("decide.written")
        return order

    async def _record(self, tx: Tx, signal: Signal, found: Proposal | Skip, order_id: str | None = None) -> None:
        await orders.decide(
            tx,
            signal,
            reason=found.reason if isinstance(found, Skip) else None,
            numbers=found.numbers,
            order_id=order_id,
            boot_id=self.boot_id,
            now_us=self.now_us(),
        )


def _to_sell(wanted: Proposal | Skip) -> int | None:
    """Return the shares that an exit wants to sell; None for an entry."""
    if isinstance(wanted, Proposal):
        return wanted.shares if wanted.side is Side.SELL else None
    shares = wanted.numbers.get("exit_shares")
    return shares if isinstance(shares, int) else None


def _amounts(proposal: Proposal, market: Market) -> Amounts:
    size = proposal.usdc if proposal.side is Side.BUY else proposal.shares
    return market_amounts(proposal.side, proposal.price, size, market.tick)
