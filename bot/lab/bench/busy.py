"""What a healthy market meets while everything else is at its worst, and how much is decided.

One market's endpoint hangs and a leader keeps trading there; another leader, who has just been
added, holds three hundred open markets; two thousand new ones are written to the market table.
Then comes a stream of purchases that are too small to follow.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.lab.bench.scenarios import Played
from bot.lab.testbed import PATIENCE_S, Testbed, set_up

#: Markets of the leader who is added, and those that are new.
HELD, LISTED = 300, 2_000
#: How late his holdings are told: while it is measured.
SLOW_S = 3.0
GAP_S = 0.25
#: Purchases a second, and for how long.
FLOOD_PER_S, FLOOD_S = 500, 20
_STEADY, _FOLLOWER, _STUCK, _ADDED = 0, 1, 2, 3  #: leaders by number
_HEARS = (
    "SELECT json_extract(detail, '$.rtds_age_s') IS NOT NULL FROM boot"
    " WHERE worker = 'monitor' AND started_us > ? AND ready_us IS NOT NULL"
)
_DECIDED = "SELECT COUNT(*) FROM decision"


@dataclass(frozen=True, slots=True)
class Busy:
    """What was found: `signals_per_s` is the mean until the last one of the flood was decided."""

    healthy: Played
    signals_per_s: float


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
        return Busy(found, _flood(on))


def _trade(on: Testbed, leader: int, markets: range, stuck: int | None = None) -> Played:
    """Let a leader buy in each market, and another one now and then in the one that hangs."""
    on.do("passed", reset=True)
    for number in markets:
        if stuck is not None and number % 4 == 0:
            on.do("trade", leader=_STUCK, market=stuck, usdc=60)
        on.do("trade", leader=leader, market=number, usdc=60)
        time.sleep(GAP_S)
    on.until(lambda: len(on.do("passed")["ms"]) >= len(markets), "an order for each purchase")
    passed = on.do("passed")
    return Played(len(markets), tuple(sorted(passed["ms"].values())), passed["looks"])


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
    on.do("heal")
    number, before, begun = FLOOD_PER_S * FLOOD_S, on.value(_DECIDED), time.monotonic()
    on.do("flood", leader=_STUCK, market=0, number=number, per_s=FLOOD_PER_S)
    on.until(lambda: on.value(_DECIDED) - before >= number, "every signal", seconds=4 * PATIENCE_S)
    return round(number / (time.monotonic() - begun), 1)
