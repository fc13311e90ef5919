"""Read the ledger without the bot: plain sqlite3, read-only, no ORM, milliseconds.

One source for every screen, `--json` and metrics. It works with every worker dead. Values stay
integers (`*_micros`, `*_us`); `plain` adds the texts for people and JSON.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bot.config.home import WORKERS
from bot.errors import LedgerError, SchemaMismatch, StateUnknown, UsageError
from bot.ledger.db import SCHEMA
from bot.model.fill import Fill, Settlement
from bot.model.market import Side
from bot.model.pnl import fold
from bot.model.units import MICRO, decimal_text, printable, rfc3339, utc_day

#: A worker whose row is older than this many beats is not alive, whatever its pid says.
STALE_BEATS = 5
DAY_US = 86_400 * MICRO


def plain(value: Any) -> Any:
    """Return dataclasses as JSON-ready values: `x_micros` gains decimal text `x`, `x_us` gains RFC 3339 `x_at`."""
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, item in value.items():
            found[name] = plain(item)
            if name.endswith("_micros") and isinstance(item, int):
                found[name.removesuffix("_micros")] = decimal_text(item)
            elif name.endswith("_us") and isinstance(item, int):
                found["at" if name == "at_us" else name.removesuffix("_us") + "_at"] = rfc3339(item)
        return found
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker: its last boot, and whether it lives now."""

    worker: str
    state: str  #: running, starting, waiting, stopping, hung, killed, stopped, failed, never started
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
    realized_usdc_micros: int
    fees_usdc_micros: int
    bought_usdc_micros: int
    open_positions: int
    exposure_usdc_micros: int
    cash_usdc_micros: int


