"""POST: send an order's stored bytes and store what the answer proves.

A failure here proves nothing by itself: whatever was sent may have arrived.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

import structlog

from bot import failpoints
from bot.config.schema import Settings
from bot.errors import InvariantBroken
from bot.execution import fills
from bot.ledger import orders
from bot.ledger.db import Ledger, Tx
from bot.model.market import Side
from bot.model.order import (
    IN_FLIGHT,
    Accepted,
    Deferred,
    Order,
    OrderId,
    OrderState,
    Outcome,
    Rejected,
    RejectReason,
    Unknown,
)
from bot.model.units import MICRO
from bot.ports import MarketData, OrderVenue

logger = structlog.get_logger(__name__)

#: Business outcomes: they say nothing against us or the exchange.
_NO_ERROR = frozenset({RejectReason.MARKET_NOT_READY, RejectReason.CROSSES_BOOK})
#: Nothing here is put off for longer: bytes may be sent for five minutes at most, answers take one.
#: What is further away was noted before a clock was set back.
FAR_US = 600 * MICRO


@dataclass(slots=True)
class InFlight:
    """What this life remembers of orders in flight. None of it needs to survive it."""

    born_us: int
    not_before: dict[str, int] = field(default_factory=dict)  #: do not send or look before this
    heard: dict[str, int] = field(default_factory=dict)  #: when the exchange last spoke of it

    def keep(self, ids: set[str]) -> None:
        """Forget every order but these."""
        for known in (self.not_before, self.heard):
            for gone in known.keys() - ids:
                del known[gone]


class Poster:
    """Sends orders of one wallet."""

    def __init__(
        self,
        ledger: Ledger,
        venue: OrderVenue,
        data: MarketData,
        settings: Settings,
        in_flight: InFlight,
        now_us: Callable[[], int],
    ) -> None:
        self._ledger, self._venue, self._data = ledger, venue, data
        self._settings, self._in_flight, self._now = settings, in_flight, now_us

    async def send(self, order: Order, *, again: bool = False) -> None:
        """Send an order's bytes (`again`: they may have left before) and store what comes back."""
        sent_us = self._now()
        if sent_us >= order.deadline_us:
            return  # a FAK would execute at a stale moment; evidence or expiry ends it
        if again:
            if not await self._ledger.transact(_sending_again, order, now_us=sent_us):
                return
            failpoints.reach("resend.committed")
        failpoints.reach("post.begun")
        outcome = await self._venue.post(order)
        failpoints.reach("post.answered")
        self._in_flight.heard[order.id] = self._now()
        first = None if again else sent_us
        await self._ledger.transact(self._answered, order.id, outcome, first_sent_us=first)
        failpoints.reach("answer.committed")
        self._wait(order, outcome)
        if isinstance(outcome, Rejected) and outcome.reason is RejectReason.TICK:
            self._data.forget_market(order.condition)

    def _wait(self, order: Order, outcome: Outcome) -> None:
        now = self._now()
        if isinstance(outcome, Accepted) and outcome.status != "killed":
            self._in_flight.not_before[order.id] = now + MICRO // 2
        if isinstance(outcome, Deferred):
            later = now + (outcome.retry_after_s or 1) * MICRO
            self._in_flight.not_before[order.id] = min(later, max(order.deadline_us, now + MICRO))

    def _answered(
        self, tx: Tx, order_id: OrderId, outcome: Outcome, *, first_sent_us: int | None
    ) -> None:
        if first_sent_us is not None:
            orders.sent(tx, order_id, now_us=first_sent_us)
        order = orders.order(tx, order_id)
        if order is None:
            raise InvariantBroken(f"order {order_id} was sent and is not in the ledger")
        if order.state not in IN_FLIGHT:
            return
        proof = read(order, outcome, again=first_sent_us is None)
        now = self._now()
        if order.state is OrderState.OPEN:
            # The user channel spoke first; the answer still says how much has matched.
            orders.note_matched(tx, order_id, proof.matched)
        elif proof.state not in IN_FLIGHT:
            fills.end(tx, order, proof.state, now_us=now, reason=proof.reason)
        elif proof.state is not order.state:
            orders.move(
                tx, order, proof.state, now_us=now, matched=proof.matched, reason=proof.reason
            )
        fills.finish(tx, order, evidence_complete=False, now_us=now)
        fills.guard_breaker(tx, self._settings.risk, failed=proof.failed, now_us=now)
        failpoints.reach("answer.written")
        logger.info("order.answered", order=order_id, state=proof.state, reason=proof.reason)


def _sending_again(tx: Tx, order: Order, *, now_us: int) -> bool:
    """Record that the bytes leave once more; return False if they need not any more."""
    current = orders.order(tx, order.id)
    if current is None or current.state not in (OrderState.POSTING, OrderState.UNKNOWN):
        return False  # a fill has come meanwhile: it has landed
    orders.sent(tx, order.id, now_us=now_us)
    if current.state is OrderState.POSTING:
        # From here on only evidence may end it: an earlier send may have been booked.
        orders.move(tx, current, OrderState.UNKNOWN, now_us=now_us)
    return True


@dataclass(frozen=True, slots=True)
class Proof:
    """What an answer proves of an order: its state, the shares matched, why, and whose fault."""

    state: OrderState
    matched: int | None = None
    reason: str | None = None
    failed: bool | None = None  #: an error for the breaker, a success, or neither


def read(order: Order, outcome: Outcome, *, again: bool) -> Proof:
    """Return what an answer proves of an order.

    A refusal of bytes that were sent before proves nothing about the earlier send. Errors count
    once an order.
    """
    match outcome:
        case Accepted(status="matched"):
            matched = outcome.taker_amount if order.side is Side.BUY else outcome.maker_amount
            return Proof(OrderState.OPEN, matched or None, None, False)
        case Accepted(status="killed"):
            # It reached the book, and "killed" may hide a partial fill: evidence ends it.
            return Proof(OrderState.OPEN, None, f"killed: {outcome.text}", False)
        case Accepted(status="unmatched"):
            return Proof(OrderState.OPEN, None, "unmatched", False)
        case Accepted():
            return Proof(OrderState.OPEN, None, None, False)
        case Deferred():
            return Proof(order.state, None, outcome.cause)
        case Rejected() if again:
            return Proof(OrderState.UNKNOWN, None, f"{outcome.reason}: {outcome.text}")
        case Rejected():
            # Shares that are not there yet stop this exit, not the bot.
            early = order.side is Side.SELL and outcome.reason is RejectReason.NO_BALANCE
            failed = None if early else outcome.reason not in _NO_ERROR
            text = f"{outcome.reason}: {outcome.text}"
            return Proof(OrderState.REJECTED, None, text, failed)
        case Unknown():
            return Proof(OrderState.UNKNOWN, None, outcome.cause, None if again else True)
        case _:
            assert_never(outcome)
