"""Ten thousand orders in virtual time: the executor's own code against a faulty exchange.

No sockets, no sleeping, one seed. The process "dies" at failpoints: its connection is closed in
the middle of what it does, its tasks are thrown away, and a new life begins on the same ledger.
Whatever goes wrong is told with the seed that repeats it.
"""

import asyncio
import tempfile
from pathlib import Path

from bot import failpoints
from bot.lab import virtual
from bot.lab.world import Died, Life, Parts, Verdict, World

#: One in so many failpoints is the last thing a life does.
DEATH = 400
#: Exits are tried again after at most an hour.
REST_S = 4 * 3600


def run(orders_wanted: int, seed: int, parts: Parts | None = None, *, death: int = DEATH) -> Verdict:
    """Simulate until the exchange has so many orders, then let everything settle and judge.

    One in `death` failpoints is the last thing that a life does.
    """
    memory = Path("/dev/shm")  # noqa: S108 (a power cut is not simulated here: a disk would only be slow)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        path = Path(folder) / "ledger-demo.db"
        return virtual.run(_lives(path, orders_wanted, seed, parts or Parts(), death))


async def _lives(path: Path, wanted: int, seed: int, parts: Parts, death: int) -> Verdict:
    loop = asyncio.get_running_loop()
    world = World(path, seed, parts, loop.time)
    loop.set_exception_handler(world.unheard)

    def at(name: str) -> None:
        life = world.life
        if life is not None and life.dead:
            raise Died(name)
        if life is not None and not world.venue.calm and world.rng.randrange(death) == 0:
            life.die()
            raise Died(name)

    token = failpoints.hook.set(at)
    try:
        while True:
            life = world.new_life()
            await _live(world, life, wanted)
            if world.venue.calm and not life.dead:
                return world.judge()
            # With lives too short to get anything done it must end as well.
            world.venue.calm = len(world.venue.landed) >= wanted or world.lives > 100 + 10 * wanted
    finally:
        failpoints.hook.reset(token)


async def _live(world: World, life: Life, wanted: int) -> None:
    work = asyncio.ensure_future(life.work())
    feed = asyncio.ensure_future(_feed(world, life, wanted))
    ended = asyncio.ensure_future(life.ended.wait())
    await asyncio.wait({work, feed, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not life.dead:
        life.stopping.set()
        await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)  # it may die while it drains
    if life.dead:
        await life.bury()
        await asyncio.sleep(0.5)  # supervisord starts the next one
        return
    ended.cancel()
    await asyncio.gather(work, feed)


async def _feed(world: World, life: Life, wanted: int) -> None:
    await life.ready.wait()
    assert life.intake is not None
    await world.replay(life.intake)
    began_s = world.now_s()
    while not (world.venue.calm and world.rests()):
        if world.venue.calm and world.now_s() - began_s > REST_S:
            world.venue.broken.append(f"not at rest {REST_S} virtual seconds after the last fault")
            return
        if world.venue.calm:
            await asyncio.sleep(5)
        elif len(world.venue.landed) >= wanted:
            return  # from here on the exchange is calm, in a new life
        else:
            await world.trade(life.intake, world.moves())
            await asyncio.sleep(world.rng.expovariate(1.5))
