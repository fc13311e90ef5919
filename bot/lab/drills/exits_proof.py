"""What exits must do where something is not proven: an answer, a trade, a clock, a backup."""

import sqlite3
from contextlib import closing

from bot.lab.drill import Scene
from bot.lab.drills.stake import LATE, SHORT_S, cold, exit_drill, hold, law, ways
from bot.lab.drills.supervision import steer
from bot.lab.testbed import Overrides
from bot.ledger import files
from bot.model.amounts import CENT

_LAGS: Overrides = {"execution": {"timeout_s": 3, "evidence_lag_s": 8}}
_BRIEF: Overrides = {"execution": {"timeout_s": 2, "evidence_lag_s": 2, "validity_s": 3}}
_TOPS_UP: Overrides = {"strategy": {"sizing": "proportional", "ratio": "0.2"}}


def _unmined(scene: Scene, how: str) -> str:
    way = "FAILED" if how == "failed" else "MINED"
    stake = hold(scene)
    scene.do("settle", ways=["STUCK"])
    scene.trade(stake.leader, stake.market, usdc=60)
    scene.until(lambda: scene.on.do("idle")["stuck"] == 1, "a purchase that is not mined")
    stake.leave(how)
    law(
        scene,
        lambda: stake.shares() <= stake.theirs + CENT,
        "what has settled is sold while the rest is not mined",
        stake.said,
    )
    scene.on.do("release", way=way)
    scene.until(lambda: not scene.on.do("idle")["stuck"], "the purchase goes on")
    stake.reached()
    return "what had settled went at once, the rest when it was there"


def _restarted(scene: Scene, how: str) -> str:
    stake = hold(scene)
    stake.stand(how)
    cold(scene)
    stake.bids()
    stake.reached()
    return "the next life went on with the exit that stood"


def _restored(scene: Scene, how: str) -> str:
    stake = hold(scene)
    scene.rest()
    backup = scene.on.home.path / "backup.db"
    files.backup(scene.on.ledger, backup)
    stake.leave(how)
    stake.reached()
    scene.on.down()
    scene.faults += 1
    files.restore(backup, scene.on.ledger, "demo")
    scene.on.up()
    steer(scene, "running")
    stake.rest()
    return "the leader's sale was read again, and nothing was sold again"


def _ahead(scene: Scene) -> str:
    stake = hold(scene)
    scene.on.down()
    with closing(sqlite3.connect(scene.on.ledger)) as other, other:
        # As if we had watched for two hours: what is older than the watch is history to the bot.
        other.execute("UPDATE leader SET watch_start_s = watch_start_s - 7200")
    scene.on.up()
    scene.do("clock", seconds=-180)
    scene.do("stream", channel="user", mode="silent")
    scene.fault("drop", times=-1)
    stake.leave("full")
    stake.keeps(SHORT_S)
    stake.reached()
    return "our own trade was found although our clock is three minutes ahead"


def _killed_late(scene: Scene, how: str = "full") -> str:
    stake = hold(scene)
    scene.do("quirk", do="killed_late", ms=6000)
    stake.leave(how)
    stake.reached()
    return "the fill that showed late was booked, and nothing was sold in its place"


def _unproven(scene: Scene, how: str) -> str:
    stake = hold(scene)
    scene.do("lookups", lag_ms=120_000)
    scene.do("stream", channel="user", mode="silent")
    scene.fault("drop", times=-1)
    stake.leave(how)
    stake.keeps(SHORT_S)
    scene.on.do("heal")
    stake.reached()
    return "an attempt that nobody could prove was not made again"


def _matched_more(scene: Scene) -> str:
    scene.do("quirk", do="matched_more")
    stake = hold(scene)
    stake.leave("full")
    stake.reached()
    return "an answer a millionth above its trades ends its order all the same"


DRILLS = [
    *ways(
        "unmined", _unmined, "", _TOPS_UP,
        full="he sells all, and a part of what we bought is mined late",
        failed="he sells all, and a part of what we bought FAILS late",
        complement="he buys the other side, and a part of ours is mined late",
    ),
    *ways(
        "restart", _restarted, plan=LATE,
        full="the executor is killed while an exit stands",
        complement="the executor is killed while an exit by the other side stands",
    ),
    *ways(
        "restored", _restored,
        full="a backup from before the exit is restored",
        tenth="a backup from before two sales of 10 % is restored",
        complement="a backup from before he bought the other side is restored",
    ),
    exit_drill("ahead", "our clock is ahead, and an answer is lost", _ahead, "", _BRIEF),
    *ways(
        "killed_late", _killed_late, "", _LAGS,
        full="answered as killed, and the fill shows later, within the lag",
        tenth="he sells 10 % twice, the first sale of ours is answered as killed",
    ),
    exit_drill("killed_late.ended", "the fill shows after its order's end", _killed_late),
    *ways(
        "unproven", _unproven, "", _BRIEF,
        full="an answer is lost, and lookups show nothing for two minutes",
        tenth="he sells 10 % twice, and the first answer is lost",
    ),
    exit_drill("matched_more", "an answer is a millionth above its trades", _matched_more),
]  # fmt: skip
