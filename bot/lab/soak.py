"""The soak: hours of trading at twenty times their pace, in which nothing may grow with time.

Leaders trade without a pause, markets are listed and end, connections are lost. What the workers
say of themselves with every beat, and the size of the ledger, is held against what it was before.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bot import report
from bot.config.home import WORKERS
from bot.lab.judge import judge
from bot.lab.storm import comes_to_rest
from bot.lab.testbed import EXPIRY_S, Testbed, set_up
from bot.model.units import MICRO
from bot.report.beats import beats

#: A busy hour: some leader trades every ten seconds.
HOUR_S, GAP_S, SPEED = 3600, 10, 20
SAMPLE_S = 3.0
#: So many samples lie between two listings, two lost connections, and two lines that tell.
LISTING, LOSS, TOLD = 3, 2, 10
#: So many markets that were listed here trade at once; then the oldest ends.
LISTED = 12
#: What a median of the last quarter may be above that of the second: caches fill, and the kernel
#: counts shared pages by who else uses them. A handle or a task left by each lost connection would
#: be fifteen in an hour.
SLACK = {"pss_bytes": (1.05, 2**20), "handles": (1.0, 2), "tasks": (1.0, 3)}
#: By how much the ledger's bytes a trade may grow, and what they may be at most.
GROWTH, MOST_BYTES = 1.3, 8_192
#: SQLite grows by pages: over fewer trades than these one page decides.
FEW_TRADES = 100
_FACTS = {
    "risk": {
        "max_market_usdc": 20_000, "max_exposure_usdc": 90_000, "max_daily_volume_usdc": 10_000_000,
        "breaker_loss_usdc": 90_000,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: gauges by worker, the ledger's bytes, and leader trades so far."""

    lives: tuple[int, ...]
    gauges: Mapping[str, Mapping[str, int]]
    ledger_bytes: int
    trades: int


@dataclass(frozen=True, slots=True)
class SoakVerdict:
    """What became of it: every gauge as (second quarter, last quarter), worker by worker."""

    ok: bool
    seed: int
    hours: float
    trades: int
    orders: int
    markets: int  #: listed on the way; all but the last twelve have ended
    losses: int  #: of a connection
    gauges: dict[str, dict[str, tuple[float, float]]]
    ledger_bytes_per_trade: tuple[float, float]
    duration_s: float
    problems: list[str] = field(default_factory=list)


def run(hours: float, seed: int, watch: Callable[[str], None]) -> SoakVerdict:
    """Play so many hours of trading, let everything come to rest, and judge.

    An hour takes three minutes. `watch` hears now and then how it goes.
    """
    began = time.monotonic()
    gap_ms = GAP_S * 1000 // SPEED
    plan = {"seed": seed, "loop": True, "gap_ms": gap_ms, "collateral": 1_000_000 * MICRO}
    with set_up(plan, overrides=_FACTS) as on:
        on.up(drilled=False)
        on.venue.post("/sim/start")
        load = _Load(on)
        samples = load.go_on(hours * HOUR_S / SPEED, watch)
        on.do("stop")
        on.do("heal")
        on.until(lambda: comes_to_rest(on), "everything comes to rest", seconds=EXPIRY_S)
        truth = on.truth()
        with report.read(on.ledger) as found:
            problems = [*drift(samples), *judge(found, truth).problems]
            orders = found.value("SELECT COUNT(*) FROM orders")
    return SoakVerdict(
        not problems,
        seed,
        hours,
        samples[-1].trades,
        orders,
        load.listed,
        load.losses,
        compared(samples),
        growth(samples),
        round(time.monotonic() - began, 1),
        problems,
    )


#: Our trades, books, leaders' trades on the stream, and their logs at each provider.
_CHANNELS = ("user", "market", "rtds", "a", "b")


class _Load:
    """What happens beside the leaders' trades, and what is seen meanwhile."""

    def __init__(self, on: Testbed) -> None:
        self._on = on
        self._first = len(on.address["markets"])
        self.listed = self.losses = 0

    def go_on(self, seconds: float, watch: Callable[[str], None]) -> list[Sample]:
        """Sample until so many seconds have passed."""
        samples: list[Sample] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(samples) % LISTING == 0:
                self._list()
            if lost := len(samples) % LOSS == LOSS // 2:
                self._lose(len(samples) // LOSS)
            time.sleep(SAMPLE_S)
            if lost:
                self._on.do("heal")
            samples.append(_sample(self._on))
            if len(samples) % TOLD == 0:
                watch(f"{samples[-1].trades} leader trades, {self.listed} markets listed")
        return samples

    def _list(self) -> None:
        self._on.do("list")
        self.listed += 1
        if self.listed > LISTED:
            ended = self._first + self.listed - LISTED - 1
            self._on.do("life", market=ended, stage="paid", payouts=[1, 0])

    def _lose(self, number: int) -> None:
        channel = _CHANNELS[number % len(_CHANNELS)]
        self._on.do("stream", channel=channel, mode="hang_up")
        self.losses += 1


def _sample(on: Testbed) -> Sample:
    with report.read(on.ledger) as found:
        told = beats(found)
        pages, size = found.value("PRAGMA page_count"), found.value("PRAGMA page_size")
        trades = found.value("SELECT COALESCE(SUM(n), 0) FROM tally WHERE kind = 'seen'")
    gauges = {w: {name: told[w].said.get(name, 0) for name in SLACK} for w in WORKERS}
    return Sample(tuple(beat.life for beat in told.values()), gauges, pages * size, trades)


def drift(samples: Sequence[Sample]) -> list[str]:
    """Return what has grown with time, or has not lived through it."""
    problems = []
    if len({sample.lives for sample in samples}) > 1:
        problems.append("a worker was started again")
    for worker, gauges in compared(samples).items():
        for name, (early, late) in gauges.items():
            factor, more = SLACK[name]
            if not 0 < late <= early * factor + more:
                problems.append(f"{worker}: {name} went from {early:.0f} to {late:.0f}")
    early, late = growth(samples)
    few = samples[-1].trades - samples[len(samples) // 2].trades < FEW_TRADES
    if not few and not 0 < late <= min(early * GROWTH, MOST_BYTES):
        problems.append(f"the ledger grew by {early:.0f} bytes a trade, then by {late:.0f}")
    return problems


def compared(samples: Sequence[Sample]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return each gauge's median in the second and in the last quarter, worker by worker."""
    part = max(len(samples) // 4, 1)
    early, late = samples[part : 2 * part], samples[-part:]
    return {
        worker: {
            name: (_median(early, worker, name), _median(late, worker, name)) for name in SLACK
        }
        for worker in WORKERS
    }


def _median(samples: Sequence[Sample], worker: str, name: str) -> float:
    return statistics.median(sample.gauges[worker][name] for sample in samples)


def growth(samples: Sequence[Sample]) -> tuple[float, float]:
    """Return the ledger's bytes a leader trade in the first half and in the second."""
    half = len(samples) // 2
    return _grown(samples[0], samples[half]), _grown(samples[half], samples[-1])


def _grown(first: Sample, last: Sample) -> float:
    return (last.ledger_bytes - first.ledger_bytes) / max(last.trades - first.trades, 1)
