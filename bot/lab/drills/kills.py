"""SIGKILL at every failpoint, with the exchange's answer arriving and with it lost."""

from collections.abc import Callable
from functools import partial

from bot.failpoints import POINTS
from bot.lab.drill import Drill, Scene, expect

#: Failpoints that the monitor reaches; the rest is the executor's.
_MONITOR = frozenset({"seen.written", "seen.committed", "seen.announced", "queue.sent"})


def _again(scene: Scene) -> None:
    """Make the first POST fail without an answer, so that the same bytes go again."""
    scene.fault("reset")


def _lookups(scene: Scene) -> None:
    """Silence the user channel, so that evidence must be asked for."""
    scene.do("stream", channel="user", mode="silent")


def _earlier(scene: Scene) -> None:
    """Kill an earlier life after its bytes have left, so that the next one has something in flight."""
    scene.on.arm("post.sent")


def _boot(scene: Scene) -> None:
    """Kill the executor, so that one boots."""
    scene.kill("executor")


_BEFORE: dict[str, Callable[[Scene], None]] = {
    "resend.committed": _again,
    "evidence.read": _lookups,
    "recovery.begun": _earlier,
}
_AFTER: dict[str, Callable[[Scene], None]] = {"worker.started": _boot, "worker.booted": _boot}


def _play(scene: Scene, point: str, lost: bool) -> str:
    scene.enter()
    if point in _BEFORE:
        _BEFORE[point](scene)
    if lost:
        # Who is struck when the head has come must get one: its body is lost instead.
        scene.fault("half" if point == "post.answering" else "drop", times=2)
    scene.on.arm(point)
    scene.trade()
    scene.trade(0, 0, side="SELL", part=50)
    if point in _AFTER:
        _AFTER[point](scene)
    scene.strikes(point)
    scene.back("monitor" if point in _MONITOR else "executor")
    scene.copied(3)
    scene.rest()
    orders = scene.orders()
    expect(all(o["state"] == "filled" for o in orders), "every order filled")
    sends = sum(o["sends"] for o in orders)
    return f"{len(orders)} orders, {sends} sends recorded, each once at the exchange, all filled"


def _drills() -> list[Drill]:
    found = []
    for point, where in POINTS.items():
        for lost in (False, True):
            name = f"kill.{point}.{'lost' if lost else 'arrives'}"
            what = f"SIGKILL when {where}; answers {'are lost' if lost else 'arrive'}"
            found.append(Drill(name, what, partial(_play, point=point, lost=lost)))
    return found


DRILLS = _drills()
