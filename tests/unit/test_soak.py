"""What has grown with time is told; what has filled once is not."""

from dataclasses import replace

import pytest

from bot.config.home import WORKERS
from bot.lab.soak import Sample, compared, drift, growth

MB = 2**20


def sample(i: int, **changes) -> Sample:
    gauges = {name: {"pss_bytes": 40 * MB, "handles": 20, "tasks": 12} for name in WORKERS}
    return replace(Sample((1, 2, 3), gauges, 10_000 + 26_000 * i, 10 + 10 * i), **changes)


def grown(worker: str, gauge: str, by: float) -> list[Sample]:
    """Return forty samples in which one gauge of one worker grows by so much each."""
    found = [sample(i) for i in range(40)]
    for i, each in enumerate(found):
        each.gauges[worker][gauge] += round(by * i)
    return found


def test_what_stays_as_it_is_passes():
    samples = [sample(i) for i in range(40)]
    assert drift(samples) == []
    assert compared(samples)["monitor"]["handles"] == (20, 20)
    assert growth(samples) == (2_600, 2_600)


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize(("gauge", "by"), [("pss_bytes", MB / 5), ("handles", 1), ("tasks", 1)])
def test_what_grows_with_time_is_told(worker, gauge, by):
    (problem,) = drift(grown(worker, gauge, by))
    assert problem.startswith(f"{worker}: {gauge} went from")


@pytest.mark.parametrize(("gauge", "by"), [("pss_bytes", MB / 20), ("handles", 0.05)])
def test_what_fills_a_little_passes(gauge, by):
    assert drift(grown("monitor", gauge, by)) == []


def test_a_gauge_that_nobody_told_is_a_problem():
    samples = [sample(i) for i in range(40)]
    for each in samples:
        each.gauges["health"]["tasks"] = 0
    assert drift(samples) == ["health: tasks went from 0 to 0"]


def test_a_ledger_that_takes_ever_more_for_a_trade_is_told():
    samples = [sample(i, ledger_bytes=10_000 + 26_000 * i + 1_000 * i * i) for i in range(40)]
    (problem,) = drift(samples)
    assert problem.startswith("the ledger grew by")


def test_a_ledger_that_takes_far_too_much_for_a_trade_is_told():
    samples = [sample(i, ledger_bytes=10_000 + 90_000 * i) for i in range(40)]
    assert drift(samples) == ["the ledger grew by 9000 bytes a trade, then by 9000"]


def test_over_a_few_trades_nothing_is_said_of_growth():
    samples = [sample(i, ledger_bytes=10_000 + 90_000 * i, trades=i) for i in range(40)]
    assert drift(samples) == []


def test_so_short_a_run_has_quarters_too():
    assert compared([sample(0), sample(1)])["health"]["tasks"] == (12, 12)


def test_a_worker_that_died_on_the_way_is_told():
    samples = [sample(i) for i in range(40)]
    samples[30] = replace(samples[30], lives=(1, 4, 3))
    assert drift(samples) == ["a worker was started again"]