@dataclass(frozen=True, slots=True)
class Status:
    """The first screen."""

    mode: str
    control: str
    control_reason: str
    control_actor: str
    control_since_us: int
    following: int
    config: str | None
    today: Today
    workers: list[WorkerRow]
    alerts: list[str]
    exit_code: int


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the story of a leader trade."""

    step: str
    at_us: int
    what: str
    numbers: dict[str, Any] = field(default_factory=dict)


class Report:
    """Queries over one open ledger."""

    def __init__(self, connection: sqlite3.Connection, now_us: int) -> None:
        self._db, self.now_us = connection, now_us

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a query as dictionaries."""
        cursor = self._db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def value(self, sql: str, *values: object) -> Any:
        """Return the first column of the first row."""
        row = self._db.execute(sql, values).fetchone()
        return row[0] if row else None

    def status(self, beat_s: int = 2) -> Status:
        """Return the first screen; `exit_code` is 0 if every worker is at work, else 3."""
        workers = [self._worker(name, beat_s) for name in WORKERS]
        control = self.rows("SELECT * FROM control")[0]
        mode = control["mode"]
        if mode == "paused" and control["until_us"] is not None and control["until_us"] <= self.now_us:
            mode = "running"
        alerts = [
            r["text"] for r in self.rows("SELECT text FROM alert WHERE cleared_us IS NULL ORDER BY id DESC LIMIT 20")
        ]
        return Status(
            mode=self.value("SELECT value FROM meta WHERE name = 'mode'"),
            control=mode,
            control_reason=control["reason"],
            control_actor=control["actor"],
            control_since_us=control["since_us"],
            following=self.value("SELECT COUNT(*) FROM leader WHERE active = 1"),
            config=self.value("SELECT config FROM boot ORDER BY id DESC LIMIT 1"),
            today=self._today(),
            workers=workers,
            alerts=alerts,
            exit_code=0 if all(w.alive for w in workers) else 3,
        )

    def _worker(self, name: str, beat_s: int) -> WorkerRow:
        boot = self.rows("SELECT * FROM boot WHERE worker = ? ORDER BY id DESC LIMIT 1", name)
        if not boot:
            return WorkerRow(name, "never started", None, None, None, None, 0, None, "")
        b = boot[0]
        since = self.now_us - DAY_US
        boots = self.value("SELECT COUNT(*) FROM boot WHERE worker = ? AND started_us >= ?", name, since)
        beat = max(0, self.now_us - b["beat_us"])
        state = self._worker_state(b, beat, beat_s)
        alive = state in ("running", "starting", "waiting", "stopping", "hung")
        progress = max(0, self.now_us - b["progress_us"]) if b["progress_us"] and alive else None
        return WorkerRow(
            worker=name,
            state=state,
            pid=b["pid"] if alive else None,
            up_s=(self.now_us - b["started_us"]) // MICRO if alive else None,
            beat_s=round(beat / MICRO, 1) if alive else None,
            progress_s=None if progress is None else round(progress / MICRO, 1),
            restarts_24h=max(0, boots - 1),
            pss_bytes=_gauge(b["detail"], "pss_bytes") if alive else None,
            detail=printable(b["detail"], 200),
        )

    @staticmethod
    def _worker_state(boot: dict[str, Any], beat_us: int, beat_s: int) -> str:
        if boot["ended_us"] is not None:
            return "stopped" if boot["exit_code"] == 0 else "failed"
        try:
            # A pid alone may belong to a stranger by now; the start time tells.
            created = int(psutil.Process(boot["pid"]).create_time() * MICRO)
        except psutil.Error:
            return "killed"
        if abs(created - boot["pid_started_us"]) > 2 * MICRO:
            return "killed"
        return "hung" if beat_us > STALE_BEATS * beat_s * MICRO else str(boot["state"])

    def _today(self) -> Today:
        day = utc_day(self.now_us)
        start = self.now_us // DAY_US * DAY_US
        verdicts = dict(
            self._db.execute("SELECT verdict, COUNT(*) FROM decision WHERE decided_us >= ? GROUP BY verdict", (start,))
        )
        pnl = (self.rows("SELECT * FROM daily_pnl WHERE day = ?", day) or [{"realized": 0, "fees": 0, "bought": 0}])[0]
        flying = dict(self._db.execute(
            "SELECT state, COUNT(*) FROM orders WHERE state IN ('posting', 'unknown', 'open') GROUP BY state"
        ))  # fmt: skip
        return Today(
            day=day,
            leader_trades=self.value("SELECT COUNT(*) FROM leader_trade WHERE seen_us >= ?", start),
            copied=verdicts.get("copied", 0),
            skipped=verdicts.get("skipped", 0),
            pending=self.value("SELECT COUNT(*) FROM signal WHERE decided = 0"),
            orders_in_flight=sum(flying.values()),
            orders_unknown=flying.get("unknown", 0),
            realized_usdc_micros=pnl["realized"],
            fees_usdc_micros=pnl["fees"],
            bought_usdc_micros=pnl["bought"],
            open_positions=self.value("SELECT COUNT(DISTINCT token) FROM position WHERE shares > 0"),
            exposure_usdc_micros=self.value("SELECT COALESCE(SUM(cost), 0) FROM position"),
            cash_usdc_micros=self.value("SELECT COALESCE(SUM(cash), 0) FROM account"),
        )

    def positions(self) -> list[dict[str, Any]]:
        """Return what we hold, one row per leader and token."""
        return self.rows(
            "SELECT p.wallet AS leader, l.label, p.token, p.condition,"
            " (SELECT t.title FROM leader_trade t WHERE t.token = p.token LIMIT 1) AS title,"
            " (SELECT t.outcome FROM leader_trade t WHERE t.token = p.token LIMIT 1) AS outcome,"
            " p.shares AS shares_micros, p.cost AS cost_usdc_micros, p.realized AS realized_usdc_micros,"
            " CASE WHEN p.shares > 0 THEN p.cost * 1000000 / p.shares ELSE 0 END AS average_price_micros, p.updated_us"
            " FROM position p LEFT JOIN leader l ON l.wallet = p.wallet WHERE p.shares <> 0 ORDER BY p.cost DESC"
        )

    def orders(self, limit: int, *, unknown: bool = False) -> list[dict[str, Any]]:
        """Return the newest orders, or only those without a proven outcome."""
        where = "WHERE o.state = 'unknown'" if unknown else ""
        return self.rows(
            "SELECT o.id, o.state, o.side, o.price AS price_micros, o.making AS making_micros, o.token, o.condition,"
            " o.wallet AS leader, o.created_us, o.deadline_us, o.sent_us, o.sends, o.reason, t.title, t.outcome,"
            " (SELECT COALESCE(SUM(f.shares), 0) FROM fill f WHERE f.order_id = o.id AND f.settlement <> 'failed')"
            f" AS filled_shares_micros FROM orders o LEFT JOIN signal s ON s.id = o.signal_id"
            f" LEFT JOIN leader_trade t ON t.id = s.trade_id {where} ORDER BY o.created_us DESC LIMIT ?",
            limit,
        )

    def trades(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest leader trades, each with what became of its last signal."""
        return self.rows(
            "SELECT t.seen_us, t.wallet AS leader, l.label, t.side, t.shares AS shares_micros, t.usdc AS usdc_micros,"
            " t.outcome, t.title, t.tx, t.token, COALESCE(d.verdict, 'pending') AS verdict, d.reason, t.signals"
            " FROM leader_trade t LEFT JOIN leader l ON l.wallet = t.wallet"
            " LEFT JOIN signal s ON s.trade_id = t.id AND s.seq = t.signals - 1"
            " LEFT JOIN decision d ON d.signal_id = s.id ORDER BY t.seen_us DESC, t.id DESC LIMIT ?",
            limit,
        )

    def daily(self, days: int) -> list[dict[str, Any]]:
        """Return the last UTC days, newest first, those without trades too."""
        found = []
        start = self.now_us // DAY_US * DAY_US
        for i in range(days):
            low = start - i * DAY_US
            day = utc_day(low)
            pnl = (self.rows("SELECT * FROM daily_pnl WHERE day = ?", day) or [{}])[0]
            verdicts = dict(self._db.execute(
                "SELECT verdict, COUNT(*) FROM decision WHERE decided_us >= ? AND decided_us < ? GROUP BY verdict",
                (low, low + DAY_US),
            ))  # fmt: skip
            found.append({
                "day": day, "in_progress": i == 0, "copied": verdicts.get("copied", 0),
                "skipped": verdicts.get("skipped", 0),
                "volume_usdc_micros": pnl.get("bought", 0) + pnl.get("sold", 0),
                "fees_usdc_micros": pnl.get("fees", 0), "realized_usdc_micros": pnl.get("realized", 0),
            })  # fmt: skip
        return found

    def leaders(self) -> list[dict[str, Any]]:
        """Return each leader with what following it has brought."""
        return self.rows(
            "SELECT l.wallet AS leader, l.label, l.active, l.watch_start_s * 1000000 AS watched_since_us,"
            " (SELECT COUNT(*) FROM leader_trade t WHERE t.wallet = l.wallet) AS trades,"
            " (SELECT COUNT(*) FROM orders o WHERE o.wallet = l.wallet) AS copied,"
            " (SELECT COALESCE(SUM(p.cost), 0) FROM position p WHERE p.wallet = l.wallet) AS stake_usdc_micros,"
            " (SELECT COALESCE(SUM(p.realized), 0) FROM position p WHERE p.wallet = l.wallet) AS realized_usdc_micros"
            " FROM leader l ORDER BY l.active DESC, realized_usdc_micros DESC, l.wallet"
        )

    def mismatches(self) -> list[str]:
        """Return where positions, days and cash do not follow from the fills; nothing in a sound ledger."""
        fills: dict[tuple[str, str], list[Fill]] = {}
        for row in self.rows("SELECT * FROM fill"):
            kept = {name: row[name] for name in Fill.__slots__}
            one = Fill(**{**kept, "side": Side(row["side"]), "settlement": Settlement(row["settlement"])})
            fills.setdefault((row["wallet"], row["token"]), []).append(one)
        days: dict[str, list[int]] = {}
        problems, cash = [], 0
        stored = {(r["wallet"], r["token"]): r for r in self.rows("SELECT * FROM position")}
        for key in sorted({*fills, *stored}):
            folded, row = fold(fills.get(key, [])), stored.get(key, {"shares": 0, "cost": 0, "realized": 0})
            cash += folded.cash
            if (row["shares"], row["cost"], row["realized"]) != astuple(folded.position):
                problems.append(f"position of {key[0][:10]} in token {key[1][:12]}: {folded.position} by its fills")
            for day, total in folded.days.items():
                days[day] = [a + b for a, b in zip(days.get(day, [0] * 4), astuple(total), strict=True)]
        for row in self.rows("SELECT * FROM daily_pnl"):
            if days.pop(row["day"], [0] * 4) != [row[name] for name in ("realized", "fees", "bought", "sold")]:
                problems.append(f"day {row['day']} does not follow from its fills")
        problems += [f"day {day} is missing" for day, total in days.items() if any(total)]
        stored_cash = self.value("SELECT COALESCE(SUM(cash - opening), 0) FROM account")
        return problems + ([] if stored_cash == cash else [f"cash has moved by {stored_cash}, {cash} by the fills"])

    def why(self, ident: str) -> list[Step]:
        """Return the story of a leader trade, given the start of a tx, signal or order id.

        Raises UsageError if nothing, or more than one transaction, begins like that.
        """
        text = ident.strip().lower()
        if len(text) < 6 or not text.removeprefix("0x").isalnum():
            raise UsageError(f"why: expected at least 6 characters of a tx, signal or order id, found {ident[:40]!a}")
        like = text + "%"
        trades = self.rows(
            "SELECT DISTINCT t.* FROM leader_trade t LEFT JOIN signal s ON s.trade_id = t.id"
            " LEFT JOIN decision d ON d.signal_id = s.id"
            " WHERE t.tx LIKE ? OR s.id LIKE ? OR d.order_id LIKE ? ORDER BY t.seen_us, t.id LIMIT 50",
            like, like, like,
        )  # fmt: skip
        if not trades:
            raise UsageError(f"why: nothing in the ledger begins with {text[:80]}; botctl trades lists what was seen")
        if len({t["tx"] for t in trades}) > 1:
            raise UsageError(f"why: {len(trades)} trades begin with {text[:80]}; give more characters")
        return [step for trade in trades for step in self._story(trade)]

    def _story(self, trade: dict[str, Any]) -> Iterator[Step]:
        yield Step(
            "seen", trade["seen_us"],
            f"leader {trade['wallet']} {trade['side']} {decimal_text(trade['shares'])} {trade['outcome']}"
            f" for {decimal_text(trade['usdc'])} USDC  \"{trade['title']}\"",
        )  # fmt: skip
        for total in self.rows("SELECT * FROM leader_trade_source WHERE trade_id = ? ORDER BY source", trade["id"]):
            yield Step("source", trade["seen_us"], f"{total['source']} says {decimal_text(total['shares'])} shares")
        for signal in self.rows("SELECT * FROM signal WHERE trade_id = ? ORDER BY seq", trade["id"]):
            kind = "signal" if signal["seq"] == 0 else f"follow-up {signal['seq']}"
            what = f"{kind} {signal['id']} of {decimal_text(signal['shares'])} shares from {signal['source']}"
            yield Step("queued", signal["seen_us"], what)
            yield from self._decided(signal["id"])

    def _decided(self, signal_id: str) -> Iterator[Step]:
        for decision in self.rows("SELECT * FROM decision WHERE signal_id = ?", signal_id):
            numbers = json.loads(decision["numbers"])
            reason = decision["reason"] or "copied"
            shown = ", ".join(f"{k} {_number(k, v)}" for k, v in numbers.items())
            yield Step(decision["verdict"], decision["decided_us"], f"{reason}: {shown}" if shown else reason, numbers)
            for order in self.rows("SELECT * FROM orders WHERE id = ?", decision["order_id"]):
                yield from self._ordered(order)

    def _ordered(self, order: dict[str, Any]) -> Iterator[Step]:
        what = f"{order['side']} order {order['id']} at {decimal_text(order['price'])}"
        yield Step("signed", order["created_us"], what)
        if order["sent_us"]:
            yield Step("posted", order["sent_us"], f"sent {order['sends']} time{'s' * (order['sends'] > 1)}")
        for f in self.rows("SELECT * FROM fill WHERE order_id = ? ORDER BY matched_us", order["id"]):
            yield Step(
                "filled", f["matched_us"],
                f"{decimal_text(f['shares'])} shares for {decimal_text(f['usdc'])} USDC, fee {decimal_text(f['fee'])},"
                f" {f['settlement']}",
            )  # fmt: skip
        end = order["sent_us"] or order["created_us"]
        yield Step(order["state"], end, order["reason"] or f"order {order['state']}")


def _gauge(detail: str, name: str) -> int | None:
    """Return a gauge that a worker stored with its beat; what it said when it ended is no gauge."""
    try:
        found = json.loads(detail)
    except ValueError:
        return None
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, int) else None


def _number(name: str, value: Any) -> str:
    counted = name.endswith(("_s", "_us")) or not isinstance(value, int)
    return printable(value, 80) if counted else decimal_text(value)


@contextmanager
def read(path: Path, *, now_us: int | None = None) -> Iterator[Report]:
    """Open a ledger read-only. Raises StateUnknown if there is none, LedgerError if it is unreadable."""
    if not path.exists():
        raise StateUnknown(f"no ledger at {path}; botctl up creates it")
    if not path.is_file():
        raise LedgerError(f"{path}: expected a ledger file, found something else; move it away")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        if connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'control'").fetchone()[0] != 1:
            raise LedgerError(f"{path}: not a ledger of this bot; move it away, botctl up makes a new one")
        schema = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if not schema or schema[0] != SCHEMA:
            raise SchemaMismatch(f"{path}: schema {schema and schema[0]}, this version reads {SCHEMA}; see botctl up")
        yield Report(connection, now_us if now_us is not None else time.time_ns() // 1000)
    except sqlite3.Error as error:
        raise LedgerError(f"ledger {path}: {error}; restore a backup, or check its permissions") from None
    finally:
        connection.close()
