"""Workers that hang, loop, give up or lose their supervisor."""

import signal
import time
from functools import partial
from pathlib import Path

from bot import supervise
from bot.config.home import WORKERS
from bot.lab.drill import Drill, Scene, expect
from bot.ledger.files import busy


def _frozen(scene: Scene, worker: str) -> str:
    scene.enter()
    scene.kill(worker, signal.SIGSTOP)
    return _replaced(scene, worker)


def _frozen_inside(scene: Scene, worker: str) -> str:
    scene.enter()
    scene.until(lambda: _stops_inside(scene, worker), "it stops inside a transaction")
    scene.struck()
    return _replaced(scene, worker)


def _replaced(scene: Scene, worker: str) -> str:
    scene.trade()
    scene.back(worker)
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision") >= 2, "the trade is decided"
    )
    return f"noticed, killed, restarted: at work again after {scene.recovered_s} s"


def _stops_inside(scene: Scene, worker: str) -> bool:
    """Stop a worker while it holds the write lock; where it let go just then, let it run on."""
    process = scene.on.alive(worker)
    assert process is not None
    deadline = time.monotonic() + 5  # each writes every second or two, for milliseconds
    while time.monotonic() < deadline:
        if _holds_write_lock(process.pid):
            process.suspend()
            if busy(scene.on.ledger) is not None:
                return True
            process.resume()
    return False


def _holds_write_lock(pid: int) -> bool:
    """Return whether a process holds SQLite's lock of WAL writers, byte 120 of the WAL index.

    Sources: WAL_WRITE_LOCK in SQLite's wal.c, proc_locks(5).
    """
    locks = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return any(lock[3:5] == ["WRITE", str(pid)] and lock[-1] == "120" for lock in locks)


def _blocked(scene: Scene) -> str:
    scene.enter()
    scene.on.arm("post.answered", "block")
    scene.trade()
    scene.strikes("post.answered")
    scene.back("executor")
    return f"a loop that stood still was noticed: at work again after {scene.recovered_s} s"


def _together(scene: Scene, workers: tuple[str, ...]) -> str:
    scene.enter()
    scene.trade()
    for worker in workers:
        scene.kill(worker)
    scene.trade(1, 2)
    scene.back(*workers)
    return f"{len(workers)} killed at once, all back"


def _crash_loop(scene: Scene) -> str:
    scene.enter()
    scene.on.arm("decide.begun", "raise always")
    scene.trade()
    scene.until(lambda: scene.on.value("SELECT mode FROM control") == "paused", "entries stop")
    scene.alerted("crash_loop:")
    until = scene.on.value("SELECT until_us FROM control")
    expect(until is not None, "the pause to end by itself")
    reason = scene.on.value("SELECT reason FROM control")
    expect(reason.startswith("crash_loop"), f"reason crash_loop, found {reason}")
    boots = scene.on.value("SELECT COUNT(*) FROM boot WHERE worker = 'executor'")
    expect(boots <= 7, f"at most seven boots, found {boots}")
    (scene.on.points / "decide.begun").unlink()
    scene.struck()
    steer(scene, "running")
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM signal WHERE decided = 0") == 0,
        "decides again",
    )
    return f"{reason}; entries stop for a while, one attempt each half minute"


def steer(scene: Scene, mode: str) -> None:
    """Set the control row as `botctl pause`, `halt` and `resume` do."""
    import asyncio

    from bot.ledger import control
    from bot.ledger.db import Ledger
    from bot.model.control import ControlMode
    from bot.runtime import now_us

    async def store() -> None:
        async with Ledger(scene.on.ledger).open() as ledger:
            await ledger.transact(
                control.steer, ControlMode(mode), reason="drill", actor="drill", now_us=now_us()
            )

    asyncio.run(store())


def _fatal(scene: Scene, worker: str, alert: str) -> str:
    scene.on.spoil_starts(0)
    scene.kill(worker)
    scene.until(
        lambda: any(p.state == "FATAL" for p in supervise.processes(scene.on.home)),
        "supervisord gives up on it",
    )
    return _comes_back(scene, worker, alert)


def _slowly(scene: Scene, worker: str, alert: str) -> str:
    scene.on.spoil_starts(4)  # longer than startsecs: supervisord never gives up
    scene.kill(worker)
    return _comes_back(scene, worker, alert)


def _comes_back(scene: Scene, worker: str, alert: str) -> str:
    scene.alerted(alert)
    scene.on.mend_starts()
    scene.back(worker)
    scene.trade()
    scene.copied(1)
    return "alerted, and started again within a minute"


def _supervisor(scene: Scene) -> str:
    scene.enter()
    scene.trade()
    scene.struck()
    assert scene.on.supervisor is not None
    scene.on.supervisor.kill()
    scene.until(
        lambda: not any(scene.on.alive(worker) for worker in WORKERS), "its workers end with it"
    )
    scene.on.up()
    scene.back(*WORKERS)
    scene.trade(1, 2)
    return "its workers drained and ended; a new supervisor started them again"


def _power(scene: Scene) -> str:
    scene.enter()
    scene.trade()
    scene.struck()
    scene.on.end()
    scene.trade(1, 2)
    scene.on.up()
    scene.back(*WORKERS)
    return "supervisor and workers killed in one blow, as by a power cut; all read on from disk"


def _guards(scene: Scene) -> str:
    scene.enter()
    scene.do("allowance", allowed=False)
    for market in range(1, 6):
        scene.trade(market % 2, market)
        scene.until(
            lambda n=market: len(scene.orders("state = 'rejected'")) >= n,  # type: ignore[misc]
            "refused",
        )
    scene.until(lambda: scene.on.value("SELECT mode FROM control") == "paused", "the breaker trips")
    scene.struck()
    scene.on.end()
    scene.on.do("allowance", allowed=True)
    scene.on.up()
    scene.back(*WORKERS)
    scene.trade(1, 0)
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision WHERE reason = 'paused'"),
        "still tripped",
    )
    return "the breaker is a row: tripped before, tripped after everything was killed"


DRILLS = [
    *(
        Drill(f"hung.{w}", f"SIGSTOP: {w} lives and does not answer", partial(_frozen, worker=w))
        for w in WORKERS
    ),
    *(
        Drill(
            f"hung.inside.{w}",
            f"SIGSTOP inside a transaction: {w} keeps the write lock from all others",
            partial(_frozen_inside, worker=w),
        )
        for w in WORKERS
    ),
    Drill("hung.blocked_loop", "the executor's loop stands still", _blocked),
    Drill(
        "kill.two",
        "monitor and executor killed at once",
        partial(_together, workers=("monitor", "executor")),
    ),
    Drill("kill.three", "all workers killed at once", partial(_together, workers=WORKERS)),
    Drill("kill.supervisor", "SIGKILL of supervisord alone", _supervisor),
    Drill("kill.everything", "SIGKILL of supervisord and all workers", _power),
    Drill("loop.crash", "the executor crashes whenever it decides", _crash_loop),
    *(
        Drill(f"loop.{name}{suffix}", f"{worker} {what}", partial(act, worker=worker, alert=alert))
        for suffix, worker, alert in (
            ("", "monitor", "worker:ended:monitor"),
            ("_health", "health", "health:ended:health"),
        )
        for name, what, act in (
            ("fatal", "cannot start", _fatal),
            ("slow", "dies as soon as it counts as started", _slowly),
        )
    ),
    Drill("guards.survive", "the breaker trips, then everything is killed", _guards),
]
