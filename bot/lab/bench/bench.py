"""Measure what users meet: from a leader's trade, as it leaves the exchange, to our order there.

The real workers and, in the same run on the same simulation, a bare copier that stores nothing.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from bot import report
from bot.config.home import WORKERS
from bot.config.schema import DetectSettings, ExecutionSettings
from bot.lab import demo
from bot.lab.bench import budgets, growth, scenarios
from bot.lab.bench import busy as crowd
from bot.lab.bench.budgets import Bench, Timing
from bot.lab.bench.copier import STAKE, copying
from bot.lab.bench.floors import Floors, measure
from bot.lab.bench.scenarios import GIVEN_UP_S, ROUND_TRIPS_MS, Played, Player
from bot.lab.testbed import Testbed, set_up
from bot.model.units import MICRO, decimal_text
from bot.report import audit
from bot.report.status import status

#: Idle is what three workers use in so many seconds in which nothing happens.
IDLE_S = 10
_RICH = 10**6 * MICRO
_STAGES = """
    SELECT (o.created_us - s.seen_us) / 1000.0 AS seen_to_signed,
           (o.sent_us - o.created_us) / 1000.0 AS signed_to_sent
    FROM orders o JOIN intent i ON i.id = o.intent_id JOIN signal s ON s.id = i.signal_id
    WHERE o.side = 'BUY' AND o.attempt = 1 AND o.sent_us IS NOT NULL AND o.created_us >= ?
"""


def run(
    trades: int, tell: Callable[[str], None], *, history: int | None = None, busy: bool = False
) -> Bench:
    """Measure floors, scenarios, memory and idle CPU; `trades` is for each scenario.

    With `history` also what so many processed trades cost, with `busy` what a healthy market meets
    while all others are at their worst. Takes about three minutes with forty trades. `tell` hears
    what is being done.
    """
    demo.leave_nothing()
    tell("floors")
    floors = measure()
    with set_up(_plan(), overrides=_settings()) as on:
        player = Player(on, trades)
        tell("three workers, idle")
        on.up(drilled=False)
        on.do("stop")
        idle = _idle(on)
        ours = {name: _ours(on, player, scenario, name, tell) for name, scenario in _each(on)}
        memory = _memory(on)
        on.down()
        with copying(on):
            bare = {name: _bare(player, scenario, name, tell) for name, scenario in _each(on)}
    timings = {name: _timing(ours[name], bare[name], floors) for name in ours}
    grown = growth.measure(history, tell) if history else {}
    rushed = _busy(trades, tell) if busy else {}
    missed = budgets.missed(floors, timings, memory, idle, grown, rushed)
    return Bench(
        not missed,
        {
            "commit_ms": floors.commit_ms, "signature_ms": floors.signature_ms,
            "hop_ms": floors.hop_ms, "post_ms": floors.post_ms, "sum_ms": floors.sum_ms,
        },
        floors.allowance_ms, timings, memory, idle, grown, rushed, missed,
    )  # fmt: skip


def _busy(trades: int, tell: Callable[[str], None]) -> dict[str, float]:
    found = crowd.measure(trades, _plan(), _settings(), tell)
    return {
        "healthy_p99_ms": _part(found.healthy, 99),
        "signals_per_s": found.signals_per_s,
        "orders_per_s": found.orders_per_s,
    }


def _plan() -> dict[str, Any]:
    return {"collateral": _RICH, "failed_share": 0.0, "retried_share": 0.0, "limits": None}


def _settings() -> dict[str, dict[str, Any]]:
    lots = decimal_text(_RICH)
    return {
        # A testbed is in more of a hurry than users are.
        "detect": {"poll_s": DetectSettings().poll_s},
        "execution": ExecutionSettings().model_dump(include={"settle_poll_s", "evidence_lag_s"}),
        "strategy": {"fixed_usdc": decimal_text(STAKE), "min_leader_usdc": "25"},
        "risk": {"max_exposure_usdc": lots, "max_daily_volume_usdc": lots},
    }


def _each(on: Testbed) -> Iterator[tuple[str, scenarios.Scenario]]:
    for rtt in ROUND_TRIPS_MS:
        on.do("rtt", ms=rtt)
        for scenario in scenarios.ALL:
            yield f"{scenario.name}_rtt{rtt}" if rtt else scenario.name, scenario
    on.do("rtt", ms=0)


def _ours(
    on: Testbed,
    player: Player,
    scenario: scenarios.Scenario,
    name: str,
    tell: Callable[[str], None],
) -> tuple[Played, float, dict[str, float]]:
    tell(f"{name}: three workers")
    began_us, before = time.time_ns() // 1000, _cpu_s(on)
    played = player.play(scenario, lambda: _rests(on), acts_on="mined")
    cpu = (_cpu_s(on) - before) * 1000
    rows = on.rows(_STAGES, began_us)
    stages = {
        stage: round(statistics.median(row[stage] for row in rows), 2)
        for stage in ("seen_to_signed", "signed_to_sent")
        if rows
    }
    return played, cpu, stages


def _bare(
    player: Player, scenario: scenarios.Scenario, name: str, tell: Callable[[str], None]
) -> Played:
    tell(f"{name}: a bare copier")
    return player.play(scenario, acts_on="said")


def _rests(on: Testbed) -> bool:
    with report.read(on.ledger) as found:
        return audit.rests(found)


def _timing(ours: tuple[Played, float, dict[str, float]], bare: Played, floors: Floors) -> Timing:
    played, cpu, stages = ours
    middle = _part(played, 50)
    return Timing(
        asked=played.asked,
        copied=len(played.ms),
        p50_ms=middle,
        p99_ms=_part(played, 99),
        said_p50_ms=_part(replace(played, ms=played.said_ms), 50),
        said_p99_ms=_part(replace(played, ms=played.said_ms), 99),
        copier_p50_ms=_part(bare, 50),
        ratio_to_floors=round(middle / floors.sum_ms, 2),
        requests_before_post=round(played.looks / played.asked, 2),
        cpu_ms_per_trade=round(cpu / max(len(played.ms), 1), 1),
        stages=stages,
    )


def _part(played: Played, percent: int) -> float:
    """Return a percentile of all purchases; one that was not copied took for ever."""
    never = [GIVEN_UP_S * 1000] * (played.asked - len(played.ms))
    found = [*played.ms, *never]
    return round(found[max(0, -(-len(found) * percent // 100) - 1)], 2)


def _cpu_s(on: Testbed) -> float:
    times = [p.cpu_times() for worker in WORKERS if (p := on.alive(worker)) is not None]
    return sum(t.user + t.system for t in times)


def _idle(on: Testbed) -> float:
    before = _cpu_s(on)
    time.sleep(IDLE_S)
    return round((_cpu_s(on) - before) / IDLE_S * 100, 2)


def _memory(on: Testbed) -> float:
    with report.read(on.ledger) as found:
        return round(sum(w.pss_bytes or 0 for w in status(found).workers) / 2**20, 1)
