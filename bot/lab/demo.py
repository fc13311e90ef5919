"""The demo: a simulated Polymarket, the real workers under a real supervisord, and an honest verdict.

Everything runs in a throw-away home. The verdict compares the ledger with what the simulated
exchange says is true; `ok` is computed from that and from nothing else.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from bot import report, supervise
from bot.errors import BotError, ConfigError, StateUnknown, TimedOut
from bot.home import WORKERS, Home
from bot.ledger.files import migrate
from bot.units import MICRO, decimal_text

READY_S = 120
FINISH_S = 240
#: A leader trade is complete when less than a hundredth of a share is missing.
TOLERANCE = 10_000


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
class Verdict:
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
    #: A recorded session's totals as the ledger has them, one per (transaction, wallet, token, side).
    totals: list[dict[str, Any]] | None = None


Watcher = Callable[[Progress], None]


def run(options: Options, watch: Watcher) -> Verdict:
    """Run the demo and return its verdict; nothing is left behind, neither files nor processes.

    Raises ConfigError if the feed or the options are wrong.
    """
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Whoever ends the demo must not leave its supervisord behind.
        signal.signal(number, _interrupt)
    # Short, because socket paths are limited to 107 bytes.
    home = Home(Path(tempfile.mkdtemp(prefix="copybot-")))
    try:
        with _simulation(options) as address:
            config = _configure(home, options, address)
            watch(Progress("starting three workers under supervisord"))
            migrate(home.ledger("demo"), "demo")
            with _workers(home, config):
                return _observe(home, options, address, watch, began)
    finally:
        shutil.rmtree(home.path, ignore_errors=True)


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(f"signal {number}")


@contextmanager
def _simulation(options: Options) -> Iterator[dict[str, Any]]:
    plan = {
        "seed": options.seed, "trades": options.trades, "repeat": options.repeat,
        "signature_type": options.signature_type, "feed": str(options.feed.absolute()) if options.feed else None,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "bot.sim.server", json.dumps(plan)], cwd=supervise.CONF.parent,
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        answer = json.loads(process.stdout.readline() or '{"error": "the simulated exchange did not start"}')
        if "error" in answer:
            raise ConfigError(answer["error"])
        yield answer
    finally:
        process.terminate()
        process.wait(timeout=30)


def _configure(home: Home, options: Options, address: dict[str, Any]) -> Path:
    home.create()
    key = home.path / "key"
    key.touch(0o600)
    key.write_text(address["private_key"])
    known = {wallet.lower(): wallet for wallet in address["leaders"]}
    if options.follow == ("all",):
        followed = list(known.values())
    elif strangers := [w for w in options.follow if w.lower() not in known]:
        raise ConfigError(
            f"--follow: {strangers[0][:60]!a} trades nowhere in this session; give `all` or a trader of it"
        )
    else:
        followed = [known[w.lower()] for w in options.follow]
    lines = [
        'mode = "demo"', "[venue]",
        *(f"{name} = {json.dumps(address[name])}" for name in
          ("clob_url", "market_ws_url", "user_ws_url", "data_url", "gamma_url", "rtds_url")),
        "[account]", f"signature_type = {options.signature_type}", f"key_file = {json.dumps(str(key))}",
        *([f'funder = "{address["wallet"]}"'] if options.signature_type else []),
        "[strategy]", f"min_leader_usdc = {2 if options.feed else 25}",
        "[detect]", f"poll_s = {3 if len(followed) > 10 else 1}",
        "[execution]", "settle_poll_s = 2", "evidence_lag_s = 2",
    ]  # fmt: skip
    for wallet in followed:
        lines += ["[[leaders]]", f'wallet = "{wallet}"']
    path = home.path / "config.toml"
    path.touch(0o600)
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def _workers(home: Home, config: Path) -> Iterator[None]:
    pid = supervise.start(home, config)
    try:
        yield
    finally:
        try:
            supervise.stop(home)
        except (StateUnknown, TimedOut):
            _end(pid)


def _end(pid: int) -> None:
    """End a supervisord that does not answer any more, with the workers it started."""
    if psutil.pid_exists(pid):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            process.kill()


def _observe(home: Home, options: Options, address: dict[str, Any], watch: Watcher, began: float) -> Verdict:
    ledger = home.ledger("demo")
    with httpx.Client(base_url=address["clob_url"], timeout=30) as venue:
        _wait(READY_S, lambda: _ready(ledger), home)
        venue.post("/sim/start")
        victim = _Victim(options.kill, ledger)
        finished = False
        deadline = time.monotonic() + FINISH_S
        while not finished and time.monotonic() < deadline:
            truth = venue.get("/sim/truth").json()
            with report.read(ledger) as found:
                victim.step(found, total=options.trades, left=truth["steps_left"])
                watch(_progress(found, truth))
                finished = truth["finished"] and truth["settled"] and _settled(found, truth) and victim.done
            time.sleep(0.2)
        truth = venue.get("/sim/truth").json()
    with report.read(ledger) as found:
        memory = _memory(found)
        watch(_progress(found, truth))
        return _judge(found, truth, options, memory, victim.recovered_s, time.monotonic() - began)


def _wait(seconds: float, condition: Callable[[], bool], home: Home) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimedOut(f"the workers did not become ready; {_last_words(home)}")
        time.sleep(0.1)


def _ready(ledger: Path) -> bool:
    try:
        with report.read(ledger) as found:
            ready = found.value("SELECT COUNT(DISTINCT worker) FROM boot WHERE ready_us IS NOT NULL")
            watching = found.value(
                "SELECT COUNT(*) = 0 FROM leader l WHERE active = 1 AND NOT EXISTS"
                " (SELECT 1 FROM cursor c WHERE c.wallet = l.wallet AND c.source = 'positions')"
            )
            return bool(ready == len(WORKERS) and watching)
    except BotError:
        return False


def _last_words(home: Home) -> str:
    words = []
    for worker in WORKERS:
        path = home.log / f"{worker}.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        words.append(f"{worker}: {lines[-1][:300] if lines else 'silent'}")
    return "; ".join(words)


class _Victim:
    """Kills one worker with SIGKILL when a third of the story is told, and times its return."""

    def __init__(self, worker: str | None, ledger: Path) -> None:
        self._worker, self._ledger = worker, ledger
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
                pid = found.value("SELECT pid FROM boot WHERE worker = ? ORDER BY id DESC LIMIT 1", self._worker)
                self._killed_us = time.time_ns() // 1000
                os.kill(pid, signal.SIGKILL)
            return
        ready = found.value(
            "SELECT ready_us FROM boot WHERE worker = ? AND started_us > ? AND ready_us IS NOT NULL ORDER BY id",
            self._worker, self._killed_us,
        )  # fmt: skip
        if ready is not None:
            self.recovered_s = round((ready - self._killed_us) / MICRO, 2)


def _progress(found: report.Report, truth: dict[str, Any]) -> Progress:
    status = found.status()
    return Progress(
        phase="leaders trade, the bot follows" if truth["steps_left"] else "waiting for the last settlements",
        leader_trades=len(truth["leader_trades"]),
        decided=status.today.copied + status.today.skipped,
        copied=status.today.copied,
        skipped=status.today.skipped,
        steps_left=truth["steps_left"],
        workers=tuple((w.worker, w.state) for w in status.workers),
        latest=tuple(found.trades(8)),
    )


def _settled(found: report.Report, truth: dict[str, Any]) -> bool:
    waiting = found.value(
        "SELECT (SELECT COUNT(*) FROM signal WHERE decided = 0)"
        " + (SELECT COUNT(*) FROM orders WHERE state IN ('posting', 'unknown', 'open'))"
        " + (SELECT COUNT(*) FROM fill WHERE settlement NOT IN ('confirmed', 'failed'))"
    )
    return waiting == 0 and not _missing(found, truth)


def _missing(found: report.Report, truth: dict[str, Any]) -> list[str]:
    """Return leader trades that are absent, of another size, or without a decision."""
    known = {
        (r["tx"], r["wallet"].lower(), r["token"], r["side"]): r
        for r in found.rows(
            "SELECT t.*, (SELECT COUNT(*) FROM signal s JOIN decision d ON d.signal_id = s.id WHERE s.trade_id = t.id)"
            " AS decisions FROM leader_trade t"
        )
    }
    followed = {r["wallet"].lower() for r in found.rows("SELECT wallet FROM leader WHERE active = 1")}
    problems = []
    for tx, wallet, token, side, shares in truth["leader_trades"]:
        row = known.get((tx, wallet, token, side))
        if wallet in followed and (row is None or abs(row["shares"] - shares) > TOLERANCE or not row["decisions"]):
            seen = "not seen" if row is None else f"{decimal_text(row['shares'])} shares, {row['decisions']} decisions"
            problems.append(f"leader trade {tx[:14]} {side}: {decimal_text(shares)} shares at the exchange, {seen}")
    return problems


def _judge(
    found: report.Report, truth: dict[str, Any], options: Options, memory: dict[str, float], recovered: float | None,
    duration: float,
) -> Verdict:  # fmt: skip
    missing = _missing(found, truth)
    trades = found.value("SELECT COUNT(*) FROM leader_trade")
    followups = found.value("SELECT COUNT(*) FROM signal WHERE seq > 0")
    decisions = found.value("SELECT COUNT(*) FROM decision")
    skipped = {r["reason"]: r["n"] for r in found.rows(
        "SELECT reason, COUNT(*) AS n FROM decision WHERE verdict = 'skipped' GROUP BY reason ORDER BY n DESC"
    )}  # fmt: skip
    orders = {r["id"]: r["state"] for r in found.rows("SELECT id, state FROM orders")}
    states: dict[str, int] = {}
    for state in orders.values():
        states[state] = states.get(state, 0) + 1
    copied = decisions - sum(skipped.values())
    venue = truth["orders"]
    duplicates = len(venue) - len(set(venue) & set(orders))
    differences = _differences(found, truth)
    problems = missing + differences
    if decisions != trades + followups:
        problems.append(f"{decisions} decisions for {trades} leader trades and {followups} follow-ups")
    if not len(venue) == len(orders) == copied:
        problems.append(f"{copied} copied decisions, {len(orders)} orders, {len(venue)} orders at the exchange")
    if duplicates:
        problems.append(f"{duplicates} orders at the exchange that no decision asked for")
    if options.kill and recovered is None:
        problems.append(f"{options.kill} was killed and did not come back")
    return Verdict(
        ok=not problems, leader_trades=trades, followups=followups, decisions=decisions, copied=copied,
        skipped=skipped, orders=len(orders), order_states=states, venue_orders=len(venue), duplicates=duplicates,
        lost=len(missing), ledger_matches_venue=not differences,
        realized_pnl_usdc=decimal_text(found.value("SELECT COALESCE(SUM(realized), 0) FROM daily_pnl")),
        latency_ms={"detect_to_post": _latency(found)}, memory_mb=memory, recovered_s=recovered, killed=options.kill,
        duration_s=round(duration, 1), seed=options.seed, problems=problems[:20],
        totals=_totals(found) if options.feed else None,
    )  # fmt: skip


def _totals(found: report.Report) -> list[dict[str, Any]]:
    return found.rows(
        "SELECT tx, wallet, token, side, shares AS shares_micros, usdc AS usdc_micros FROM leader_trade ORDER BY id"
    )


def _differences(found: report.Report, truth: dict[str, Any]) -> list[str]:
    cash = found.value("SELECT COALESCE(SUM(cash), 0) FROM account")
    ours = {r["token"]: r["shares"] for r in found.rows(
        "SELECT token, SUM(shares) AS shares FROM position GROUP BY token HAVING SUM(shares) <> 0"
    )}  # fmt: skip
    problems = [] if cash == truth["collateral"] else [
        f"cash: {decimal_text(cash)} in the ledger, {decimal_text(truth['collateral'])} at the exchange"
    ]  # fmt: skip
    for token in sorted({*ours, *truth["shares"]}):
        here, there = ours.get(token, 0), truth["shares"].get(token, 0)
        if here != there:
            problems.append(f"token {token[:12]}…: {decimal_text(here)} in the ledger, {decimal_text(there)} there")
    return problems


def _latency(found: report.Report) -> dict[str, float | None]:
    waits = sorted(r["us"] for r in found.rows(
        "SELECT o.sent_us - s.seen_us AS us FROM orders o JOIN signal s ON s.id = o.signal_id"
        " WHERE o.sent_us IS NOT NULL AND s.source = 'rtds' AND o.side = 'BUY'"
    ))  # fmt: skip
    return {name: round(waits[max(0, -(-len(waits) * part // 100) - 1)] / 1000, 2) if waits else None
            for name, part in (("p50", 50), ("p99", 99))}  # fmt: skip


def _memory(found: report.Report) -> dict[str, float]:
    memory = {}
    for worker in found.status().workers:
        if worker.pid is not None:
            try:
                memory[worker.worker] = round(psutil.Process(worker.pid).memory_full_info().pss / 2**20, 1)
            except psutil.Error:
                continue
    return memory
