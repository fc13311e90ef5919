"""What an operator does at the worst moment."""

from bot import supervise
from bot.errors import ConfigError
from bot.lab.drill import Drill, Scene, expect
from bot.lab.drills.supervision import steer


def _halt(scene: Scene) -> str:
    scene.enter()
    scene.fault("slow", seconds=2)
    scene.trade()
    scene.copied(2)
    steer(scene, "halted")
    scene.until(lambda: scene.orders()[1]["state"] == "filled", "what had left is booked")
    scene.trade(1, 2)
    scene.trade(0, 0, side="SELL")
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision WHERE reason = 'halted'"),
        "no entry",
    )
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM intent WHERE waits LIKE 'halted%'"),
        "the exit waits",
    )
    expect(len(scene.orders()) == 2, "no order after the halt")
    steer(scene, "running")
    scene.copied(3)
    return "the order under way was booked, nothing else left; the exit ran after the resume"


def _pause(scene: Scene) -> str:
    scene.enter()
    steer(scene, "paused")
    scene.trade()
    scene.trade(0, 0, side="SELL")
    scene.copied(2)
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision WHERE reason = 'paused'"), "no entry"
    )
    scene.on.down()
    scene.on.up()
    scene.trade(1, 2)
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision WHERE reason = 'paused'") == 2,
        "still paused",
    )
    return "no entries, exits go on; still paused after a restart"


def _down(scene: Scene) -> str:
    scene.enter()
    scene.fault("slow", seconds=2)
    scene.trade()
    scene.copied(2)
    scene.on.down()
    left = scene.on.value("SELECT COUNT(*) FROM orders WHERE state = 'posting'")
    expect(left == 0, "the answer was waited for")
    scene.trade(0, 0, side="SELL")
    scene.on.up()
    scene.copied(3)
    return "the answer under way was waited for; the exit missed meanwhile ran after the start"


def _twice(scene: Scene) -> str:
    scene.enter()
    scene.faults += 1
    try:
        supervise.start(scene.on.home, scene.on.config)
    except ConfigError as error:
        text = str(error).split(": ")[-1]
    else:
        raise AssertionError("a second bot was started on the same home")
    scene.trade()
    scene.copied(2)
    return f"refused ({text}); the first one goes on"


def _restore(scene: Scene) -> str:
    scene.enter()
    scene.faults += 1
    try:
        supervise.refuse_live(scene.on.home)
    except ConfigError as error:
        return f"refused ({str(error).split(': ')[-1]})"
    raise AssertionError("a restore over a live ledger was not refused")


DRILLS = [
    Drill("operator.halt", "halt while an order is on its way", _halt),
    Drill("operator.pause", "pause, then a restart", _pause),
    Drill("operator.down", "down while an order is on its way", _down),
    Drill("operator.up_twice", "a second bot on the same home", _twice),
    Drill("operator.restore_live", "restore over a ledger that is in use", _restore),
]
