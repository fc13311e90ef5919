"""What a healthy market meets while everything else is at its worst, and how much is decided.

One market's endpoint hangs and a leader keeps trading there; another leader, who has just been
added, holds three hundred open markets; two thousand new ones are written to the market table.
Then come a stream of purchases that are too small to follow, and one of which a fifth is followed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.lab.bench.scenarios import Played, played
from bot.lab.testbed import PATIENCE_S, Testbed, set_up
from bot.model.units import MICRO

#: Markets of the leader who is added, and those that are new.
HELD, LISTED = 300, 2_000
#: How late his holdings are told: while it is measured.
SLOW_S = 3.0
GAP_S = 0.25
#: Purchases a second, and for how long.
FLOOD_PER_S, FLOOD_S = 500, 20
_NUMBER = FLOOD_PER_S * FLOOD_S
#: Of another flood one in so many is large enough to follow, in so many markets of their own.
LARGE, FLOODED = 5, 700
_STEADY, _FOLLOWER, _STUCK, _ADDED = 0, 1, 2, 3  #: leaders by number
_HEARS = (
    "SELECT json_extract(detail, '$.rtds_age_s') IS NOT NULL FROM boot"
    " WHERE worker = 'monitor' AND started_us > ? AND ready_us IS NOT NULL"
)
_DECIDED = "SELECT COUNT(*) FROM decision"
_PLACED = (
    "SELECT COUNT(*) AS number, COALESCE(MAX(created_us), 0) AS last_us FROM orders"
    " WHERE created_us > ?"
)


@dataclass(frozen=True, slots=True)
class Busy:
    """What was found: rates are means until the last signal was decided, the last order placed."""

    healthy: Played
    signals_per_s: float
    orders_per_s: float


def measure(
    trades: int,
    plan: Mapping[str, Any],
    overrides: Mapping[str, Mapping[str, Any]],
    tell: Callable[[str], None],
) -> Busy:
    """Play it with real workers; takes about a minute and a half."""
    detect = {**overrides.get("detect", {}), "catalogue": "all"}
    with set_up(plan, overrides={**overrides, "detect": detect}) as on:
        tell("busy: a leader with three hundred open markets")
        added = on.address["leaders"][_ADDED]
        followed = on.config.read_text()
        on.config.write_text(followed.replace(f'[[leaders]]\nwallet = "{added}"\n', ""))
        first = len(on.address["markets"])
        listed = on.do("list", number=HELD + trades + 1)
        for number in range(first, first + HELD):
            on.do("trade", leader=_ADDED, market=number, usdc=30)
        on.up(drilled=False)
        on.do("stop")
        healthy = range(first + HELD, first + HELD + trades)
        _trade(on, _STEADY, healthy)
        tell("busy: a healthy market beside one that hangs")
        _worsen(on, listed["conditions"][-1], listed["tokens"][-1][0])
        on.config.write_text(followed)
        killed_us = time.time_ns() // 1000
        on.kill("monitor")  # its next life reads whom it follows
        on.until(lambda: on.value(_HEARS, killed_us), "the monitor hears trades again")
        found = _trade(on, _FOLLOWER, healthy, stuck=healthy.stop)
        tell(f"busy: {FLOOD_PER_S} signals a second")
        decided = _flood(on)
        tell(f"busy: {FLOOD_PER_S // LARGE} of them to follow")
        return Busy(found, decided, _orders(on))


def _trade(on: Testbed, leader: int, markets: range, stuck: int | None = None) -> Played:
    """Let a leader buy in each market, and another one now and then in the one that hangs."""
    on.do("passed", reset=True)
    for number in markets:
        if stuck is not None and number % 4 == 0:
            on.do("trade", leader=_STUCK, market=stuck, usdc=60)
        on.do("trade", leader=leader, market=number, usdc=60)
        time.sleep(GAP_S)
    on.until(lambda: len(on.do("passed")["said_ms"]) >= len(markets), "an order for each purchase")
    return played(len(markets), on.do("passed"), "mined")


def _worsen(on: Testbed, condition: str, token: str) -> None:
    for what, where in (
        ("GET /clob-markets/", condition),
        ("GET /book", token),
        ("POST /books", token),
    ):
        on.do("fault", on=what, do="hang", times=-1, where=where)
    on.do("fault", on="GET /v2/positions", do="slow", seconds=SLOW_S)
    on.do("list", number=LISTED)


def _flood(on: Testbed) -> float:
    """Return how many purchases a second are decided that are too small to follow."""
    on.do("heal")
    begun, before = time.monotonic(), on.value(_DECIDED)
    on.do("flood", leaders=[_STUCK], market=0, number=_NUMBER, per_s=FLOOD_PER_S)
    _decided(on, before + _NUMBER)
    return round(_NUMBER / (time.monotonic() - begun), 1)


def _orders(on: Testbed) -> float:
    """Return how many orders a second are placed where one purchase in five is to be followed,
    each in a market of its own.
    """
    first = on.do("list", number=FLOODED)["first"]
    began_us, before = time.time_ns() // 1000, on.value(_DECIDED)
    on.do(
        "flood", leaders=[_STEADY, _FOLLOWER, _STUCK], market=first, markets=FLOODED,
        number=_NUMBER, per_s=FLOOD_PER_S, large=LARGE,
    )  # fmt: skip
    _decided(on, before + _NUMBER)
    (placed,) = on.rows(_PLACED, began_us)
    orders, last_us = int(placed["number"]), int(placed["last_us"])
    return round(orders / max((last_us - began_us) / MICRO, FLOOD_S), 1)


def _decided(on: Testbed, number: int) -> None:
    on.until(lambda: on.value(_DECIDED) >= number, "every signal", seconds=4 * PATIENCE_S)
