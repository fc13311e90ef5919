"""The storm: random kills of random workers under load, with random faults of the exchange.

At the end the faults are taken away, everything comes to rest, and the checker compares.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from bot import report, supervise
from bot.config.home import WORKERS
from bot.errors import BotError, StateUnknown
from bot.lab.judge import judge, settled
from bot.lab.testbed import EXPIRY_S, Testbed, set_up
from bot.model.units import MICRO

#: Generous limits: the storm is to place orders all the time, and its kills are no crash loop.
_FACTS = {
    "runtime": {"crash_boots": 100, "crash_window_s": 10},
    "execution": {"timeout_s": 3},
    "risk": {
        "max_market_usdc": 20_000, "max_exposure_usdc": 90_000, "max_daily_volume_usdc": 1_000_000,
        "breaker_loss_usdc": 90_000, "breaker_errors": 1000,
    },
}  # fmt: skip
_ANSWERS: tuple[dict[str, Any], ...] = (
    {"do": "drop"},
    {"do": "error"},
    {"do": "late", "seconds": 4},
    {"do": "slow", "seconds": 4},
    {"do": "reset"},
    {"do": "half"},
    {"do": "html"},
    {"do": "empty"},
    {"do": "killed"},
    {"do": "status", "status": 425},
    {"do": "status", "status": 429, "retry_after": "1"},
    {"do": "status", "status": 503},
)
_MODES = ("duplicate", "reorder", "silent", "truncate", "hang_up")
_CHANNELS = ("user", "market", "rtds", "a", "b")
#: A fault of a channel lasts about this long before everything is healed.
_HEAL_S = 15.0


@dataclass(frozen=True, slots=True)
class StormVerdict:
    """What a storm left behind."""

    ok: bool
    seed: int
    kills: int
    faults: int
    leader_trades: int
    decisions: int
    orders: int
    venue_orders: int
    duplicates: int
    lost: int
    ledger_matches_venue: bool
    boots: int
    recovered_s: dict[
        str, float | None
    ]  #: from a kill to being ready, where no second kill came before
    duration_s: float
    problems: list[str] = field(default_factory=list)


def run(kills: int, seed: int, watch: Callable[[str], None]) -> StormVerdict:
    """Kill `kills` times and return what the checker found.

    `watch` hears now and then how it goes.
    """
    began = time.monotonic()
    plan = {"seed": seed, "loop": True, "gap_ms": 300, "collateral": 100_000 * MICRO}
    with set_up(plan, overrides=_FACTS) as on:
        on.up()
        on.venue.post("/sim/start")
        weather = _Weather(on, random.Random(seed), watch)  # noqa: S311 (repeatable on purpose)
        weather.rage(kills)
        on.do("stop")
        struck = on.do("heal")["struck"]
        weather.revive()
        rests = partial(comes_to_rest, on)
        on.until(lambda: on.at_work() and rests(), "everything comes to rest", seconds=EXPIRY_S)
        truth = on.truth()
        with report.read(on.ledger) as found:
            return _verdict(
                found, truth, weather, seed, weather.faults + struck, time.monotonic() - began
            )


def comes_to_rest(on: Testbed) -> bool:
    """Let somebody bid for what stands, and return whether everything rests.

    News took the bids under an exit's floor: it would stand, and rightly, for as long as nobody
    bids more (seed 41 once ended so).
    """
    standing = on.rows(
        "SELECT token, price FROM intent"
        " WHERE kind = 'exit' AND state = 'open' AND price IS NOT NULL"
    )
    for intent in standing:
        on.do("bid", token=intent["token"], price=intent["price"])
    truth = on.truth()
    with report.read(on.ledger) as found:
        return settled(found, truth)


class _Weather:
    """Kills and faults, all drawn from one seed."""

    def __init__(self, on: Testbed, rng: random.Random, watch: Callable[[str], None]) -> None:
        self._on, self._rng, self._watch = on, rng, watch
        self._let_up_us = time.time_ns() // 1000  #: when the storm last let up
        self.struck: list[tuple[str, int]] = []  #: (worker, moment of the kill)
        self.faults = 0

    def rage(self, kills: int) -> None:
        """Go on until so many processes were killed."""
        while len(self.struck) < kills:
            time.sleep(self._rng.uniform(0.05, 1.2))
            for worker in self._rng.sample(WORKERS, self._rng.choice((1, 1, 1, 1, 2, 3))):
                self._kill(worker)
            if self._rng.random() < 0.6:
                self._fault()
            if time.time_ns() // 1000 - self._let_up_us > _HEAL_S * MICRO:
                self._let_up()
        self._let_up()

    def _let_up(self) -> None:
        """Heal everything, and wait for an order where the storm let none through.

        On a slow machine forty kills once left no time to place a single one: such a storm
        ends well and proves nothing.
        """
        self._quietly(lambda: self._on.do("heal"))
        # Its leaders trade to and fro, and are followed less and less: never yet in a new market.
        self._quietly(self._buy)
        self._on.until(self._goes_on, "an order is placed while nothing is killed")
        self._let_up_us = time.time_ns() // 1000

    def _buy(self) -> None:
        self._on.do("trade", market=self._on.do("list")["first"], usdc=60)

    def _goes_on(self) -> bool:
        """Start what was given up, and return whether an order was placed since the last let-up."""
        self.revive()
        placed = "SELECT EXISTS (SELECT 1 FROM orders WHERE created_us > ?)"
        return bool(self._on.value(placed, self._let_up_us))

    def _kill(self, worker: str) -> None:
        try:
            if not self._on.kill(worker):
                return  # not back yet from the last one
        except BotError:
            return  # the ledger is busy; there will be another moment
        self.struck.append((worker, time.time_ns() // 1000))
        if len(self.struck) % 50 == 0:
            self._watch(f"{len(self.struck)} kills, {self.faults} faults")

    def _fault(self) -> None:
        self.faults += 1
        draw = self._rng.random()
        if draw < 0.6:
            on = self._rng.choice(("POST /order", "POST /order", "GET /data/", "GET /v2/"))
            rule = self._rng.choice(_ANSWERS)
            self._quietly(
                lambda: self._on.do("fault", on=on, **rule, times=self._rng.choice((1, 1, 2, 5)))
            )
        elif draw < 0.9:
            channel, mode = self._rng.choice(_CHANNELS), self._rng.choice(_MODES)
            self._quietly(lambda: self._on.do("stream", channel=channel, mode=mode))
        else:
            self._quietly(lambda: self._on.do("lookups", lag_ms=1500))

    @staticmethod
    def _quietly(order: Callable[[], object]) -> None:
        try:
            order()
        except httpx.HTTPError:
            return  # the exchange is busy; the next order will do

    def revive(self) -> None:
        """Start what supervisord has given up on, as an operator would."""
        for process in supervise.processes(self._on.home):
            if process.state == "FATAL":
                try:
                    supervise.revive(self._on.home, process.name)
                except StateUnknown:
                    continue


def _verdict(
    found: report.Report,
    truth: dict[str, Any],
    weather: _Weather,
    seed: int,
    faults: int,
    duration: float,
) -> StormVerdict:
    judgement = judge(found, truth)
    problems = judgement.problems
    return StormVerdict(
        ok=not problems,
        seed=seed,
        kills=len(weather.struck),
        faults=faults,
        leader_trades=found.value("SELECT COUNT(*) FROM leader_trade"),
        decisions=found.value("SELECT COUNT(*) FROM decision"),
        orders=found.value("SELECT COUNT(*) FROM orders"),
        venue_orders=len(truth["orders"]),
        duplicates=len(judgement.twice),
        lost=len(judgement.missing),
        ledger_matches_venue=not judgement.differences,
        boots=found.value("SELECT COUNT(*) FROM boot"),
        recovered_s=_recovered(found, weather.struck),
        duration_s=round(duration, 1),
        problems=problems[:20],
    )


def _recovered(found: report.Report, struck: list[tuple[str, int]]) -> dict[str, float | None]:
    times = []
    for index, (worker, at) in enumerate(struck):
        ready = found.value(
            "SELECT MIN(ready_us) FROM boot WHERE worker = ? AND started_us > ?"
            " AND ready_us IS NOT NULL",
            worker,
            at,
        )
        again = next((t for w, t in struck[index + 1 :] if w == worker), None)
        if ready is not None and (again is None or again > ready):
            times.append((ready - at) / MICRO)
    times.sort()
    if not times:
        return {"p50": None, "max": None}
    return {"p50": round(times[len(times) // 2], 2), "max": round(times[-1], 2)}
