"""SIGKILL at every failpoint, with the exchange's answer arriving and with it lost."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bot.failpoints import POINTS
from bot.lab.drill import Drill, Scene, expect
from bot.lab.drills.stake import LATE
from bot.lab.drills.supervision import steer
from bot.lab.testbed import EXPIRY_S, PATIENCE_S, Overrides

#: Failpoints that the monitor reaches; the rest is the executor's.
_MONITOR = frozenset({"seen.written", "seen.committed", "seen.announced", "queue.sent"})


def _again(scene: Scene) -> None:
    """Make the first POST fail without an answer, so that the same bytes go again."""
    scene.fault("reset")


def _lookups(scene: Scene) -> None:
    """Silence the user channel, so that evidence must be asked for."""
    scene.do("stream", channel="user", mode="silent")


def _earlier(scene: Scene) -> None:
    """Kill an earlier life before its bytes leave.

    Then the next one has something in flight: what had arrived, its first compare might end.
    """
    scene.on.arm("post.begun")


def _boot(scene: Scene) -> None:
    """Kill the executor, so that one boots."""
    scene.kill("executor")


def _taken_off(scene: Scene) -> None:
    """Let the exit rest in a book without bids, and halt: it is cancelled."""
    scene.on.do("depth", shares=0, market=0)
    resting = "SELECT COUNT(*) FROM orders WHERE kind = 'GTD' AND state = 'open'"
    scene.until(lambda: scene.on.value(resting), "an exit rests")
    scene.copied(3)  # a halt would skip the entry beside it
    steer(scene, "halted")


def _go_on(scene: Scene) -> None:
    scene.on.do("depth", shares=400, market=0)
    steer(scene, "running")


def _ended(scene: Scene) -> None:
    """End the market of what is held."""
    scene.copied(3)
    scene.rest()
    scene.on.do("life", market=0, stage="resolved", payouts=(1, 0))


def _snatched(scene: Scene) -> None:
    """Let others be faster, so that the entry tries for the rest."""
    scene.do("quirk", do="snatched")


_CANCELS = ("cancel.asked", "cancel.begun", "cancel.answered", "cancel.committed")
_ENTRIES = ("enter.begun", "enter.committed")
_BEFORE: dict[str, Callable[[Scene], None]] = {
    "resend.committed": _again,
    "evidence.read": _lookups,
    "answer.written": _lookups,  # the channel may end an order before its answer is there
    "recovery.begun": _earlier,
    "enter.begun": _snatched,
    "enter.committed": _snatched,
}
_AFTER: dict[str, Callable[[Scene], None]] = {
    "worker.started": _boot,
    "worker.booted": _boot,
    "settle.written": _ended,
    **dict.fromkeys(_CANCELS, _taken_off),
}
#: Here nothing has arrived yet: the next life must find time to send it, however slow it is. What
#: was sent beside it, and not recorded, waits as long for its end: patience lasts three times that.
_UNSENT = (
    "decide.committed",
    "drive.committed",
    "enter.committed",
    "post.begun",
    "recovery.begun",
    "resend.committed",
)
_LONG_VALID: Overrides = {"execution": {"validity_s": int(PATIENCE_S / 3)}}


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
    if point in _CANCELS:
        _go_on(scene)
    scene.copied(3)
    scene.rest()
    orders = scene.orders()
    ends = {"filled"}
    ends |= {"cancelled"} if point in _CANCELS else set()
    ends |= {"partial"} if point in _ENTRIES else set()
    expect({o["state"] for o in orders} <= ends, f"every order {' or '.join(sorted(ends))}")
    sends = sum(o["sends"] for o in orders)
    return f"{len(orders)} orders, {sends} sends recorded, each once at the exchange, all filled"


def _drills() -> list[Drill]:
    found = []
    for point, where in POINTS.items():
        # What a cancel or a settlement needs is no answer to a POST.
        for lost in (False,) if point in (*_CANCELS, "settle.written") else (False, True):
            name = f"kill.{point}.{'lost' if lost else 'arrives'}"
            what = f"SIGKILL when {where}; answers {'are lost' if lost else 'arrive'}"
            validity = _LONG_VALID if point in _UNSENT else {}
            drill = Drill(name, what, partial(_play, point=point, lost=lost), validity)
            if point in _CANCELS:
                drill = replace(drill, plan=LATE)
            if point == "cancel.answered":
                drill = replace(drill, patience_s=EXPIRY_S)
            found.append(drill)
    return found


DRILLS = _drills()
