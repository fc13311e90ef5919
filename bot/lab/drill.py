"""Drills: hurt the running bot on purpose, take the fault away, and let the checker judge.

Each drill has a throw-away home, its own exchange, real workers under a real supervisord. It
passes if it saw what it expected, everything came to rest, nothing was lost or done twice, and
the ledger equals the exchange.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot import report
from bot.lab.judge import Judgement, judge, settled
from bot.lab.testbed import PATIENCE_S, Overrides, Testbed, interrupted, set_up
from bot.model.units import MICRO

#: What drills set that nobody else does.
OVERRIDES: Overrides = {
    # An answer is late after this long: nobody waits for ten seconds.
    "execution": {"timeout_s": 3},
    # Entries may be old: on a busy machine they are, and how long anything takes is not the point.
    "strategy": {"max_signal_age_s": int(PATIENCE_S)},
}


class Unmet(Exception):
    """A drill did not see what it expected."""


class LawBroken(Unmet):
    """What a drill is about did not hold; any other end means that the drill broke down."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one drill."""

    name: str
    passed: bool
    recovered_s: (
        float | None
    )  #: from the blow to being at work again, where something was killed or frozen
    duplicates: int
    lost: int
    what: str
    found: str
    kills: int
    faults: int
    duration_s: float


@dataclass
class Scene:
    """A testbed during one drill, with what has been done to it."""

    on: Testbed
    patience_s: float = PATIENCE_S
    kills: int = 0
    faults: int = 0
    recovered_s: float | None = None
    judgement: Judgement | None = None
    _struck_us: int = 0

    def trade(self, leader: int = 1, market: int = 1, **more: Any) -> None:
        """Let a leader trade, by default an entry that will be followed."""
        self.on.do("trade", leader=leader, market=market, **more)

    def enter(self, leader: int = 0, market: int = 0) -> None:
        """Follow an entry to its end, so that there is something to exit from."""
        self.trade(leader, market, usdc=60)
        self.until(lambda: self.held() > 0, "a first entry is on the chain")

    def held(self) -> int:
        """Return how many fills have arrived on the chain."""
        return int(
            self.on.value("SELECT COUNT(*) FROM fill WHERE settlement IN ('mined', 'confirmed')")
        )

    def fault(self, do: str, *, on: str = "POST /order", **more: Any) -> None:
        """Add a fault at the exchange's edge."""
        self.faults += 1
        self.on.do("fault", on=on, do=do, **more)

    def do(self, what: str, **arguments: Any) -> None:
        """Do something else to the exchange that counts as a fault."""
        self.faults += 1
        self.on.do(what, **arguments)

    def until(
        self, condition: Callable[[], Any], what: str, *, seconds: float | None = None
    ) -> None:
        """Wait for a condition, for as long as the drill has patience or for so many seconds."""
        self.on.until(condition, what, seconds=self.patience_s if seconds is None else seconds)

    def orders(self, where: str = "1") -> list[dict[str, Any]]:
        """Return the orders that fit, oldest first."""
        return self.on.rows(f"SELECT * FROM orders WHERE {where} ORDER BY created_us")  # noqa: S608

    def copied(self, number: int) -> None:
        """Wait until so many decisions were copies."""
        self.until(
            lambda: (
                self.on.value("SELECT COUNT(*) FROM decision WHERE verdict = 'copied'") >= number
            ),
            f"{number} copied decisions",
        )

    def strikes(self, point: str) -> None:
        """Wait until an armed failpoint has struck."""
        self.until(lambda: not self.on.armed(point), f"failpoint {point} strikes")
        self.struck()

    def struck(self) -> None:
        """Note that a process has been killed or frozen just now.

        The first blow starts the clock.
        """
        self.kills += 1
        self._struck_us = self._struck_us or time.time_ns() // 1000

    def kill(self, worker: str, number: int = 9) -> None:
        """Send a worker a signal."""
        self.struck()
        self.on.kill(worker, number)

    def back(self, *workers: str) -> None:
        """Wait until the workers are at work again in new lives."""
        self.until(
            lambda: all(self._ready_us(w) for w in workers),
            f"{' and '.join(workers)} at work again",
        )
        last = max(self._ready_us(w) for w in workers)
        self.recovered_s = round((last - self._struck_us) / MICRO, 2)

    def _ready_us(self, worker: str) -> int:
        return int(
            self.on.value(
                "SELECT COALESCE(MAX(ready_us), 0) FROM boot WHERE worker = ? AND started_us > ?"
                " AND ended_us IS NULL",
                worker,
                self._struck_us,
            )
        )

    def alerted(self, key: str) -> None:
        """Wait for an open alert whose key begins like this."""
        self.until(
            lambda: self.on.value(
                "SELECT COUNT(*) FROM alert WHERE cleared_us IS NULL AND key LIKE ?", f"{key}%"
            ),
            f"alert {key}",
        )

    def rest(self) -> None:
        """Take every fault away and wait until everything is decided, ended and settled.

        A fault that never strikes fails the drill: it would have shown nothing.
        """
        self.until(lambda: not self.on.do("idle")["idle"], "every fault has struck")
        self.on.do("heal")
        self.until(self._rests, "everything comes to rest")

    def _rests(self) -> bool:
        truth = self.on.truth()
        with report.read(self.on.ledger) as found:
            return settled(found, truth)

    def judge(self) -> Judgement:
        """Compare ledger and exchange; the last judgement is the drill's."""
        truth = self.on.truth()
        with report.read(self.on.ledger) as found:
            self.judgement = judge(found, truth)
        return self.judgement


