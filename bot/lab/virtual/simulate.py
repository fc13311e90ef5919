"""Ten thousand orders in virtual time: the executor's own code against a faulty exchange.

No sockets, no sleeping, one seed. The process "dies" at failpoints: its connection is closed in
the middle of what it does, its tasks are thrown away, and a new process begins on the same ledger.
Whatever goes wrong is told with the seed that repeats it.
"""

import asyncio
import tempfile
from pathlib import Path

from bot import failpoints
from bot.lab.virtual import clock
from bot.lab.virtual.run import Broken, Died, Process, VirtualRun, VirtualVerdict

#: One in so many failpoints is the last thing a process does.
DEATH = 400
#: Everything rests by then: exits look once a minute at least, and what rests in a book ends within
#: six minutes.
REST_S = 3600


def run(
    orders_wanted: int, seed: int, broken: Broken | None = None, *, death: int = DEATH
) -> VirtualVerdict:
    """Simulate until the exchange has so many orders, then let everything settle and judge.

    One in `death` failpoints is the last thing that a process does.
    """
    # A power cut is not simulated here: a disk would only be slow.
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        path = Path(folder) / "ledger-demo.db"
        return clock.run(_lives(path, orders_wanted, seed, broken or Broken(), death))


async def _lives(path: Path, wanted: int, seed: int, broken: Broken, death: int) -> VirtualVerdict:
    loop = asyncio.get_running_loop()
    simulated = VirtualRun(path, seed, loop.time, broken)
    loop.set_exception_handler(simulated.unheard)

    def at(name: str) -> None:
        process = simulated.process
        if process is not None and process.dead:
            raise Died(name)
        if (
            process is not None
            and not simulated.exchange.calm
            and simulated.rng.randrange(death) == 0
        ):
            process.die()
            raise Died(name)

    token = failpoints.hook.set(at)
    try:
        while True:
            process = simulated.new_process()
            await _live(simulated, process, wanted)
            if simulated.exchange.calm and not process.dead:
                return simulated.judge()
            # With lives too short to get anything done it must end as well.
            simulated.exchange.calm = (
                len(simulated.exchange.accepted) >= wanted or simulated.lives > 100 + 10 * wanted
            )
    finally:
        failpoints.hook.reset(token)


async def _live(simulated: VirtualRun, process: Process, wanted: int) -> None:
    work = asyncio.ensure_future(process.work())
    feed = asyncio.ensure_future(_feed(simulated, process, wanted))
    ended = asyncio.ensure_future(process.ended.wait())
    await asyncio.wait({work, feed, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not process.dead:
        process.stopping.set()
        await asyncio.wait(
            {work, ended}, return_when=asyncio.FIRST_COMPLETED
        )  # it may die while it drains
    if process.dead:
        await process.reap()
        await asyncio.sleep(0.5)  # supervisord starts the next one
        return
    ended.cancel()
    await asyncio.gather(work, feed)


async def _feed(simulated: VirtualRun, process: Process, wanted: int) -> None:
    await process.ready.wait()
    assert process.intake is not None
    assert process.ledger is not None
    await simulated.sources.replay(process.intake)
    began_s = simulated.now_s()
    while not (simulated.exchange.calm and simulated.rests()):
        if simulated.exchange.calm and simulated.now_s() - began_s > REST_S:
            simulated.exchange.broken.append(
                f"not at rest {REST_S} virtual seconds after the last fault"
            )
            return
        if simulated.exchange.calm:
            await simulated.soothe(process.ledger)
            await asyncio.sleep(5)
        elif len(simulated.exchange.accepted) >= wanted:
            return  # from here on the exchange is calm, in a new process
        else:
            await simulated.trade(process.intake, simulated.moves())
            await simulated.unsettle(process.ledger)
            await asyncio.sleep(simulated.rng.expovariate(1.5))
