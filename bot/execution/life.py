"""Carry every order to a proven end. Every line may be the last one; a restart continues here."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import assert_never

import structlog

from bot import failpoints
from bot.errors import Unavailable
from bot.execution import booking
from bot.execution.decide import Decider, Later
from bot.execution.venue import Venue
from bot.ledger import control, leaders, orders
from bot.ledger.db import Ledger, Tx
from bot.model import (
    IN_FLIGHT,
    Accepted,
    ControlMode,
    Market,
    Order,
    OrderId,
    OrderState,
    Outcome,
    Rejected,
    RejectReason,
    Signal,
    Skip,
    Unknown,
    move,
)  # fmt: skip
from bot.polymarket import wire
from bot.settings import Settings
from bot.units import MICRO

logger = structlog.get_logger(__name__)

#: Business outcomes: they say nothing against us or the exchange.
_NO_ERROR = frozenset({RejectReason.MARKET_NOT_READY, RejectReason.CROSSES_BOOK})
#: Decided signals in one pass of the loop.
BATCH = 1000


class Executor:
    """Decides signals one after another; posts and settles orders side by side."""

    def __init__(
        self, ledger: Ledger, venue: Venue, decider: Decider, settings: Settings, now_us: Callable[[], int]
    ) -> None:
        self._ledger, self._venue, self._decider, self._settings, self._now = ledger, venue, decider, settings, now_us
        self.doorbell = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waits: dict[str, int] = {}  #: order id -> do not send or look before this moment
        #: order id -> when the exchange last spoke of it; an earlier life's orders: when this one began
        self._heard: dict[str, int] = {}
        self._born_us = now_us()
        self._fills_due_us = 0
        self._failure: BaseException | None = None
        self.progress_us: int | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then let what is being sent come to its answer.

        Startup is recovery: the first pass settles what an earlier life left in flight, before
        any new signal is decided.
        """
        await self.settle(first=True)
        while not stopping.is_set():
            self.doorbell.clear()
            more = await self._decide_pending(stopping)
            await self.settle()
            self.progress_us = self._now()
            if not more:
                await self._wait(stopping)
        if self._tasks:
            # What is still running after this is only looking; its rows carry on in the next life.
            _, late = await asyncio.wait(self._tasks.values(), timeout=self._settings.runtime.drain_s)
            for task in late:
                task.cancel()

    async def _wait(self, stopping: asyncio.Event) -> None:
        # Doorbell, stop, or a second: whichever comes first. The second is the safety net.
        waits = [asyncio.create_task(self.doorbell.wait()), asyncio.create_task(stopping.wait())]
        await asyncio.wait(waits, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    async def _decide_pending(self, stopping: asyncio.Event) -> bool:
        signals = await self._ledger.transact(lambda tx: leaders.pending(tx, BATCH, now_us=self._now()))
        waiting: set[tuple[str, str]] = set()
        progressed = False
        for signal in signals:
            position = (signal.wallet, signal.condition)
            # Signals of one position are decided in order, so a waiting exit holds back what follows.
            if stopping.is_set() or position in waiting:
                continue
            if await self._decide(signal, stopping):
                progressed = True
            else:
                waiting.add(position)
        return progressed and len(signals) == BATCH

    async def _decide(self, signal: Signal, stopping: asyncio.Event) -> bool:
        try:
            found = await self._decider.decide(signal, stopping)
        except Unavailable as error:
            logger.warning("signal.waits", signal=signal.id, error=str(error))
            return await self._decider.give_up(signal)
        if found is Later.BUSY:
            return False
        if isinstance(found, Order):
            failpoints.reach("decide.committed")
            self._spawn(found.id, self._send(found))
        elif isinstance(found, Skip):
            logger.info("signal.skipped", signal=signal.id, reason=found.reason)
        return True

    def _spawn(self, order_id: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks[order_id] = task
        task.add_done_callback(lambda done: self._done(order_id, done))

    def _done(self, order_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(order_id, None)
        self.doorbell.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            logger.error("order.task_failed", order=order_id, error=f"{type(error).__name__}: {error}")

    async def settle(self, *, first: bool = False) -> None:
        """Look after every order in flight and every fill that is not final."""
        if self._failure is not None:
            raise self._failure
        flying = await self._ledger.transact(orders.in_flight)
        for known in (self._waits, self._heard):
            for gone in known.keys() - {order.id for order in flying}:
                del known[gone]
        due = [o for o in flying if o.id not in self._tasks and self._waits.get(o.id, 0) <= self._now()]
        for order in due:
            self._spawn(order.id, self._resolve(order))
        if first and due:
            logger.info("recovery", orders=len(due))
            failpoints.reach("recovery.begun")
            await asyncio.gather(*list(self._tasks.values()))
        if self._fills_due_us <= self._now():
            self._fills_due_us = self._now() + self._settings.execution.settle_poll_s * MICRO
            unsettled = await self._ledger.transact(orders.unsettled)
            for condition in sorted({condition for _, condition in unsettled}):
                oldest = min(f.matched_us for f, c in unsettled if c == condition)
                if f"fills:{condition}" not in self._tasks:
                    self._spawn(f"fills:{condition}", self._refresh(condition, oldest))

    async def _send(self, order: Order, *, again: bool = False) -> None:
        """Send an order's bytes and store what the answer proves."""
        sent_us = self._now()
        if sent_us >= order.deadline_us:
            return  # a FAK would execute at a stale moment; evidence or expiry ends it
        if again:
            await self._ledger.transact(lambda tx: self._sending_again(tx, order, sent_us))
            failpoints.reach("resend.committed")
        failpoints.reach("post.begun")
        outcome = await self._venue.post(order)
        failpoints.reach("post.answered")
        self._heard[order.id] = self._now()
        await self._ledger.transact(lambda tx: self._answered(tx, order.id, outcome, None if again else sent_us))
        failpoints.reach("answer.committed")
        if isinstance(outcome, Accepted):
            self._waits[order.id] = self._now() + MICRO // 2
        if isinstance(outcome, Rejected) and outcome.reason is RejectReason.BUSY:
            wait = self._now() + (outcome.retry_after_s or 1) * MICRO
            self._waits[order.id] = min(wait, max(order.deadline_us, self._now() + MICRO))
        if isinstance(outcome, Rejected) and outcome.reason is RejectReason.TICK:
            self._venue.forget_market(order.condition)

    async def _sending_again(self, tx: Tx, order: Order, now_us: int) -> None:
        # From here on only evidence may end it: an earlier send may have been booked.
        await orders.sent(tx, order.id, now_us=now_us)
        if order.state is OrderState.POSTING:
            await orders.set_state(tx, order.id, move(order.state, OrderState.UNKNOWN))

    async def _answered(self, tx: Tx, order_id: OrderId, outcome: Outcome, first_sent_us: int | None) -> None:
        if first_sent_us is not None:
            await orders.sent(tx, order_id, now_us=first_sent_us)
        order = await orders.order(tx, order_id)
        assert order is not None
        state, matched, reason, failed = _read(order, outcome, again=first_sent_us is None)
        if order.state is OrderState.OPEN:
            # The user channel announced fills before the answer came; it still says how much matched.
            state, reason = OrderState.OPEN, None
            await orders.set_state(tx, order_id, state, matched=matched)
        elif order.state not in (OrderState.POSTING, OrderState.UNKNOWN):
            return
        elif state in IN_FLIGHT and state is not order.state:
            await orders.set_state(tx, order_id, move(order.state, state), matched=matched, reason=reason)
        elif state not in IN_FLIGHT:
            await booking.end(tx, order, state, now_us=self._now(), reason=reason)
        await booking.finish(tx, order, evidence_complete=False, now_us=self._now())
        await booking.guard_breaker(tx, self._settings.risk, failed=failed, now_us=self._now())
        failpoints.reach("answer.written")
        logger.info("order.answered", order=order_id, state=state, reason=reason)

    async def _resolve(self, order: Order) -> None:
        """Find evidence for an order in flight; send the same bytes again, or end it."""
        began, lag = self._now(), self._settings.execution.evidence_lag_s * MICRO
        self._waits[order.id] = began + MICRO
        try:
            live = await self._venue.order(order.id)
            trades = await self._venue.trades(order.condition, after_s=order.created_us // MICRO - 60)
            failpoints.reach("evidence.read")
            await self.book(trades)
        except Unavailable as error:
            logger.warning("order.no_evidence", order=order.id, error=str(error))
            return
        fresh = await self._ledger.transact(lambda tx: orders.order(tx, order.id))
        if fresh is None or fresh.state not in (OrderState.POSTING, OrderState.UNKNOWN, OrderState.OPEN):
            return
        # The lag counts from the last moment at which the exchange may have accepted it. A first send
        # is recorded with its answer: without one it may have happened as late as the deadline.
        landed_by = (fresh.last_sent_us or fresh.deadline_us) + self._settings.execution.timeout_s * MICRO
        if live is not None:
            self._heard[order.id] = self._now()
            if fresh.state is not OrderState.OPEN:
                await self._move(fresh, OrderState.OPEN)
        elif fresh.state is OrderState.OPEN:
            if began >= self._heard.get(order.id, max(self._born_us, landed_by)) + lag:
                await self._ledger.transact(
                    lambda tx: booking.finish(tx, fresh, evidence_complete=True, now_us=self._now())
                )
        elif self._now() < fresh.deadline_us:
            # The same bytes: the exchange answers Duplicated if an earlier send has landed.
            if not await self._ledger.transact(self._halted):
                await self._send(fresh, again=True)
        elif began >= max(fresh.deadline_us, landed_by) + lag:
            await self._move(fresh, OrderState.EXPIRED, reason="no evidence before its deadline")

    async def _halted(self, tx: Tx) -> bool:
        return (await control.read(tx, now_us=self._now())).mode is ControlMode.HALTED

    async def _move(self, order: Order, state: OrderState, reason: str | None = None) -> None:
        async def store(tx: Tx) -> None:
            current = await orders.order(tx, order.id)
            if current is None or current.state is not order.state:
                return
            if state in IN_FLIGHT:
                await orders.set_state(tx, order.id, move(order.state, state), reason=reason)
            else:
                await booking.end(tx, current, state, now_us=self._now(), reason=reason)

        await self._ledger.transact(store)
        logger.info("order.moved", order=order.id, state=state)

    async def _refresh(self, condition: str, oldest_us: int) -> None:
        try:
            await self.book(await self._venue.trades(condition, after_s=oldest_us // MICRO - 60))
        except Unavailable as error:
            logger.warning("fills.no_evidence", condition=condition, error=str(error))

    async def book(self, trades: list[wire.Trade]) -> None:
        """Book our part of trades, wherever they were seen; unknown orders are not ours to book.

        Raises Unavailable if a trade or its market cannot be read.
        """
        for trade in trades:
            ids = dict.fromkeys((trade.taker_order_id, *(maker.order_id for maker in trade.maker_orders)))
            market = await self._venue.market(trade.market.lower())
            if market is None:
                raise Unavailable(f"market {trade.market[:20]} of our trade {trade.id[:40]} is unknown")
            for order_id in ids:
                await self._book_one(trade, OrderId(order_id), market)

    async def _book_one(self, trade: wire.Trade, order_id: OrderId, market: Market) -> None:
        async def store(tx: Tx) -> str | None:
            order = await orders.order(tx, order_id)
            fill = wire.our_fill(trade, order_id, market) if order is not None else None
            if order is None or fill is None:
                return None
            now = self._now()
            changed = await booking.book(tx, order, booking.at(fill, now), now_us=now)
            if order.state in (OrderState.POSTING, OrderState.UNKNOWN):
                # A trade is proof that the order landed, whatever became of the answer.
                await orders.set_state(tx, order_id, move(order.state, OrderState.OPEN))
                await booking.guard_breaker(tx, self._settings.risk, failed=False, now_us=now)
            if changed:
                await booking.finish(tx, order, evidence_complete=False, now_us=now)
                await booking.guard_breaker(tx, self._settings.risk, failed=None, now_us=now)
                failpoints.reach(f"{changed}.written")
            return changed

        try:
            if changed := await self._ledger.transact(store):
                failpoints.reach(f"{changed}.committed")
                self.doorbell.set()
        except wire.BadInput as error:
            # Never "no fill": whoever asked for evidence has none as long as this is unreadable.
            raise Unavailable(f"trade {trade.id[:80]}: {error}") from None


def _read(order: Order, outcome: Outcome, *, again: bool) -> tuple[OrderState, int | None, str | None, bool | None]:
    """Return (state, matched shares, reason, failed) that an answer proves for an order.

    A refusal of bytes that were sent before proves nothing about the earlier send. Errors count
    once an order.
    """
    match outcome:
        case Accepted(status="matched"):
            return OrderState.OPEN, (outcome.taking if order.side == "BUY" else outcome.making) or None, None, False
        case Accepted(status="unmatched"):
            return OrderState.OPEN, None, "unmatched", False
        case Accepted():
            return OrderState.OPEN, None, None, False
        case Rejected(reason=RejectReason.BUSY):
            return order.state, None, outcome.text, None
        case Rejected(reason=RejectReason.NO_MATCH):
            # It reached the book, and a "killed" reply may hide a partial fill: evidence ends it.
            return OrderState.OPEN, None, f"{outcome.reason}: {outcome.text}", False
        case Rejected() if again:
            return OrderState.UNKNOWN, None, f"{outcome.reason}: {outcome.text}", None
        case Rejected():
            harmless = outcome.reason in _NO_ERROR
            # Shares that are not there yet stop this exit, not the bot.
            early = order.side == "SELL" and outcome.reason is RejectReason.NO_BALANCE
            failed = None if early or again else not harmless
            return OrderState.REJECTED, None, f"{outcome.reason}: {outcome.text}", failed
        case Unknown():
            return OrderState.UNKNOWN, None, outcome.cause, None if again else True
        case _:
            assert_never(outcome)