@dataclass(frozen=True, slots=True)
class Drill:
    """One fault: its name, what is done, and the play that does it and returns what was found."""

    name: str
    what: str
    act: Callable[[Scene], str]
    overrides: Overrides = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    #: Makes a folder for the home that is not the temporary folder (a small disk, say).
    folder: Callable[[], Path] | None = None
    give_back: Callable[[Path], None] = lambda _: None
    #: An act without a testbed: it proves something in this process.
    alone: bool = False
    #: Needs the right to mount a small disk, which an ordinary user has not.
    root: bool = False
    #: What is known to be wrong and lets it fail: an expected failure until that is mended.
    finding: str = ""
    #: How long it waits for each thing it expects.
    patience_s: float = PATIENCE_S


def expect(condition: object, what: str) -> None:
    """Raise Unmet unless the condition holds."""
    if not condition:
        raise Unmet(f"expected {what}")


def run_one(drill: Drill) -> Result:
    """Play one drill and return its result.

    A drill that breaks down has failed, with the reason.
    """
    began = time.monotonic()
    scene: Scene | None = None
    try:
        if drill.alone:
            found = drill.act(Scene(None))  # type: ignore[arg-type]
            return Result(drill.name, True, None, 0, 0, drill.what, found, 0, 1, _since(began))
        with _staged(drill) as on:
            scene = Scene(on, drill.patience_s)
            on.up()
            found = drill.act(scene)
            scene.rest()
            problems = scene.judge().problems
            passed = not problems
            found = found if passed else "; ".join(problems)[:500]
    except Exception as error:  # whatever breaks a drill down is its result
        passed, found = False, f"{type(error).__name__}: {error}"[:700]
    judgement = scene.judgement if scene else None
    return Result(
        drill.name,
        passed,
        scene.recovered_s if scene else None,
        len(judgement.twice) if judgement else 0,
        len(judgement.missing) if judgement else 0,
        drill.what,
        found,
        scene.kills if scene else 0,
        scene.faults if scene else 0,
        _since(began),
    )


@contextmanager
def _staged(drill: Drill) -> Iterator[Testbed]:
    plan = {"seed": 1, "failed_share": 0, "retried_share": 0, **drill.plan}
    overrides = {
        name: {**OVERRIDES.get(name, {}), **drill.overrides.get(name, {})}
        for name in {**OVERRIDES, **drill.overrides}
    }
    folder = drill.folder() if drill.folder else None
    try:
        with set_up(plan, overrides=overrides, folder=folder) as found:
            yield found
    finally:
        if folder is not None:
            drill.give_back(folder)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def run(drills: Iterable[Drill], *, jobs: int, started: Callable[[str], None]) -> Iterator[Result]:
    """Play drills, `jobs` at a time, and yield the results in their order.

    `started` hears each name.
    """

    def play(drill: Drill) -> Result:
        started(drill.name)
        return run_one(drill)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(play, drills)
        except BaseException:
            interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
