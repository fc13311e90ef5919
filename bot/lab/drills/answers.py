"""What may become of the answer to POST /order, and of lookups."""

from functools import partial
from typing import Any

from bot.lab.drill import Drill, Scene, expect

_POST_ONLY = (
    '{"error":"post-only mode: only post-only orders and cancels are allowed",'
    '"code":"post_only_mode",'
    '"retry_after_seconds":1}'
)
_CANCEL_ONLY = (
    '{"error":"Trading is currently cancel-only. New orders are not accepted,'
    ' but cancels are allowed."}'
)
_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "dropped": ("accepted, and the answer is lost", {"do": "drop"}),
    "error_after_accept": ("accepted, and answered HTTP 500", {"do": "error"}),
    "late": ("accepted, and answered after the client has given up", {"do": "late", "seconds": 4}),
    "slow": ("accepted only after the client has given up", {"do": "slow", "seconds": 4}),
    "reset": ("the connection is reset before the exchange reads", {"do": "reset"}),
    "empty": ("accepted, and answered without a body", {"do": "empty"}),
    "half": ("accepted, and answered with half of the JSON", {"do": "half"}),
    "malformed": ("accepted, and answered with other types", {"do": "malformed"}),
    "html": ("accepted, and a proxy answers with HTML", {"do": "html"}),
    "killed_but_filled": ("filled, and answered that nothing matched", {"do": "killed"}),
    "restarting": ("HTTP 425, the engine restarts", {"do": "status", "status": 425}),
    "too_many": ("HTTP 429 without Retry-After", {"do": "status", "status": 429}),
    "too_many_wait": (
        "HTTP 429 with Retry-After",
        {"do": "status", "status": 429, "retry_after": "2"},
    ),
    "post_only": (
        "HTTP 503, post-only mode",
        {"do": "status", "status": 503, "retry_after": "1", "body": _POST_ONLY},
    ),
    "cancel_only": (
        "HTTP 503, cancel-only mode",
        {"do": "status", "status": 503, "body": _CANCEL_ONLY},
    ),
    "unauthorised": (
        "HTTP 401 to a good key",
        {"do": "status", "status": 401, "body": '{"error":"Unauthorized"}'},
    ),
}


def _answer(scene: Scene, fault: dict[str, Any]) -> str:
    scene.enter()
    scene.fault(**fault, times=2)
    scene.trade()
    scene.trade(0, 0, side="SELL")
    scene.copied(3)
    scene.rest()
    orders = scene.orders()
    expect(
        all(o["state"] == "filled" for o in orders),
        f"all filled, found {[o['state'] for o in orders]}",
    )
    return (
        f"{len(orders)} orders, sent {sum(o['sends'] for o in orders)} times,"
        " each once at the exchange, all filled"
    )


def _ten_lost_answers(scene: Scene) -> str:
    scene.fault("drop", times=-1)
    for i in range(10):
        scene.trade(i % 2, i % 5)
    scene.until(lambda: scene.on.value("SELECT COUNT(*) FROM decision") >= 10, "ten decisions")
    scene.rest()
    orders = scene.orders()
    expect(len(orders) >= 5, f"at least five copies, found {len(orders)}")
    return (
        f"{len(orders)} entries whose answers were all lost: {len(orders)} orders at the exchange"
    )


def _frozen(scene: Scene) -> str:
    import os
    import signal
    import time

    scene.enter()
    boots = scene.on.value("SELECT COUNT(*) FROM boot")
    scene.fault("slow", seconds=0.5)
    scene.trade()
    scene.copied(2)  # its order is in the exchange's hands
    os.kill(scene.on.exchange_pid, signal.SIGSTOP)
    scene.faults += 1
    time.sleep(8)  # longer than every timeout of the bot's requests here
    os.kill(scene.on.exchange_pid, signal.SIGCONT)
    scene.trade(1, 2)
    scene.copied(3)
    scene.rest()
    expect(scene.on.value("SELECT COUNT(*) FROM boot") == boots, "nobody to die of it")
    return "the order in flight was settled, nobody died of it, and the next trade was copied"


def _lagging_lookups(scene: Scene) -> str:
    scene.do("lookups", lag_ms=10_000)
    scene.do("stream", channel="user", mode="silent")
    scene.fault("drop", times=1)
    scene.trade()
    scene.copied(1)
    scene.until(lambda: scene.orders()[0]["state"] == "filled", "found in the end")
    return (
        f"sent {scene.orders()[0]['sends']} times, one order at the exchange,"
        " booked when lookups showed it"
    )


DRILLS = [
    *(
        Drill(f"answers.{name}", what, partial(_answer, fault=fault))
        for name, (what, fault) in _FAULTS.items()
    ),
    Drill("answers.ten_lost", "ten entries whose answers are all lost", _ten_lost_answers),
    Drill("answers.frozen", "the whole exchange freezes for eight seconds", _frozen),
    Drill(
        "answers.lookups_lag", "an answer is lost, and lookups show nothing for ten seconds",
        _lagging_lookups,
        {"execution": {"evidence_lag_s": 12, "timeout_s": 3}},
    ),
]  # fmt: skip
