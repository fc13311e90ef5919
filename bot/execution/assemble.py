"""The one wiring of the executor's parts, for the worker, the tests and the lab."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bot.config.schema import Settings
from bot.execution.decide import Decider
from bot.execution.drive import Driver
from bot.execution.enter import Enterer
from bot.execution.evidence import Prover
from bot.execution.leave import Leaver
from bot.execution.loop import Loop
from bot.execution.reconcile import Reconciler
from bot.execution.send import InFlight, Poster
from bot.ledger.db import Ledger
from bot.polymarket.signer import OrderSigner
from bot.ports import MarketData, OrderVenue


@dataclass(frozen=True, slots=True)
class Parts:
    """Which classes are built; only a sabotage puts a broken one in a part's place."""

    decider: type[Decider] = Decider
    leaver: type[Leaver] = Leaver
    driver: type[Driver] = Driver
    poster: type[Poster] = Poster


@dataclass(frozen=True, slots=True)
class Execution:
    """An executor, ready to run. `doorbell` wakes its loop."""

    loop: Loop
    decider: Decider
    leaver: Leaver
    driver: Driver
    poster: Poster
    prover: Prover
    reconciler: Reconciler
    in_flight: InFlight
    doorbell: asyncio.Event


def assemble(
    ledger: Ledger,
    venue: OrderVenue,
    data: MarketData,
    signer: OrderSigner,
    settings: Settings,
    *,
    boot_id: int,
    now_us: Callable[[], int],
    parts: Parts | None = None,
) -> Execution:
    """Return an executor for one life (`boot_id`) on a ledger, for one wallet at one venue."""
    built = parts or Parts()
    doorbell = asyncio.Event()
    in_flight = InFlight(now_us())
    decider = built.decider(ledger, venue, data, signer, settings, boot_id, now_us)
    poster = built.poster(ledger, venue, data, settings, in_flight, now_us)
    prover = Prover(ledger, venue, poster, settings, in_flight, now_us, doorbell.set)
    leaver = built.leaver(settings, boot_id)
    born_us = in_flight.born_us
    driver = built.driver(ledger, venue, data, signer, settings, boot_id, born_us, now_us)
    enterer = Enterer(ledger, venue, data, signer, settings, boot_id, now_us)
    deciding = (decider, leaver, driver, enterer)
    loop = Loop(ledger, *deciding, poster, prover, settings, in_flight, doorbell, now_us)
    reconciler = Reconciler(ledger, venue, signer.maker, prover.apply, boot_id)
    return Execution(loop, decider, leaver, driver, poster, prover, reconciler, in_flight, doorbell)
