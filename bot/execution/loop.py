"""Carry every signal and every order to its end.

Every line may be the last one; a restart continues here.
"""

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from bot import failpoints
from bot.config.schema import Settings
from bot.errors import Unavailable
from bot.execution.decide import Decider, Later
from bot.execution.drive import Driver
from bot.execution.evidence import Prover
from bot.execution.leave import Leaver
from bot.execution.send import FAR_US, InFlight, Poster
from bot.execution.settle import settle
from bot.ledger import intents, markets, orders, signals
from bot.ledger.db import Ledger
from bot.model.decision import Skip
from bot.model.intent import Intent
from bot.model.order import Order
from bot.model.signal import Signal, SignalKind
from bot.model.units import MICRO

logger = structlog.get_logger(__name__)
#: Decided signals in one pass of the loop.
BATCH = 1000
#: A pass whose entries wait for somebody's answers for longer ends before the next one.
SLOW_US = MICRO // 2


class Loop:
    """Decides signals one after another; posts and settles orders side by side."""

    def __init__(
        self,
        ledger: Ledger,
        decider: Decider,
        leaver: Leaver,
        driver: Driver,
        poster: Poster,
        prover: Prover,
        settings: Settings,
        in_flight: InFlight,
        doorbell: asyncio.Event,
        now_us: Callable[[], int],
    ) -> None:
        self._ledger, self._settings, self._now = ledger, settings, now_us
        self._decider, self._poster, self._prover = decider, poster, prover
        self._leaver, self._driver = leaver, driver
        self._in_flight, self._doorbell = in_flight, doorbell
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._fills_due_us = 0
        self._failure: BaseException | None = None
        self.progress_us: int | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then let what is being sent come to its answer.

        Startup is recovery: the first pass settles what an earlier life left in flight, before
        any new signal is decided.
        """
        await self._settle(first=True)
        while not stopping.is_set():
            self._doorbell.clear()
            more = await self._decide_pending(stopping)
            await self._close()
            await self._drive(stopping)
            await self._settle()
            self.progress_us = self._now()
            if not more:
                await self._wait(stopping)
        if self._tasks:
            # What still runs after this is only looking; its rows carry on in the next life.
            drain_s = self._settings.runtime.drain_s
            _, late = await asyncio.wait(self._tasks.values(), timeout=drain_s)
            for task in late:
                task.cancel()

    async def _wait(self, stopping: asyncio.Event) -> None:
        # Doorbell, stop, or a second: whichever comes first. The second is the safety net.
        waits = [
            asyncio.create_task(self._doorbell.wait(), name="loop.doorbell"),
            asyncio.create_task(stopping.wait(), name="loop.stopping"),
        ]
        await asyncio.wait(waits, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    async def _decide_pending(self, stopping: asyncio.Event) -> bool:
        pending = await self._ledger.look(signals.pending, BATCH)
        if not pending:
            return False
        left = await self._leave(pending, stopping)
        # What is still moving is not known yet: nothing is fetched for whoever waits for it.
        waiting = await self._ledger.look(orders.moving_positions)
        progressed = bool(left)
        exits = await self._ledger.look(intents.exits)
        standing = {(intent.portfolio, intent.token) for intent in exits}
        began = self._now()
        for signal in pending:
            position = (signal.portfolio, signal.condition)
            entry = signal.kind is SignalKind.INCREASE and signal.id not in left
            if stopping.is_set() or not entry:
                continue
            if position in waiting:
                # Increases of one position are decided in order; what he buys back is held at once.
                if (signal.portfolio, signal.token) in standing:
                    await self._decider.raise_standing(signal)
                continue
            if await self._decide(signal, stopping):
                progressed = True
            else:
                waiting.add(position)
            if self._now() - began > SLOW_US:
                return (
                    progressed  # exits, cancels and evidence have their turn before the next entry
                )
        return progressed and len(pending) == BATCH

    async def _leave(self, pending: list[Signal], stopping: asyncio.Event) -> set[str]:
        """Decide exits, before any entry: they need nobody's answer. Return the signals decided."""
        departing = await self._ledger.look(signals.departing, pending)
        left = set()
        for signal in pending:
            if stopping.is_set() or signal.id not in departing:
                continue
            found = await self._ledger.transact(
                self._leaver.decide,
                signal.id,
                bid=self._driver.data.last_bid(signal.token),
                now_us=self._now(),
            )
            if found is not None:
                failpoints.reach("leave.committed")
                left.add(signal.id)
                reason = found.reason if isinstance(found, Skip) else None
                logger.info("signal.left", signal=signal.id, reason=reason)
        return left

    async def _drive(self, stopping: asyncio.Event) -> None:
        """Let every exit that is due look for its next attempt, each on its own."""
        await self._driver.mind_resting()
        for intent in await self._driver.due():
            if (name := f"exit:{intent.id}") not in self._tasks and not stopping.is_set():
                self._spawn(name, self._attempt(intent, stopping))

    async def _close(self) -> None:
        """Settle what is held in markets that have ended."""
        for condition in await self._ledger.look(markets.to_settle):
            await self._ledger.transact(settle, condition, self._settings.risk, now_us=self._now())
            logger.info("market.settled", condition=condition)

    async def _attempt(self, intent: Intent, stopping: asyncio.Event) -> None:
        order = await self._driver.drive(intent, stopping)
        if order is not None:
            await self._poster.send(order)

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
            self._spawn(found.id, self._poster.send(found))
        elif isinstance(found, Skip):
            logger.info("signal.skipped", signal=signal.id, reason=found.reason)
        return True

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

    async def _settle(self, *, first: bool = False) -> None:
        """Look after every order in flight and every fill that is not final."""
        if self._failure is not None:
            raise self._failure
        flying = await self._ledger.look(orders.in_flight)
        self._in_flight.keep({order.id for order in flying})
        now, not_before = self._now(), self._in_flight.not_before
        busy = {*self._tasks, *(o.id for o in flying if f"exit:{o.intent_id}" in self._tasks)}
        # Further away than any pause that is made here, a clock was set back.
        far = now + FAR_US
        due = [o for o in flying if o.id not in busy and not now < not_before.get(o.id, 0) < far]
        for order in due:
            self._spawn(order.id, self._prover.resolve(order), rings=False)
        if first and due:
            logger.info("recovery", orders=len(due))
            failpoints.reach("recovery.begun")
            await asyncio.gather(*list(self._tasks.values()))
        if not self._now() < self._fills_due_us < self._now() + FAR_US:
            self._fills_due_us = self._now() + self._settings.execution.settle_poll_s * MICRO
            await self._settle_fills()

    async def _settle_fills(self) -> None:
        unsettled = await self._ledger.look(orders.unsettled)
        for condition in sorted({fill.condition for fill in unsettled}):
            oldest = min(f.matched_us for f in unsettled if f.condition == condition)
            if (name := f"fills:{condition}") not in self._tasks:
                self._spawn(name, self._prover.settle(condition, oldest), rings=False)
