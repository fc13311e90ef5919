"""Carry every signal and every order to its end.

Every line may be the last one; a restart continues here. Nothing in a pass waits for the network:
what has to, goes on beside it, each position and each intent on its own.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import groupby

import structlog

from bot import failpoints
from bot.config.schema import Settings
from bot.errors import Unavailable
from bot.execution.decide import Decider, Later
from bot.execution.drive import Driver
from bot.execution.enter import Enterer
from bot.execution.evidence import Prover
from bot.execution.leave import Leaver
from bot.execution.send import FAR_US, InFlight, Poster
from bot.execution.settle import settle
from bot.ledger import agenda, intents, markets, orders
from bot.ledger.db import Ledger, Tx
from bot.model.decision import Skip
from bot.model.intent import Intent, IntentKind
from bot.model.order import Order
from bot.model.signal import Purchase, Signal
from bot.model.units import MICRO

logger = structlog.get_logger(__name__)
#: Signals read in one look.
BATCH = 200
#: Positions whose entries are decided side by side: each may wait for a market of its own.
SIDE_BY_SIDE = 200
#: Ended markets are looked for so often: they read every position.
ENDS_S = 1


@dataclass(frozen=True, slots=True)
class _Agenda:
    """What there is to do, as one look has found it."""

    leaving: list[Signal]
    raising: list[Signal]
    entering: list[Signal]
    exits: list[Intent]
    entries: list[Intent]
    flying: list[Order]
    unwanted: list[Order]
    ended: list[str]  #: conditions of ended markets in which something is held or wished


class Loop:
    """Decides exits first, entries side by side; posts and settles orders beside them."""

    def __init__(
        self,
        ledger: Ledger,
        decider: Decider,
        leaver: Leaver,
        driver: Driver,
        enterer: Enterer,
        poster: Poster,
        prover: Prover,
        settings: Settings,
        in_flight: InFlight,
        doorbell: asyncio.Event,
        now_us: Callable[[], int],
    ) -> None:
        self._ledger, self._settings, self._now = ledger, settings, now_us
        self._decider, self._poster, self._prover = decider, poster, prover
        self._leaver, self._driver, self._enterer = leaver, driver, enterer
        self._in_flight, self._doorbell = in_flight, doorbell
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deciding: set[agenda.Position] = set()
        self._passed_by: set[agenda.Position] = set()  #: being decided when it was last looked
        self._fills_due_us = self._ends_due_us = 0
        self._failure: BaseException | None = None
        self._at_work: asyncio.Event | None = None  #: what stops it, once what was left is settled
        self.progress_us: int | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then let what is being sent come to its answer.

        Startup is recovery: the first pass settles what an earlier life left in flight, before
        any new signal is decided.
        """
        await self._recover()
        self._at_work = stopping
        try:
            while not stopping.is_set():
                self._doorbell.clear()
                await self._pass(stopping)
                self.progress_us = self._now()
                await self._wait(stopping)
        finally:
            self._at_work = None
        await self._drain()

    async def _drain(self) -> None:
        # Again and again: what is decided in the last moment is sent meanwhile.
        now = asyncio.get_running_loop().time
        end = now() + self._settings.runtime.drain_s
        while self._tasks and (left := end - now()) > 0:
            await asyncio.wait(self._tasks.values(), timeout=left)
        # What still runs after this is only looking; its rows carry on in the next life.
        for task in self._tasks.values():
            task.cancel()

    def ring(self, purchase: Purchase | None = None) -> None:
        """Look at what there is to do; a purchase whose position is free is decided at once."""
        stopping = self._at_work
        if purchase is None or stopping is None or stopping.is_set() or self._failure is not None:
            self._doorbell.set()
            return
        position = (purchase.portfolio, purchase.condition)
        if position in self._deciding or len(self._deciding) >= SIDE_BY_SIDE:
            self._doorbell.set()
            return
        self._deciding.add(position)
        work = self._decide_at_once(position, purchase, stopping)
        self._spawn(f"position:{'/'.join(position)}", work, rings=False)

    async def _wait(self, stopping: asyncio.Event) -> None:
        # Doorbell, stop, or a second: whichever comes first. The second is the safety net.
        if self._doorbell.is_set():
            await asyncio.sleep(0)
            return
        waits = [
            asyncio.create_task(self._doorbell.wait(), name="loop.doorbell"),
            asyncio.create_task(stopping.wait(), name="loop.stopping"),
        ]
        await asyncio.wait(waits, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    async def _recover(self) -> None:
        """Look after every order that an earlier life left in flight, and wait for the answers."""
        flying = await self._ledger.look(orders.in_flight)
        await self._settle(flying)
        if flying and self._tasks:
            logger.info("recovery", orders=len(flying))
            failpoints.reach("recovery.begun")
            await asyncio.gather(*list(self._tasks.values()))

    async def _pass(self, stopping: asyncio.Event) -> None:
        if self._failure is not None:
            raise self._failure
        found = await self._look()
        if found.leaving:
            await self._leave(found.leaving, stopping)
            found = await self._look()
        for condition in found.ended:
            await self._ledger.transact(settle, condition, self._settings.risk, now_us=self._now())
            logger.info("market.settled", condition=condition)
        if found.unwanted:
            await self._driver.unrest()
        self._drive(found, stopping)
        for signal in found.raising:
            await self._decider.raise_standing(signal)
        self._enter(found.entering, stopping)
        await self._settle(found.flying)

    async def _look(self) -> _Agenda:
        now, busy = self._now(), tuple(self._deciding)
        self._passed_by = set(busy)
        if ends := not now < self._ends_due_us < now + FAR_US:
            self._ends_due_us = now + ENDS_S * MICRO

        def read(tx: Tx) -> _Agenda:
            return _Agenda(
                leaving=agenda.leaving(tx, BATCH),
                raising=agenda.raising(tx, BATCH),
                entering=agenda.entering(tx, busy, BATCH) if len(busy) < SIDE_BY_SIDE else [],
                exits=intents.exits(tx),
                entries=intents.entries(tx, now),
                flying=orders.in_flight(tx),
                unwanted=self._driver.unwanted(tx),
                ended=markets.to_settle(tx) if ends else [],
            )

        return await self._ledger.look(read)

    async def _leave(self, leaving: list[Signal], stopping: asyncio.Event) -> None:
        """Decide exits, before any entry: they need nobody's answer."""
        for signal in leaving:
            if stopping.is_set():
                return
            found = await self._ledger.transact(
                self._leaver.decide,
                signal.id,
                bid=self._driver.data.last_bid(signal.token),
                now_us=self._now(),
            )
            if found is not None:
                failpoints.reach("leave.committed")
                reason = found.reason if isinstance(found, Skip) else None
                logger.info("signal.left", signal=signal.id, reason=reason)
        if len(leaving) == BATCH:
            self._doorbell.set()

    def _drive(self, found: _Agenda, stopping: asyncio.Event) -> None:
        """Let every intent that is due look for its next attempt, each on its own."""
        moving: set[tuple[str, str]] = {(o.portfolio, o.token) for o in found.flying}
        for intent in [*self._driver.due(found.exits, moving), *found.entries]:
            if (name := f"intent:{intent.id}") not in self._tasks and not stopping.is_set():
                self._spawn(name, self._attempt(intent, stopping))

    async def _attempt(self, intent: Intent, stopping: asyncio.Event) -> None:
        entry = intent.kind is IntentKind.ENTRY
        go_on = self._enterer.enter if entry else self._driver.drive
        order = await go_on(intent, stopping)
        if order is not None:
            await self._poster.send(order)

    def _enter(self, entering: list[Signal], stopping: asyncio.Event) -> None:
        """Let the entries of each position be decided, in their order, beside all others."""
        if stopping.is_set():
            return
        for position, signals in groupby(sorted(entering, key=_position), key=_position):
            if len(self._deciding) >= SIDE_BY_SIDE:
                self._doorbell.set()
                return
            if position in self._deciding:
                self._doorbell.set()  # it has rung since the look
                continue
            self._deciding.add(position)
            work = self._decide(position, list(signals), stopping)
            self._spawn(f"position:{'/'.join(position)}", work, rings=False)

    async def _decide(
        self, position: agenda.Position, signals: list[Signal], stopping: asyncio.Event
    ) -> None:
        try:
            for _, alike in groupby(signals, key=lambda signal: signal.token):
                first, *others = alike
                if not await self._decided(first, stopping):
                    return
                # Now everything is at hand: they ask in one turn, so they share a transaction,
                # each undone alone, and one that buys lets those behind it wait.
                ends = await asyncio.gather(*(self._decided(each, stopping) for each in others))
                if not all(ends):
                    return
        finally:
            self._deciding.discard(position)
        if len(signals) > 1 or position in self._passed_by:
            self._doorbell.set()  # there may be more of them

    async def _decide_at_once(
        self, position: agenda.Position, purchase: Purchase, stopping: asyncio.Event
    ) -> None:
        found: Order | Skip | Later = Later.GONE
        try:
            found = await self._decider.at_once(purchase, stopping)
            self._tell(purchase.signal_id, found)
        except Unavailable as error:
            logger.warning("signal.waits", signal=purchase.signal_id, error=str(error))
        finally:
            self._deciding.discard(position)
        if isinstance(found, Later) or position in self._passed_by:
            self._doorbell.set()  # the look decides

    async def _decided(self, signal: Signal, stopping: asyncio.Event) -> bool:
        """Decide on one entry; return whether the next one of its position may be decided too."""
        try:
            found = await self._decider.decide(signal, stopping)
        except Unavailable as error:
            logger.warning("signal.waits", signal=signal.id, error=str(error))
            return await self._decider.give_up(signal)
        self._tell(signal.id, found)
        # What is wanted after an order is known when it has ended.
        return found is not Later.BUSY and not isinstance(found, Order)

    def _tell(self, signal_id: str, found: Order | Skip | Later) -> None:
        if isinstance(found, Order):
            failpoints.reach("decide.committed")
            self._spawn(found.id, self._poster.send(found))
        if isinstance(found, Skip):
            logger.info("signal.skipped", signal=signal_id, reason=found.reason)

    def _spawn(self, name: str, work: Coroutine[None, None, None], *, rings: bool = True) -> None:
        """Let work run beside the loop. `rings`: its end is news; a lookup tells its own."""
        task = asyncio.create_task(work, name=f"work:{name}")
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._done(name, done, rings))

    def _done(self, name: str, task: asyncio.Task[None], rings: bool) -> None:
        self._tasks.pop(name, None)
        if rings:
            self._doorbell.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self._doorbell.set()
            logger.error("task.failed", task=name, error=f"{type(error).__name__}: {error}")

    async def _settle(self, flying: list[Order]) -> None:
        """Look after every order in flight and every fill that is not final."""
        self._in_flight.keep({order.id for order in flying})
        now, not_before = self._now(), self._in_flight.not_before
        # Further away than any pause that is made here, a clock was set back.
        far = now + FAR_US
        for order in flying:
            if not self._is_at_work(order) and not now < not_before.get(order.id, 0) < far:
                self._spawn(order.id, self._prover.resolve(order), rings=False)
        if not self._now() < self._fills_due_us < self._now() + FAR_US:
            self._fills_due_us = self._now() + self._settings.execution.settle_poll_s * MICRO
            await self._settle_fills()

    def _is_at_work(self, order: Order) -> bool:
        """Return whether an order is being sent, or looked up, or about to be.

        Its row is there before whoever decided it has heard so: looked up then, it would be sent a
        second time.
        """
        deciding = (order.portfolio, order.condition) in self._deciding
        return deciding or order.id in self._tasks or f"intent:{order.intent_id}" in self._tasks

    async def _settle_fills(self) -> None:
        unsettled = await self._ledger.look(orders.unsettled)
        for condition in sorted({fill.condition for fill in unsettled}):
            oldest = min(f.matched_us for f in unsettled if f.condition == condition)
            if (name := f"fills:{condition}") not in self._tasks:
                self._spawn(name, self._prover.settle(condition, oldest), rings=False)


def _position(signal: Signal) -> agenda.Position:
    return signal.portfolio, signal.condition
