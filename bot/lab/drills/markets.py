"""What may become of an order at the exchange.

Killed, partial, delayed, failed, closed, drained.
"""

from functools import partial
from typing import Any

from bot.lab.drill import Drill, Scene, expect


def _in_flight(scene: Scene, then: dict[str, Any]) -> None:
    """Let something happen between the sending of an order and the exchange's look at it."""
    scene.fault("slow", seconds=1.5)
    scene.trade()
    scene.copied(1)
    scene.do(**then)


def _killed(scene: Scene) -> str:
    _in_flight(scene, {"what": "depth", "shares": 0, "market": 1})
    scene.until(lambda: scene.orders()[0]["state"] == "cancelled", "cancelled by evidence")
    expect(scene.on.value("SELECT errors FROM control") == 0, "no error counted: it is business")
    return "cancelled, budget free, no error counted"


def _partial(scene: Scene) -> str:
    _in_flight(scene, {"what": "depth", "shares": 3, "market": 1})
    scene.until(lambda: scene.orders()[0]["state"] == "partial", "partial")
    return "the part that matched is booked, the rest of the budget is free"


def _killed_reply(scene: Scene) -> str:
    scene.do("stream", channel="user", mode="silent")
    scene.fault("killed", before_s=1.5)
    scene.trade()
    scene.copied(1)
    scene.do("depth", shares=3, market=1)
    scene.until(lambda: scene.orders()[0]["state"] in ("partial", "filled"), "ended by evidence")
    return "the reply said killed, the fills were found and booked"


def _delayed(scene: Scene, unmatched: bool) -> str:
    scene.do("delay", ms=1500, unmatched=unmatched)
    scene.trade()
    scene.copied(1)
    wanted = "cancelled" if unmatched else "filled"
    scene.until(lambda: scene.orders()[0]["state"] == wanted, wanted)
    return f"held back by the exchange, {wanted} in the end"


def _failed(scene: Scene) -> str:
    scene.do("settle", ways=["FAILED"])
    scene.trade()
    scene.copied(1)
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM fill WHERE settlement = 'failed'"),
        "failed on the chain",
    )
    scene.on.do("stream", channel="user", mode="duplicate")
    row = scene.on.rows("SELECT shares, cost, realized FROM position")[0]
    expect(not any(row.values()), f"nothing held, found {row}")
    day = scene.on.rows("SELECT realized, fees, bought FROM daily_pnl")[0]
    expect(not any(day.values()), f"an untouched day, found {day}")
    expect(
        scene.on.value("SELECT COUNT(*) FROM event WHERE kind = 'fill.failed'") == 1, "one reversal"
    )
    return "position, cost, PnL, fees and cash taken back once"


def _failed_exit(scene: Scene) -> str:
    scene.enter()
    scene.do("settle", ways=["FAILED"])
    scene.trade(0, 0, side="SELL")
    scene.until(
        lambda: (
            scene.on.value("SELECT COUNT(*) FROM orders WHERE side = 'SELL' AND state = 'filled'")
            == 2
        ),
        "sold again",
    )
    scene.rest()
    expect(scene.on.value("SELECT SUM(shares) FROM position") < 10_000, "nothing held in the end")
    return "the exit failed on the chain, was reversed, and sold again"


def _retrying(scene: Scene) -> str:
    scene.do("settle", ways=["RETRYING", "MINED"])
    scene.trade()
    scene.copied(1)
    scene.rest()
    expect(scene.on.value("SELECT settlement FROM fill") == "confirmed", "confirmed")
    return "confirmed under its second transaction hash, booked once"


def _tick(scene: Scene) -> str:
    _in_flight(scene, {"what": "tick", "market": 1, "tick": 10_000})
    scene.until(lambda: scene.orders()[0]["state"] in ("rejected", "filled"), "an end")
    scene.rest()
    scene.trade(2, 1)
    scene.copied(2)
    scene.rest()
    states = [o["state"] for o in scene.orders()]
    expect(states[1] == "filled", f"the next order on the new tick filled, found {states}")
    return f"the order in flight was {states[0]}, the next one used the new tick"


def _drained(scene: Scene) -> str:
    scene.do("drain", usdc=995)
    scene.trade()
    scene.copied(1)
    scene.until(lambda: scene.orders()[0]["state"] == "rejected", "refused for want of balance")
    scene.on.do("drain", usdc=-995)
    return "refused with proof, budget free; the ledger still adds up once the money is back"


def _allowance(scene: Scene) -> str:
    scene.do("allowance", allowed=False)
    for market in range(1, 6):
        scene.trade(market % 2, market)
        scene.until(
            lambda n=market: len(scene.orders("state = 'rejected'")) >= n,  # type: ignore[misc]
            "refused",
        )
    scene.until(lambda: scene.on.value("SELECT mode FROM control") == "paused", "the breaker trips")
    scene.trade(1, 0)
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision WHERE reason = 'paused'"),
        "entries stop",
    )
    return "five refusals trip the breaker; the next entry is skipped as paused"


def _closed(scene: Scene) -> str:
    _in_flight(scene, {"what": "close", "market": 1})
    scene.until(lambda: scene.orders()[0]["state"] == "rejected", "refused")
    expect(scene.on.value("SELECT errors FROM control") == 0, "no error counted")
    return "refused with proof, budget free, no error counted"


def _closed_exit(scene: Scene) -> str:
    scene.enter()
    scene.do("close", market=0, quotes=True)
    scene.trade(0, 0, side="SELL")
    scene.copied(2)
    refused = "side = 'SELL' AND state = 'rejected'"
    scene.until(lambda: scene.orders(refused), "the exit is refused")
    scene.trade(1, 2)
    scene.copied(3)
    scene.rest()
    expect(
        scene.on.value(
            "SELECT SUM(shares) FROM position WHERE token = ?", scene.orders()[0]["token"]
        )
        < 10_000,
        "the exit to be made good",
    )
    return "other markets went on; the exit was tried again and sold when the market was open"


DRILLS = [
    Drill("orders.killed", "liquidity vanishes before the order arrives", _killed),
    Drill("orders.partial", "a part of the liquidity vanishes before the order arrives", _partial),
    Drill(
        "orders.killed_reply",
        "partly filled, and the reply says that nothing matched",
        _killed_reply,
    ),
    Drill(
        "orders.delayed",
        "the exchange holds the order back, then matches it",
        partial(_delayed, unmatched=False),
    ),
    Drill(
        "orders.unmatched",
        "the exchange holds the order back, then drops it",
        partial(_delayed, unmatched=True),
    ),
    Drill("orders.failed", "a matched entry FAILS on the chain", _failed),
    Drill("orders.failed_exit", "a matched exit FAILS on the chain", _failed_exit),
    Drill("orders.retrying", "a matched entry is RETRIED with a new hash", _retrying),
    Drill("orders.tick", "the market's tick changes while an order is in flight", _tick),
    Drill("orders.drained", "our collateral is moved elsewhere", _drained),
    Drill("orders.allowance", "our allowance is revoked", _allowance),
    Drill("orders.closed", "the market closes while an order is in flight", _closed),
    Drill("orders.closed_position", "a market closes while we hold its token", _closed_exit),
]
