"""What leaders do in a bench: each scenario is so many purchases, one in each market."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bot.errors import TimedOut
from bot.lab.testbed import Testbed

#: Round trips to the exchange at which everything is measured: none, and a usual one.
ROUND_TRIPS_MS = (0, 30)
#: So long an order may take before its purchase counts as not copied.
GIVEN_UP_S = 30.0
#: Between two scenarios everybody comes to rest.
REST_S = 1.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """`gap_s` lies between two purchases; `leader` makes them, `new` markets or known ones."""

    name: str
    leader: int
    gap_s: float
    new: bool = True
    makers: int = 0  #: resting orders that each purchase meets, each a transaction of its own
    part: int = 1  #: of so many purchases of the others there is one here


#: In this order: `warm` goes into the markets that `cold` has made known.
ALL = (
    Scenario("cold", leader=0, gap_s=0.25),
    Scenario("warm", leader=1, gap_s=0.25, new=False),
    Scenario("burst", leader=2, gap_s=0.05),
    Scenario("fifty_makers", leader=3, gap_s=1.0, makers=50, part=4),
)


@dataclass(frozen=True, slots=True)
class Played:
    """From what it acts on to its POST, as the exchange saw it, for each purchase copied."""

    asked: int
    ms: tuple[float, ...]
    said_ms: tuple[float, ...]  #: from the first frame of the stream
    looks: int  #: requests for facts and books meanwhile


class Player:
    """Plays scenarios on one simulation, whoever trades there."""

    def __init__(self, on: Testbed, trades: int) -> None:
        self._on, self._trades = on, trades
        self._listed = len(on.address["markets"])
        self._first = self._listed

    def play(
        self, scenario: Scenario, at_rest: Callable[[], bool] = lambda: True, *, acts_on: str
    ) -> Played:
        """Let the leader buy, wait for the orders, and return what came of it.

        `at_rest` tells whether whoever trades has nothing to do any more; it acts on what is
        `mined`, or `said` by the stream.
        """
        number = max(1, self._trades // scenario.part)
        if scenario.new:
            self._first = self._listed
            self._on.do("list", number=number)
            self._listed += number
        self._on.do("passed", reset=True)
        begun = time.monotonic()
        for i in range(number):
            time.sleep(max(0.0, begun + i * scenario.gap_s - time.monotonic()))
            self._buy(scenario, self._first + i)
        passed = self._wait(number, at_rest)
        return played(number, passed, acts_on)

    def _buy(self, scenario: Scenario, market: int) -> None:
        if scenario.makers:
            self._on.do("makers", market=market, number=scenario.makers)
            self._on.do("trade", leader=scenario.leader, market=market, usdc=500, split=True)
        else:
            self._on.do("trade", leader=scenario.leader, market=market, usdc=60)

    def _wait(self, number: int, at_rest: Callable[[], bool]) -> dict[str, Any]:
        with suppress(TimedOut):  # what has not come is told by its absence

            def came() -> bool:
                return len(self._on.do("passed")["said_ms"]) >= number

            self._on.until(came, "an order for each purchase", seconds=GIVEN_UP_S)
        found = self._on.do("passed")
        self._on.until(at_rest, "rest after a scenario")
        time.sleep(REST_S)
        return found


def played(asked: int, passed: dict[str, Any], acts_on: str) -> Played:
    """Return what the exchange's stopwatch has told."""
    ms, said = (tuple(sorted(passed[f"{name}_ms"].values())) for name in (acts_on, "said"))
    return Played(asked, ms, said, passed["looks"])
