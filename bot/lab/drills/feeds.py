"""Sources that are lost, one or all of them; a chain told wrongly, or that changes its mind."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bot.lab.drill import Drill, Scene, expect

#: For how long a source is lost, and between two trades of leaders meanwhile.
LOST_S, GAP_S = 60, 10
_PROVIDERS = ("a", "b")
_UNSEEN = "SELECT COUNT(*) FROM lock WHERE scope = 'unseen'"
_NOT_FINAL = "SELECT COUNT(*) FROM leader_trade WHERE state <> 'final'"
_DECIDED = "SELECT COUNT(*) FROM decision"
_SOLD = "SELECT COUNT(*) FROM orders WHERE side = 'SELL'"


def _lose_chain(scene: Scene) -> None:
    for name in _PROVIDERS:
        scene.do("node", name=name, mode="down")
        scene.do("stream", channel=name, mode="hang_up")


def _lose_stream(scene: Scene) -> None:
    scene.do("stream", channel="rtds", mode="silent")


def _lose_index(scene: Scene) -> None:
    scene.fault("reset", on="GET /v2/", times=-1)


_LOSE: dict[str, Callable[[Scene], None]] = {
    "chain": _lose_chain, "stream": _lose_stream, "index": _lose_index,
}  # fmt: skip


def _final(scene: Scene) -> None:
    scene.until(lambda: not scene.on.value(_NOT_FINAL), "every trade of leaders is final")


def _lost(scene: Scene, source: str) -> str:
    scene.enter()
    _LOSE[source](scene)
    for number in range(LOST_S // GAP_S):
        leader, sells = 1 + number // 2 % 2, number % 2 == 1
        scene.trade(leader, 1 + number // 2, side="SELL" if sells else "BUY", part=50)
        time.sleep(GAP_S)
    expect(not scene.on.value(_UNSEEN), "entries to go on: another source knows")
    scene.on.do("heal")
    scene.trade(0, 0, side="SELL")
    number = len(scene.on.truth()["leader_trades"])
    scene.until(lambda: scene.on.value(_DECIDED) >= number, f"{number} decisions")
    _final(scene)
    return f"{number} trades, the others told of each; in the end the chain said the same"


def _all_lost(scene: Scene) -> str:
    scene.enter()
    for lose in _LOSE.values():
        lose(scene)
    scene.trade()
    scene.trade(0, 0, side="SELL")
    scene.until(lambda: scene.on.value(_UNSEEN), "entries have stopped")
    scene.alerted("sources:unseen")
    scene.alerted("worker:stalled:monitor")
    scene.on.do("heal")
    scene.until(lambda: scene.on.value(_SOLD), "the late exit")
    scene.until(lambda: scene.on.value(_DECIDED) >= 3, "three decisions")
    entries = scene.on.value("SELECT COUNT(*) FROM decision WHERE reason = 'stale'")
    expect(entries == 1, f"the late entry skipped as stale, found {entries}")
    scene.until(lambda: not scene.on.value(_UNSEEN), "entries go on")
    return "entries stopped and it was told; then the exit ran, and the entry was too old"


def _stream_alone(scene: Scene) -> str:
    scene.enter()
    _lose_chain(scene)
    _lose_index(scene)
    scene.until(lambda: scene.on.value(_UNSEEN), "entries have stopped")
    bought = len(scene.orders("side = 'BUY'"))
    scene.do("settle", of="leaders", ways=["FAILED"])
    scene.trade(2, 2)  # what never happened
    scene.trade(0, 0, side="SELL")
    scene.until(lambda: scene.on.value(_SOLD), "the exit goes on")
    refused = "SELECT COUNT(*) FROM decision WHERE reason = 'paused'"
    scene.until(lambda: scene.on.value(refused), "the entry is refused")
    expect(len(scene.orders("side = 'BUY'")) == bought, "no entry on the stream's word alone")
    scene.on.do("heal")
    scene.until(lambda: not scene.on.value(_UNSEEN), "entries go on")
    return "who knows was away: nothing was bought that only the stream has told, an exit ran"


def _ill(scene: Scene, **ills: Any) -> str:
    scene.do("node", name="a", **ills)
    scene.enter()
    for number in range(4):
        scene.trade(1 + number % 2, 1 + number, split=number % 2 == 0)
    scene.trade(0, 0, side="SELL", part=50)
    number = len(scene.on.truth()["leader_trades"])
    scene.until(lambda: scene.on.value(_DECIDED) >= number, f"{number} decisions")
    _final(scene)
    return f"{number} trades by the other provider"


def _reorg(scene: Scene) -> str:
    scene.enter()
    scene.trade(1, 1)
    scene.copied(2)
    before = scene.on.value("SELECT COUNT(*) FROM signal")
    scene.do("reorg", depth=3)
    scene.trade(2, 2)
    scene.copied(3)
    _final(scene)
    after = scene.on.value("SELECT COUNT(*) FROM signal WHERE kind = 'increase'")
    expect(after == before + 1, f"one new signal, found {after - before}")
    return "the same trades in other blocks: nothing was told twice"


def _dropped(scene: Scene) -> str:
    scene.enter()
    tx = scene.on.do("trade", leader=1, market=1)["tx"]
    scene.copied(2)
    scene.do("reorg", depth=8, drop=[tx])
    scene.until(lambda: scene.on.value(_SOLD), "our part of it is sold")
    state = scene.on.value("SELECT state FROM leader_trade WHERE tx = ?", tx)
    expect(state == "reverted", f"state reverted, found {state}")
    return "what is in no block any more did not happen: our part of it was sold, once"


def _never_mined(scene: Scene) -> str:
    scene.enter()
    bought = len(scene.orders("side = 'BUY'"))
    scene.do("settle", of="leaders", ways=["FAILED"])
    scene.trade(1, 1)
    lost = "SELECT COUNT(*) FROM leader_trade WHERE state = 'reverted'"
    scene.until(lambda: scene.on.value(lost), "what never was in a block is found out")
    scene.rest()
    expect(len(scene.orders("side = 'BUY'")) == bought, "nothing was bought")
    return "the stream told of a match that failed: nothing was done"


def _new_hash(scene: Scene) -> str:
    scene.enter()
    scene.do("settle", of="leaders", ways=["RETRYING"])
    scene.trade(1, 1)
    scene.copied(2)
    _reverted = "SELECT COUNT(*) FROM leader_trade WHERE state = 'reverted'"
    scene.until(lambda: scene.on.value(_reverted), "the first hash is found out")
    scene.rest()
    entries = len(scene.orders("side = 'BUY' AND attempt = 1"))
    expect(entries == 2, f"one purchase for it, found {entries - 1}")
    return "told under one hash, settled under another: copied once"


def _gap(scene: Scene) -> str:
    scene.enter()
    _lose_stream(scene)
    for name in _PROVIDERS:
        scene.do("stream", channel=name, mode="silent")
        scene.do("node", name=name, mode="down")
    scene.trade()
    scene.trade(0, 0, side="SELL")
    scene.until(lambda: scene.on.value(_DECIDED) >= 3, "seen by the Data API")
    source = scene.on.value("SELECT source FROM signal ORDER BY seen_us DESC LIMIT 1")
    expect(source == "data_api", f"source data_api, found {source}")
    return "what nobody else told came from the Data API"


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


def _index_ill(scene: Scene, do: str) -> str:
    scene.fault(do, on="GET /v2/", times=-1, status=500)
    scene.enter()
    scene.trade()
    scene.copied(2)
    return "the others were enough; the Data API caught up"


DRILLS = [
    *(
        Drill(f"feeds.{source}_lost", f"{what} is away for a minute", partial(_lost, source=source))
        for source, what in (
            ("chain", "the chain, at every provider,"), ("stream", "the real-time stream"),
            ("index", "the Data API"),
        )
    ),
    Drill(
        "feeds.all_lost", "every source is lost for longer than an entry may wait", _all_lost,
        {"strategy": {"max_signal_age_s": 10}},
    ),
    Drill(
        "feeds.stream_alone", "only the stream is left, and tells of what never happens",
        _stream_alone,
    ),
    *(
        Drill(f"feeds.provider_{name}", f"a provider of the chain {what}", partial(_ill, **ills))
        for name, what, ills in (
            ("behind", "is twenty blocks behind", {"lag": 20}),
            ("omits", "leaves out every other log", {"hides": 2}),
            ("empty", "answers ranges with nothing", {"empty": True}),
            ("clips", "looks at the first two blocks of a range", {"clipped": 2}),
            ("strict", "takes few blocks at once", {"most_blocks": 2, "most_topics": 2}),
            ("throttles", "answers 429", {"mode": "throttled"}),
            ("exhausted", "answers everything with an error", {"mode": "exhausted"}),
            ("locked", "wants a key", {"mode": "locked"}),
        )
    ),
    Drill("feeds.reorg", "other blocks come in the place of the newest three", _reorg),
    Drill("feeds.dropped", "a trade that we have copied is in no block any more", _dropped),
    Drill("feeds.never_mined", "the stream tells of a match that fails", _never_mined),
    Drill("feeds.new_hash", "a trade settles under another hash than was told", _new_hash),
    Drill("feeds.gap", "the stream and the chain say nothing", _gap),
    Drill("feeds.replay", "the real-time stream replays everything five times, backwards", _replay),
    Drill(
        "feeds.data_api_errors", "the Data API answers HTTP 500",
        partial(_index_ill, do="status"),
    ),
    Drill(
        "feeds.data_api_empty", "the Data API answers as if nothing had happened",
        partial(_index_ill, do="no_rows"),
    ),
]  # fmt: skip
