"""Channels that repeat, reorder, cut, fall silent and hang up."""

from functools import partial

from bot.lab.drill import Drill, Scene

_MODES = {
    "duplicate": "every frame comes three times",
    "reorder": "frames come in another order",
    "silent": "the socket stays open and nothing comes",
    "truncate": "frames are cut in half",
    "oversized": "frames of five megabytes are mixed in",
    "hang_up": "the connection ends after every frame",
}
_CHANNELS = {
    "user": "our trades",
    "market": "order books",
    "rtds": "leaders' trades",
    "a": "a provider's logs",
}


def _channel(scene: Scene, channel: str, mode: str) -> str:
    scene.do("stream", channel=channel, mode=mode)
    if channel == "a":
        scene.do("stream", channel="b", mode="silent")  # else the other one tells
    scene.enter()
    scene.trade()
    scene.trade(0, 0, side="SELL", part=50)
    scene.until(lambda: scene.on.value("SELECT COUNT(*) FROM decision") >= 3, "three decisions")
    scene.rest()
    return f"{len(scene.orders())} orders, each booked once"


DRILLS = [
    *(
        Drill(
            f"streams.{channel}.{mode}", f"{of}: {what}",
            partial(_channel, channel=channel, mode=mode),
        )
        for channel, of in _CHANNELS.items() for mode, what in _MODES.items()
    ),
]  # fmt: skip
