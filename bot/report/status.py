"""The first screen: workers, mode, today."""

import json
from dataclasses import dataclass

from bot import liveness
from bot.config.home import WORKERS
from bot.ledger.orders import FLYING
from bot.ledger.positions import HELD, OWED
from bot.ledger.tally import SEEN
from bot.model.amounts import CENT
from bot.model.units import MICRO, printable, utc_day
from bot.report.reader import Report
from bot.report.sources import Source, sources

DEFAULT_BEAT_S = 2
DAY_US = 86_400 * MICRO


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker: its last boot, and whether it lives now."""

    worker: str
    state: (
        str  #: running, starting, waiting, stopping, hung, killed, stopped, failed, never started
    )
    pid: int | None
    up_s: int | None
    beat_s: float | None
    progress_s: float | None
    restarts_24h: int
    pss_bytes: int | None  #: its share of memory, as it reported with its last beat
    detail: str

    @property
    def alive(self) -> bool:
        """Return whether the worker is at work."""
        return self.state in ("running", "starting")


@dataclass(frozen=True, slots=True)
class Today:
    """What happened since midnight UTC."""

    day: str
    leader_trades: int
    copied: int
    skipped: int
    pending: int
    orders_in_flight: int
    orders_unknown: int
    exits_standing: int
    realized_usdc_micros: int
    fees_usdc_micros: int
    bought_usdc_micros: int
    open_positions: int
    exposure_usdc_micros: int
    cash_usdc_micros: int
    receivable_usdc_micros: int  #: what ended markets pay, until it is redeemed


@dataclass(frozen=True, slots=True)
class Status:
    """The first screen."""

    mode: str
    control: str
    control_reason: str
    control_actor: str
    control_since_us: int
    control_until_us: int | None  #: when a pause ends by itself
    entries: str | None  #: why no entry is made, though the mode allows it
    acts_on: str  #: what counts: `mined`, or `provisional` sights of a stream as well
    following: int
    config: str | None
    today: Today
    workers: list[WorkerRow]
    sources: list[Source]  #: those of leaders' trades
    alerts: list[str]
    exit_code: int


def status(found: Report) -> Status:
    """Return the first screen; `exit_code` is 0 if every worker is at work, else 3."""
    workers = [_worker(found, name) for name in WORKERS]
    control = found.rows("SELECT * FROM control")[0]
    mode = control["mode"]
    if mode == "paused" and control["until_us"] is not None and control["until_us"] <= found.now_us:
        mode = "running"
    alerts = [
        r["text"]
        for r in found.rows(
            # Sorted by what no index has: read in the order of ids, it would be all of them.
            "SELECT text FROM alert WHERE cleared_us IS NULL ORDER BY at_us DESC, id DESC LIMIT 20"
        )
    ]
    return Status(
        mode=found.value("SELECT value FROM meta WHERE name = 'mode'"),
        control=mode,
        control_reason=control["reason"],
        control_actor=control["actor"],
        control_since_us=control["since_us"],
        control_until_us=control["until_us"] if mode == "paused" else None,
        entries=found.value(
            "SELECT reason FROM lock WHERE until_us > ? AND scope NOT LIKE '%:%'", found.now_us
        ),
        acts_on=acts_on(found),
        following=found.value("SELECT COUNT(*) FROM leader WHERE active = 1"),
        config=found.value("SELECT config FROM boot ORDER BY id DESC LIMIT 1"),
        today=_today(found),
        workers=workers,
        sources=sources(found),
        alerts=alerts,
        exit_code=0 if all(w.alive for w in workers) else 3,
    )


def _worker(found: Report, name: str) -> WorkerRow:
    boot = found.rows("SELECT * FROM boot WHERE worker = ? ORDER BY id DESC LIMIT 1", name)
    if not boot:
        return WorkerRow(name, "never started", None, None, None, None, 0, None, "")
    b = boot[0]
    since = found.now_us - DAY_US
    boots = found.value(
        "SELECT COUNT(*) FROM boot WHERE worker = ? AND started_us >= ?", name, since
    )
    beat = max(0, found.now_us - b["beat_us"])
    # Each worker says with its beat how often it beats: that is a setting.
    beat_s = _gauge(b["detail"], "beat_s") or DEFAULT_BEAT_S
    state = liveness.state(b, beat_s, now_us=found.now_us)
    alive = state in ("running", "starting", "waiting", "stopping", "hung")
    progress = max(0, found.now_us - b["progress_us"]) if b["progress_us"] and alive else None
    return WorkerRow(
        worker=name,
        state=state,
        pid=b["pid"] if alive else None,
        up_s=(found.now_us - b["started_us"]) // MICRO if alive else None,
        beat_s=round(beat / MICRO, 1) if alive else None,
        progress_s=None if progress is None else round(progress / MICRO, 1),
        restarts_24h=max(0, boots - 1),
        pss_bytes=_gauge(b["detail"], "pss_bytes") if alive else None,
        detail=printable(b["detail"], 200),
    )


def _today(found: Report) -> Today:
    day = utc_day(found.now_us)
    decided = dict(
        found.execute("SELECT key, n FROM tally WHERE day = ? AND kind = 'decision'", day)
    )
    copied = decided.get("copied", 0)
    pnl = (
        found.rows("SELECT * FROM daily_pnl WHERE day = ?", day)
        or [{"realized": 0, "fees": 0, "bought": 0}]
    )[0]
    flying = dict(
        found.execute(f"SELECT state, COUNT(*) FROM orders WHERE {FLYING} GROUP BY state")
    )
    return Today(
        day=day,
        leader_trades=found.value(
            "SELECT COALESCE(SUM(n), 0) FROM tally WHERE day = ? AND kind = ?", day, SEEN
        ),
        copied=copied,
        skipped=sum(decided.values()) - copied - decided.get("done", 0),
        pending=found.value("SELECT COUNT(*) FROM signal WHERE decided = 0"),
        orders_in_flight=sum(flying.values()),
        orders_unknown=flying.get("unknown", 0),
        exits_standing=found.value(
            "SELECT COUNT(*) FROM intent WHERE state = 'open' AND kind = 'exit'"
        ),
        realized_usdc_micros=pnl["realized"],
        fees_usdc_micros=pnl["fees"],
        bought_usdc_micros=pnl["bought"],
        open_positions=found.value(
            f"SELECT COUNT(DISTINCT token) FROM position WHERE {HELD} AND shares >= {CENT}"
        ),
        exposure_usdc_micros=found.value(
            f"SELECT COALESCE(SUM(cost), 0) FROM position WHERE {HELD}"
        ),
        cash_usdc_micros=found.value("SELECT COALESCE(SUM(cash), 0) FROM account"),
        receivable_usdc_micros=found.value(
            f"SELECT COALESCE(SUM(usdc), 0) FROM settlement WHERE {OWED}"
        ),
    )


def acts_on(found: Report) -> str:
    """Return what counts, as the monitor has last said: `mined`, or `provisional`."""
    told = found.value("SELECT detail FROM boot WHERE worker = 'monitor' ORDER BY id DESC LIMIT 1")
    return str(_said(told or "", "acts_on") or "mined")[:20]


def _said(detail: str, name: str) -> object:
    """Return what a worker stored with its beat; what it said when it ended has no names."""
    try:
        found = json.loads(detail)
    except ValueError:
        return None
    return found.get(name) if isinstance(found, dict) else None


def _gauge(detail: str, name: str) -> int | None:
    value = _said(detail, name)
    return value if isinstance(value, int) else None
