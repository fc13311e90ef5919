"""Channels and feeds that repeat, reorder, cut, fall silent, hang up, lose and replay."""

from functools import partial

from bot.lab.drill import Drill, Scene, expect

_MODES = {
    "duplicate": "every frame comes three times",
    "reorder": "frames come in another order",
    "silent": "the socket stays open and nothing comes",
    "truncate": "frames are cut in half",
    "oversized": "frames of five megabytes are mixed in",
    "hang_up": "the connection ends after every frame",
}
_CHANNELS = {"user": "our trades", "market": "order books", "rtds": "leaders' trades"}


def _channel(scene: Scene, channel: str, mode: str) -> str:
    scene.do("stream", channel=channel, mode=mode)
    scene.enter()
    scene.trade()
    scene.trade(0, 0, side="SELL", part=50)
    scene.until(lambda: scene.on.value("SELECT COUNT(*) FROM decision") >= 3, "three decisions")
    scene.rest()
    return f"{len(scene.orders())} orders, each booked once"


def _gap(scene: Scene) -> str:
    scene.enter()
    scene.do("feed", mute=True)
    scene.trade()
    scene.trade(0, 0, side="SELL")
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision") >= 3, "seen by the Data API"
    )
    source = scene.on.value("SELECT source FROM signal ORDER BY seen_us DESC LIMIT 1")
    expect(source == "data_api", f"source data_api, found {source}")
    return "what the stream never said came from the Data API"


def _replay(scene: Scene) -> str:
    scene.enter()
    scene.trade()
    scene.copied(2)
    scene.rest()
    before = scene.on.value("SELECT COUNT(*) FROM signal")
    scene.do("replay", times=5)
    scene.trade(1, 2)
    scene.copied(3)
    after = scene.on.value("SELECT COUNT(*) FROM signal")
    expect(after == before + 1, f"one new signal, found {after - before}")
    return "everything announced five times more, in reverse: not one new signal"


def _data_api(scene: Scene, do: str) -> str:
    scene.fault(do, on="GET /v2/", times=-1, status=500)
    scene.enter()
    scene.trade()
    scene.copied(2)
    return "the stream alone was enough; the Data API caught up"


def _all_lost(scene: Scene) -> str:
    scene.enter()
    scene.do("stream", channel="rtds", mode="silent")
    scene.fault("reset", on="GET /v2/", times=-1)
    scene.trade()
    scene.trade(0, 0, side="SELL")
    scene.alerted("worker:stalled:monitor")
    scene.on.do("heal")
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM orders WHERE side = 'SELL'"),
        "the late exit",
    )
    scene.until(lambda: scene.on.value("SELECT COUNT(*) FROM decision") >= 3, "three decisions")
    entries = scene.on.value("SELECT COUNT(*) FROM decision WHERE reason = 'stale'")
    expect(entries == 1, f"the late entry skipped as stale, found {entries}")
    return "alerted after 15 s; then the exit ran, and the entry was too old"


DRILLS = [
    *(
        Drill(
            f"streams.{channel}.{mode}", f"{of}: {what}",
            partial(_channel, channel=channel, mode=mode),
        )
        for channel, of in _CHANNELS.items() for mode, what in _MODES.items()
    ),
    Drill("feeds.gap", "the real-time stream loses rows for good", _gap),
    Drill("feeds.replay", "the real-time stream replays everything five times, backwards", _replay),
    Drill(
        "feeds.data_api_errors", "the Data API answers HTTP 500", partial(_data_api, do="status")
    ),
    Drill(
        "feeds.data_api_empty", "the Data API answers as if nothing had happened",
        partial(_data_api, do="no_rows"),
    ),
    Drill(
        "feeds.all_lost", "every source is lost for longer than an entry may wait", _all_lost,
        {"strategy": {"max_signal_age_s": 10}},
    ),
]  # fmt: skip
