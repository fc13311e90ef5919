"""Many leaders in a crowd: does whoever watches them keep up, miss nothing, and stay small?

The simulation shows so many fills a second of everybody; few are of leaders. The leaders are
followed by the operator's word, with the settings of any other bot.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bot import report
from bot.config.home import WORKERS
from bot.lab.demo import leave_nothing
from bot.lab.judge import judge, settled
from bot.lab.testbed import Testbed, set_up
from bot.ledger import roster
from bot.ledger.db import Ledger, Tx
from bot.model.leader import Word
from bot.model.units import MICRO
from bot.report.beats import beats

SAMPLE_S = 1.0
#: What comes after the last fill is seen, decided and settled within this.
REST_S = 240.0
#: Half a core is what the monitor may take.
MOST_CPU = 0.5
#: What waits to be stored or decided goes up and down. A queue that grows does not come down: its
#: longest in the last quarter is held against that of the second, and more than a second's fills.
LONGER = 2.0
#: Of memory, as of a soak: caches fill, and the kernel counts shared pages by who else uses them.
LARGER, SLACK_BYTES = 1.05, 4 * 2**20
_FACTS = {
    "risk": {
        "max_market_usdc": 2_000, "max_exposure_usdc": 50_000, "max_daily_volume_usdc": 1_000_000,
        "breaker_loss_usdc": 50_000,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """How many leaders, how many fills a second of everybody, and for how long."""

    leaders: int
    per_s: int
    seconds: int
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Moment:
    """What the workers are like at a moment."""

    fills: int  #: of everybody, so far
    waiting: int  #: sights that are not stored, signals that nobody was told of or has decided
    dropped: int
    pss_bytes: dict[str, int]
    lives: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CrowdVerdict:
    """What happened. Memory and queue are (second quarter, last quarter) of the time."""

    ok: bool
    leaders: int
    fills: int  #: of everybody
    fills_per_s: float
    leader_trades: int
    copied: int
    orders: int
    missed: int
    duplicates: int
    dropped: int
    longest_queue: tuple[int, int]
    cpu_cores: dict[str, float]  #: of each worker, while the crowd traded
    memory_mb: dict[str, tuple[float, float]]
    duration_s: float
    seed: int
    problems: list[str] = field(default_factory=list)


def run(options: Options, watch: Callable[[str], None]) -> CrowdVerdict:
    """Let the crowd trade, wait until all is settled, and judge. Raises ConfigError."""
    began = time.monotonic()
    leave_nothing()
    plan = {
        "seed": options.seed, "crowd": [options.leaders, options.per_s, options.seconds],
        "collateral": 1_000_000 * MICRO, "block_ms": 2_000, "mined_ms": 2_000,
        "confirmed_ms": 5_000,
    }  # fmt: skip
    with set_up(plan, follow=(), overrides=_FACTS) as on:
        watch(f"{options.leaders} leaders are followed")
        asyncio.run(_follow(on.ledger, on.address["leaders"]))
        on.up(drilled=False)
        on.venue.post("/sim/start")
        processes = {worker: on.alive(worker) for worker in WORKERS}
        spent, at = _cpu(processes), time.monotonic()
        moments = _watched(on, options, watch)
        seconds = time.monotonic() - at
        cores = {w: round((n - spent[w]) / seconds, 3) for w, n in _cpu(processes).items()}
        on.until(lambda: _rests(on), "everything comes to rest", seconds=REST_S)
        truth = on.truth()
        with report.read(on.ledger) as found:
            return _verdict(found, truth, options, (moments, cores, seconds), began)


async def _follow(path: Path, wallets: Sequence[str]) -> None:
    def say(tx: Tx, part: Sequence[str]) -> None:
        for wallet in part:
            roster.say(tx, wallet, Word.FOLLOW, now_s=int(time.time()))

    async with Ledger(path).open() as ledger:
        for start in range(0, len(wallets), roster.AT_ONCE):
            await ledger.transact(say, wallets[start : start + roster.AT_ONCE])


def _watched(on: Testbed, options: Options, watch: Callable[[str], None]) -> list[Moment]:
    """Sample until the last fill has come; raises TimedOut where it does not."""
    moments: list[Moment] = []

    def done() -> bool:
        truth = on.truth()
        moments.append(_moment(on, options, truth["steps_left"]))
        now = moments[-1]
        watch(f"{now.fills} fills, {len(truth['leader_trades'])} of leaders, {now.waiting} wait")
        time.sleep(SAMPLE_S)
        return not truth["steps_left"]

    on.until(done, "the crowd is done", seconds=4 * options.seconds + REST_S)
    return moments


def _moment(on: Testbed, options: Options, left: int) -> Moment:
    with report.read(on.ledger) as found:
        told = beats(found)
        undecided = found.value("SELECT COUNT(*) FROM signal WHERE decided = 0")
    monitor = told["monitor"].said
    waiting = monitor.get("waiting_sights", 0) + monitor.get("queue", 0) + undecided
    return Moment(
        options.per_s * options.seconds - left, waiting, monitor.get("dropped_sights", 0),
        {worker: told[worker].said.get("pss_bytes", 0) for worker in WORKERS},
        tuple(beat.life for beat in told.values()),
    )  # fmt: skip


def _cpu(processes: dict[str, psutil.Process | None]) -> dict[str, float]:
    found = {}
    for worker, process in processes.items():
        try:
            times = process.cpu_times() if process is not None else None
        except psutil.NoSuchProcess:
            times = None  # the verdict says that it has ended
        found[worker] = times.user + times.system if times is not None else 0.0
    return found


def _rests(on: Testbed) -> bool:
    truth = on.truth()
    with report.read(on.ledger) as found:
        return settled(found, truth)


def _verdict(
    found: report.Report, truth: dict[str, Any], options: Options,
    measured: tuple[list[Moment], dict[str, float], float], began: float,
) -> CrowdVerdict:  # fmt: skip
    moments, cores, seconds = measured
    judgement = judge(found, truth)
    queue, memory = _queue(moments), _memory(moments)
    fills = moments[-1].fills
    return CrowdVerdict(
        ok=not (problems := judgement.problems + drift(options, moments, cores)),
        leaders=options.leaders, fills=fills, fills_per_s=round(fills / seconds, 1),
        leader_trades=found.value("SELECT COUNT(*) FROM leader_trade"),
        copied=found.value("SELECT COUNT(*) FROM decision WHERE verdict = 'copied'"),
        orders=found.value("SELECT COUNT(*) FROM orders"), missed=len(judgement.missing),
        duplicates=len(judgement.twice), dropped=moments[-1].dropped, longest_queue=queue,
        cpu_cores=cores,
        memory_mb={w: (round(a / 2**20, 1), round(b / 2**20, 1)) for w, (a, b) in memory.items()},
        duration_s=round(time.monotonic() - began, 1), seed=options.seed, problems=problems[:20],
    )  # fmt: skip


def drift(options: Options, moments: Sequence[Moment], cores: dict[str, float]) -> list[str]:
    """Return what did not keep up, or has grown."""
    problems = []
    if len({moment.lives for moment in moments}) > 1:
        problems.append("a worker was started again")
    early, late = _queue(moments)
    if late > max(LONGER * early, options.per_s):
        problems.append(f"what waits grew from {early} to {late}")
    if cores["monitor"] > MOST_CPU:
        problems.append(f"the monitor took {cores['monitor']} of a core, {MOST_CPU} at most")
    if moments[-1].dropped:
        problems.append(f"{moments[-1].dropped} sights were dropped")
    for worker, (before, after) in _memory(moments).items():
        if not 0 < after <= before * LARGER + SLACK_BYTES:
            problems.append(f"{worker}: memory went from {before:.0f} to {after:.0f} bytes")
    return problems


def _quarters(moments: Sequence[Moment]) -> tuple[Sequence[Moment], Sequence[Moment]]:
    part = max(len(moments) // 4, 1)
    return moments[part : 2 * part], moments[-part:]


def _queue(moments: Sequence[Moment]) -> tuple[int, int]:
    early, late = _quarters(moments)
    return max(m.waiting for m in early), max(m.waiting for m in late)


def _memory(moments: Sequence[Moment]) -> dict[str, tuple[float, float]]:
    early, late = _quarters(moments)

    def middle(some: Sequence[Moment], worker: str) -> float:
        return sorted(m.pss_bytes[worker] for m in some)[len(some) // 2]

    return {worker: (middle(early, worker), middle(late, worker)) for worker in WORKERS}
