"""PROVE: ask the exchange what has become of our orders, until it has said so."""

from collections.abc import Callable

import structlog

from bot import failpoints
from bot.config.schema import Settings
from bot.errors import Unavailable
from bot.execution import fills
from bot.execution.send import FAR_US, InFlight, Poster
from bot.ledger import control, orders
from bot.ledger.db import Ledger, Tx
from bot.model.control import ControlMode
from bot.model.fill import Evidence
from bot.model.order import IN_FLIGHT, Order, OrderKind, OrderState
from bot.model.units import MICRO
from bot.ports import OrderVenue

logger = structlog.get_logger(__name__)
#: Lookups begin this long before the moment in question: the exchange tells whole seconds.
MARGIN_S = 60
#: What rests in a book is looked up this often: its fills are told without being asked.
RESTING_S = 5


class Prover:
    """Finds evidence for the orders and fills of one wallet, and books it."""

    def __init__(
        self,
        ledger: Ledger,
        venue: OrderVenue,
        poster: Poster,
        settings: Settings,
        in_flight: InFlight,
        now_us: Callable[[], int],
        news: Callable[[], None],
    ) -> None:
        self._ledger, self._venue, self._poster = ledger, venue, poster
        self._settings, self._in_flight, self._now = settings, in_flight, now_us
        self._news = news  #: called whenever something new was booked

    async def apply(self, evidence: Evidence) -> None:
        """Book every fill of ours, wherever it was seen. Safe to repeat, in any order."""
        for fill in evidence.fills:
            changed = await self._ledger.transact(
                fills.apply, fill, self._settings.risk, now_us=self._now()
            )
            if changed:
                failpoints.reach(f"{changed}.committed")
                self._news()

    async def settle(self, condition: str, oldest_us: int) -> None:
        """Look up how far a condition's unsettled fills are on their way to the chain."""
        try:
            found = await self._venue.fills(condition, after_s=oldest_us // MICRO - MARGIN_S)
        except Unavailable as error:
            logger.warning("fills.no_evidence", condition=condition, error=str(error))
            return
        await self.apply(found)

    async def resolve(self, order: Order) -> None:
        """Find evidence for an order in flight; send the same bytes again, or end it."""
        began = self._now()
        quiet = order.kind is OrderKind.GTD and order.cancel_us is None
        pause_s = RESTING_S if quiet and order.state is OrderState.OPEN else 1
        self._in_flight.not_before[order.id] = began + pause_s * MICRO
        try:
            if order.cancel_us is not None and order.cancelled_us is None:
                await self._cancel(order)
            live = await self._venue.order(order.id)
            # The exchange tells its own time: where our clock is ahead, ours would hide our trades.
            since_s = order.created_us // MICRO + min(self._venue.skew_s, 0) - MARGIN_S
            found = await self._venue.fills(order.condition, after_s=since_s)
        except Unavailable as error:
            logger.warning("order.no_evidence", order=order.id, error=str(error))
            return
        failpoints.reach("evidence.read")
        await self.apply(found)
        fresh = await self._ledger.look(orders.order, order.id)
        if fresh is None or fresh.state not in IN_FLIGHT:
            return
        if live is not None:
            self._in_flight.heard[order.id] = self._now()
            if fresh.state is not OrderState.OPEN:
                await self._ledger.transact(_moved, fresh, OrderState.OPEN, now_us=self._now())
                self._news()
        elif found.unreadable:
            # One of the rows that nobody could read may be its fill.
            logger.warning(
                "order.unreadable", order=order.id, rows=[row.why for row in found.unreadable[:3]]
            )
        else:
            await self._unseen(fresh, began)

    async def _cancel(self, order: Order) -> None:
        failpoints.reach("cancel.begun")
        try:
            cancelled = await self._venue.cancel(order.id)
        except Unavailable as error:
            # It may have been done all the same: evidence is looked for whatever becomes of it.
            logger.warning("cancel.unanswered", order=order.id, error=str(error))
            return
        failpoints.reach("cancel.answered")
        if cancelled:
            await self._ledger.transact(orders.note_cancelled, order.id, now_us=self._now())
            self._news()
            failpoints.reach("cancel.committed")

    async def _unseen(self, order: Order, began: int) -> None:
        """Decide about an order that the exchange does not hold and whose fills are booked."""
        lag = self._settings.execution.evidence_lag_s * MICRO
        if order.kind is OrderKind.GTD and not self._off_the_book(order, began, lag):
            # A book that may still have it: that a lookup does not find it proves nothing.
            if order.state is not OrderState.OPEN and self._now() < order.deadline_us:
                await self._send_again(order)
            return
        # The lag counts from the last moment at which it may have been accepted. A first send is
        # recorded with its answer: without one it may have happened as late as the deadline.
        sent_by = order.last_sent_us or order.deadline_us
        landed_by = sent_by + self._settings.execution.timeout_s * MICRO
        if order.state is OrderState.OPEN:
            heard = self._in_flight.heard.get(order.id)
            since = max(self._in_flight.born_us, landed_by) if heard is None else heard
            if since > began + FAR_US:
                # The clock was set back: the lag counts from here.
                self._in_flight.heard[order.id] = began
            elif began >= since + lag:
                await self._ledger.transact(
                    fills.finish, order, evidence_complete=True, now_us=self._now()
                )
                self._news()
        elif self._now() < order.deadline_us:
            await self._send_again(order)
        elif began >= max(order.deadline_us, landed_by) + lag:
            await self._ledger.transact(_expired, order, now_us=self._now())
            self._news()

    async def _send_again(self, order: Order) -> None:
        # The same bytes: the exchange answers Duplicated if an earlier send has landed. What was
        # asked to go is not sent: an exchange that has forgotten it would let it rest anew.
        if order.cancel_us is None and not await self._ledger.look(_halted, now_us=self._now()):
            await self._poster.send(order, again=True)
            self._news()

    def _off_the_book(self, order: Order, began: int, lag: int) -> bool:
        """Return whether a book has dropped a resting order.

        Its last fills must have had time to show, too.
        """
        if order.cancelled_us is not None and began >= order.cancelled_us + lag:
            return True
        there = began + self._venue.skew_s * MICRO
        return order.expires_us is not None and there >= order.expires_us + lag


def _halted(tx: Tx, *, now_us: int) -> bool:
    return control.read(tx, now_us=now_us).mode is ControlMode.HALTED


def _moved(tx: Tx, order: Order, state: OrderState, *, now_us: int) -> None:
    current = orders.order(tx, order.id)
    if current is not None and current.state is order.state:
        orders.move(tx, current, state, now_us=now_us)
        logger.info("order.moved", order=order.id, state=state)


def _expired(tx: Tx, order: Order, *, now_us: int) -> None:
    current = orders.order(tx, order.id)
    if current is not None and current.state is order.state:
        reason = "no evidence before its deadline"
        fills.end(tx, current, OrderState.EXPIRED, now_us=now_us, reason=reason)
        logger.info("order.moved", order=order.id, state=OrderState.EXPIRED)
