"""The demo: a simulated Polymarket, the real workers, and an honest verdict.

The workers run under a real supervisord. The verdict compares the ledger with what the simulated
exchange says is true; `ok` is computed from that and from nothing else.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot import report
from bot.lab.judge import judge, settled
from bot.lab.testbed import Overrides, Testbed, set_up
from bot.model.units import MICRO, decimal_text
from bot.report import lists
from bot.report.status import status as first_screen

#: Without any progress for this long the demo ends, and its verdict says what was left.
STALLED_S = 240


#: What leaders' trades may be seen through.
SOURCES = ("chain", "rtds", "activity")


@dataclass(frozen=True, slots=True)
class Options:
    """What to show: a script or a recorded feed, whom to follow, whom to kill."""

    seed: int = 1
    trades: int = 72
    feed: Path | None = None
    follow: tuple[str, ...] = ("all",)
    kill: str | None = None
    repeat: int = 1
    signature_type: int = 0
    speed: int = 20  #: a recorded session is played so many times faster
    sources: tuple[str, ...] = SOURCES  #: what leaders' trades are seen through


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the demo stands; for a live screen."""

    phase: str
    leader_trades: int = 0
    decided: int = 0
    copied: int = 0
    skipped: int = 0
    steps_left: int = 0
    workers: tuple[tuple[str, str], ...] = ()
    latest: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class DemoVerdict:
    """What happened, and whether every promise held. `problems` says which did not."""

    ok: bool
    leader_trades: int
    followups: int
    decisions: int
    copied: int
    skipped: dict[str, int]
    orders: int
    order_states: dict[str, int]
    venue_orders: int
    duplicates: int
    lost: int
    ledger_matches_venue: bool
    realized_pnl_usdc: str
    latency_ms: dict[str, dict[str, float | None]]
    memory_mb: dict[str, float]
    recovered_s: float | None
    killed: str | None
    duration_s: float
    seed: int
    problems: list[str] = field(default_factory=list)
    #: A recorded session's totals as the ledger has them, one per (transaction, wallet, token,
    #: side).
    totals: list[dict[str, Any]] | None = None


Watcher = Callable[[Progress], None]


def run(options: Options, watch: Watcher) -> DemoVerdict:
    """Run the demo and return its verdict; nothing is left behind, neither files nor processes.

    Raises ConfigError if the feed or the options are wrong.
    """
    began = time.monotonic()
    leave_nothing()
    plan = {
        "seed": options.seed,
        "trades": options.trades,
        "repeat": options.repeat,
        "signature_type": options.signature_type,
        "feed_speed": options.speed,
        "feed": str(options.feed.absolute()) if options.feed else None,
    }
    detect = {"chain": "chain", "rtds": "rtds", "data_api": "activity"}
    overrides: Overrides = {
        "strategy": {"min_leader_usdc": 2 if options.feed else 25},
        "detect": {name: source in options.sources for name, source in detect.items()},
    }
    with set_up(plan, follow=options.follow, overrides=overrides) as found:
        watch(Progress("starting three workers under supervisord"))
        found.up()
        return _observe(found, options, watch, began)


