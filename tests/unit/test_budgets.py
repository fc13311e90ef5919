"""A bench says which budget it missed, and misses none that was met."""

from dataclasses import replace

import pytest

from bot.lab.bench.budgets import Timing, missed
from bot.lab.bench.floors import Floors

FLOORS = Floors(commit_ms=0.7, signature_ms=0.15, hop_ms=0.1, post_ms=0.5)
#: Floors add up to 2.15, and a path that stores may take 2.5 more than one that does not.
GOOD = Timing(40, 40, 4.2, 9.0, 180.0, 260.0, 2.0, 1.95, 0.0, 9.0, {})
FAR = replace(GOOD, p50_ms=33.0, p99_ms=60.0, copier_p50_ms=33.0, ratio_to_floors=15.3)
MET = {"warm": GOOD, "cold": GOOD, "cold_rtt30": FAR, "warm_rtt30": GOOD}


def judged(scenarios=MET, memory=150.0, idle=0.5, growth=None, busy=None):
    return missed(FLOORS, scenarios, memory, idle, growth or {}, busy or {})


def test_floors_are_two_commits_and_one_of_each():
    assert (FLOORS.sum_ms, FLOORS.allowance_ms) == (2.15, 2.5)


def test_what_is_met_is_not_named():
    assert judged(memory=200.0, idle=0.99, growth={"store": 1.3}) == []


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("warm", {"ratio_to_floors": 2.01}, "times its floors"),
        ("warm", {"p50_ms": 4.51}, "p50"),
        ("cold", {"p50_ms": 4.51}, "p50"),
        ("cold", {"p99_ms": 20.1}, "p99"),
        ("cold", {"copied": 39}, "39 of 40"),
        ("cold_rtt30", {"p50_ms": 33.1}, "p50"),
        ("warm_rtt30", {"p50_ms": 4.51}, "p50"),
    ],
)
def test_each_budget_of_a_scenario_is_named_with_its_figure(name, change, said):
    found = judged({**MET, name: replace(MET[name], **change)})
    assert len(found) == 1
    assert found[0].startswith(f"{name}: ")
    assert said in found[0]


def test_far_away_only_the_middle_counts():
    assert judged({**MET, "cold_rtt30": replace(FAR, p99_ms=500.0)}) == []
    assert judged({**MET, "cold": replace(GOOD, ratio_to_floors=9.0)}) == []


def test_memory_idling_and_growth_have_budgets_too():
    assert "memory" in judged(memory=200.1)[0]
    assert "idle" in judged(idle=1.0)[0]
    good = {"healthy_p99_ms": 50.0, "signals_per_s": 475.0, "orders_per_s": 95.0}
    assert judged(busy=good) == []
    assert "p99" in judged(busy={**good, "healthy_p99_ms": 50.1})[0]
    assert "signals/s" in judged(busy={**good, "signals_per_s": 474.9})[0]
    assert "orders/s" in judged(busy={**good, "orders_per_s": 94.9})[0]
    assert "growth of look" in judged(growth={"store": 1.0, "look": 1.31})[0]