def leave_nothing() -> None:
    """Turn the signals that end a program into exceptions.

    Whoever ends it must not leave its supervisord behind.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def _observe(on: Testbed, options: Options, watch: Watcher, began: float) -> DemoVerdict:
    on.venue.post("/sim/start")
    victim = _Victim(options.kill, on)
    finished, stand, moved = False, (0, 0), time.monotonic()
    while not finished and time.monotonic() - moved < STALLED_S:
        truth = on.truth()
        with report.read(on.ledger) as found:
            victim.step(found, total=options.trades, left=truth["steps_left"])
            now = _progress(found, truth)
            watch(now)
            finished = truth["finished"] and settled(found, truth) and victim.done
        if stand != (now.steps_left, now.decided):
            stand, moved = (now.steps_left, now.decided), time.monotonic()
        time.sleep(0.2)
    truth = on.truth()
    with report.read(on.ledger) as found:
        memory = _memory(found)
        watch(_progress(found, truth))
        return _verdict(found, truth, options, memory, victim.recovered_s, time.monotonic() - began)


class _Victim:
    """Kills one worker with SIGKILL when a third of the story is told, and times its return."""

    def __init__(self, worker: str | None, on: Testbed) -> None:
        self._worker, self._testbed = worker, on
        self._killed_us: int | None = None
        self.recovered_s: float | None = None

    @property
    def done(self) -> bool:
        return self._worker is None or self.recovered_s is not None

    def step(self, found: report.Report, *, total: int, left: int) -> None:
        if self._worker is None or self.recovered_s is not None:
            return
        if self._killed_us is None:
            if left * 3 <= total * 2:
                self._killed_us = time.time_ns() // 1000
                self._testbed.kill(self._worker)
            return
        ready = found.value(
            "SELECT ready_us FROM boot WHERE worker = ? AND started_us > ?"
            " AND ready_us IS NOT NULL ORDER BY id",
            self._worker,
            self._killed_us,
        )
        if ready is not None:
            self.recovered_s = round((ready - self._killed_us) / MICRO, 2)


def _progress(found: report.Report, truth: dict[str, Any]) -> Progress:
    status = first_screen(found)
    return Progress(
        phase="leaders trade, the bot follows"
        if truth["steps_left"]
        else "waiting for the last settlements",
        leader_trades=len(truth["leader_trades"]),
        decided=status.today.copied + status.today.skipped,
        copied=status.today.copied,
        skipped=status.today.skipped,
        steps_left=truth["steps_left"],
        workers=tuple((w.worker, w.state) for w in status.workers),
        latest=tuple(lists.trades(found, 8)),
    )


def _verdict(
    found: report.Report, truth: dict[str, Any], options: Options, memory: dict[str, float],
    recovered: float | None, duration: float,
) -> DemoVerdict:  # fmt: skip
    judgement = judge(found, truth)
    trades = found.value("SELECT COUNT(*) FROM leader_trade")
    followups = found.value("SELECT COUNT(*) FROM signal WHERE seq > 0 OR trade_id IS NULL")
    decisions = found.value("SELECT COUNT(*) FROM decision")
    skipped = {r["reason"]: r["n"] for r in found.rows(
        "SELECT reason, COUNT(*) AS n FROM decision WHERE verdict = 'skipped'"
        " GROUP BY reason ORDER BY n DESC"
    )}  # fmt: skip
    states = {
        r["state"]: r["n"]
        for r in found.rows("SELECT state, COUNT(*) AS n FROM orders GROUP BY state")
    }
    copied, orders, venue = (
        decisions - sum(skipped.values()),
        sum(states.values()),
        len(truth["orders"]),
    )
    problems = _unfinished(truth) + judgement.problems
    if decisions != trades + followups:
        problems.append(
            f"{decisions} decisions for {trades} leader trades and {followups} follow-ups"
        )
    if venue != orders:
        problems.append(f"{orders} orders in the ledger, {venue} at the exchange")
    if options.kill and recovered is None:
        problems.append(f"{options.kill} was killed and did not come back")
    return DemoVerdict(
        ok=not problems, leader_trades=trades, followups=followups, decisions=decisions,
        copied=copied, skipped=skipped, orders=orders, order_states=states, venue_orders=venue,
        duplicates=len(judgement.twice), lost=len(judgement.missing),
        ledger_matches_venue=not judgement.differences,
        realized_pnl_usdc=decimal_text(
            found.value("SELECT COALESCE(SUM(realized), 0) FROM daily_pnl")),
        latency_ms={"detect_to_post": _latency(found)}, memory_mb=memory, recovered_s=recovered,
        killed=options.kill, duration_s=round(duration, 1), seed=options.seed,
        problems=problems[:20], totals=_totals(found) if options.feed else None,
    )  # fmt: skip


def _unfinished(truth: dict[str, Any]) -> list[str]:
    """A verdict that saw less than it was given fails."""
    left = truth["steps_left"]
    return [f"the story was not finished: {left} steps left"] if left else []


def _totals(found: report.Report) -> list[dict[str, Any]]:
    return found.rows(
        "SELECT tx, wallet, token, side, shares AS shares_micros, usdc AS usdc_micros"
        " FROM leader_trade ORDER BY id"
    )


def _latency(found: report.Report) -> dict[str, float | None]:
    waits = sorted(
        r["us"]
        for r in found.rows(
            "SELECT o.sent_us - s.seen_us AS us FROM orders o JOIN intent i ON i.id = o.intent_id"
            " JOIN signal s ON s.id = i.signal_id"
            " WHERE o.sent_us IS NOT NULL AND s.source IN ('chain', 'rtds') AND o.side = 'BUY'"
        )
    )
    return {
        name: round(waits[max(0, -(-len(waits) * part // 100) - 1)] / 1000, 2) if waits else None
        for name, part in (("p50", 50), ("p99", 99))
    }


def _memory(found: report.Report) -> dict[str, float]:
    workers = first_screen(found).workers
    return {w.worker: round(w.pss_bytes / 2**20, 1) for w in workers if w.pss_bytes is not None}
