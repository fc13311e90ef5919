"""Verbs that look. All of them read the ledger only, and work with every worker dead."""

import asyncio
import time
from collections import deque
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from bot import report
from bot.cli.output import Cli, age, cli, console, emit, say, short, table
from bot.cli.sources import lines as source_lines
from bot.cli.where import ledger_path
from bot.config.home import WORKERS
from bot.errors import StateUnknown, UsageError
from bot.ledger.files import busy
from bot.model.units import decimal_text, money, printable, rfc3339
from bot.queue import Ping, ask
from bot.report import lists, story
from bot.report.status import Status
from bot.report.status import status as first_screen

Full = Annotated[bool, typer.Option("--full", help="whole ids")]
Count = Annotated[int, typer.Option("-n", "--limit", min=1, max=10_000, help="how many rows")]


#: A beat older than this says that something holds the ledger, or the worker.
SLOW_BEAT_S = 4.0


def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="repeat every second")] = False,
) -> int:
    """Is it alive, what may it do, what did it do today. Exit 0 running, 3 not, 4 unknown."""
    options = cli(context)
    path = ledger_path(options)
    if watch and not options.json:
        with Live(console=console(), auto_refresh=False) as live:
            while True:
                with report.read(path) as found:
                    live.update(Text(_status_text(first_screen(found))), refresh=True)
                time.sleep(1)
    with report.read(path) as found:
        now = first_screen(found)
    now = _with_troubles(options, now)
    if options.json:
        emit(asdict(now))
    else:
        out = console()
        out.print(Text(_status_text(now)))
    return now.exit_code


def _with_troubles(options: Cli, now: Status) -> Status:
    """Ask workers that are not at work what they wait for.

    Without a ledger to write they can only say it.
    """
    ill = [w.worker for w in now.workers if not w.alive]
    if not ill and all((w.beat_s or 0) < SLOW_BEAT_S for w in now.workers):
        return now
    if trouble := busy(ledger_path(options)):
        now = replace(now, alerts=[trouble, *now.alerts])

    async def words() -> list[str | None]:
        return await asyncio.gather(
            *(ask(options.home.socket(name), Ping(), timeout_s=1) for name in ill)
        )

    said = {
        name: text.split(": ", 1)
        for name, text in zip(ill, asyncio.run(words()), strict=True)
        if text
    }
    workers = [
        replace(w, state=said[w.worker][0], detail=said[w.worker][-1])
        if len(said.get(w.worker, ())) > 1
        else w
        for w in now.workers
    ]
    return replace(now, workers=workers)


def _headline(now: Status) -> list[str]:
    mood = now.control.upper() if now.exit_code == 0 else f"NOT RUNNING (mode: {now.control})"
    if now.entries and now.exit_code == 0 and now.control == "running":
        mood = "EXITS ONLY"
    leaders = f"{now.following} wallet{'s' * (now.following != 1)}"
    lines = [f"copybot {now.mode} · {mood} · following {leaders} · config {now.config or '–'}"]
    if now.control != "running":
        since = rfc3339(now.control_since_us)
        lines.append(
            f"{now.control} since {since} by {now.control_actor}: {printable(now.control_reason)}"
        )
    if now.entries:
        lines.append(f"no entries: {printable(now.entries)}")
    if now.acts_on == "provisional":
        lines.append("acting on what the stream alone tells, before a block has it"
                     " (detect.act_on, or no provider in venue.rpc_urls answers)")  # fmt: skip
    if all(w.pid is None for w in now.workers):
        lines.append("nothing runs here: botctl up starts it")
    lines += [f"ALERT {printable(text, 160)}" for text in now.alerts]
    return lines


def _status_text(now: Status) -> str:
    lines = _headline(now)
    lines += ["", _row("WORKER", "STATE", "PID", "UP", "BEAT", "PROGRESS", "RESTARTS 24h")]
    for w in now.workers:
        pid = str(w.pid) if w.pid else "–"
        lines.append(
            _row(
                w.worker,
                w.state,
                pid,
                age(w.up_s),
                age(w.beat_s),
                age(w.progress_s),
                str(w.restarts_24h),
            )
        )
        if not w.alive and w.detail:
            lines.append(f"          {printable(w.detail, 200)}")
    lines += source_lines(now.sources)
    t = now.today
    facts = (
        ("leader trades seen", str(t.leader_trades)),
        ("copied / skipped / pending", f"{t.copied} / {t.skipped} / {t.pending}"),
        ("orders in flight / unknown", f"{t.orders_in_flight} / {t.orders_unknown}"),
        ("exits that stand", str(t.exits_standing)),
        ("realised PnL", f"{money(t.realized_usdc_micros, signed=True)} USDC"),
        ("fees paid", f"{money(t.fees_usdc_micros)} USDC"),
        ("open positions · exposure", f"{t.open_positions} · {money(t.exposure_usdc_micros)} USDC"),
        ("cash", f"{money(t.cash_usdc_micros)} USDC"),
        ("to redeem", f"{money(t.receivable_usdc_micros)} USDC"),
    )
    lines += ["", f"TODAY (UTC {t.day})", *(f"{name:<28}{value:>24}" for name, value in facts)]
    return "\n".join(lines)


def _row(*cells: str) -> str:
    widths = (10, 14, 8, 8, 8, 9, 13)
    left, right = cells[:2], cells[2:]
    return "".join(f"{c:<{w}}" for c, w in zip(left, widths, strict=False)) + "".join(
        f"{c:>{w}}" for c, w in zip(right, widths[2:], strict=True)
    )


def positions(context: typer.Context, full: Full = False) -> None:
    """What is held, per leader and outcome token, and what ended markets are to pay."""
    rows, owed = _read(context, lambda found: (lists.positions(found), lists.receivables(found)))
    if cli(context).json:
        emit({"positions": rows, "to_redeem": owed})
        return
    if owed:
        _to_redeem(owed, full)
    if rows or not owed:
        table(
            (
                "FOR",
                "POSITION",
                "OUTCOME",
                "SHARES",
                "AVG PRICE",
                "COST USDC",
                "REALISED",
                "MARKET",
            ),
            [
                (
                    r["label"] or short(r["portfolio"].removeprefix("mirror/"), full),
                    short(r["token"], full),
                    printable(r["outcome"] or "–", 20),
                    decimal_text(r["shares_micros"]),
                    decimal_text(r["average_price_micros"]),
                    money(r["cost_usdc_micros"]),
                    money(r["realized_usdc_micros"], signed=True),
                    printable(r["title"] or "–", 60),
                )
                for r in rows
            ],
            right=("SHARES", "AVG PRICE", "COST USDC", "REALISED"),
        )


def _to_redeem(rows: list[dict[str, Any]], full: bool) -> None:
    say("to redeem on the exchange's page; the next comparison sees that it is done")
    table(
        ("FOR", "TO REDEEM", "OUTCOME", "SHARES", "PAYS USDC", "ENDED", "MARKET"),
        [
            (
                r["label"] or short(r["portfolio"].removeprefix("mirror/"), full),
                short(r["token"], full),
                printable(r["outcome"] or "–", 20),
                decimal_text(r["shares_micros"]),
                money(r["payout_usdc_micros"]),
                rfc3339(r["settled_us"])[5:16],
                printable(r["title"] or "–", 60),
            )
            for r in rows
        ],
        right=("SHARES", "PAYS USDC"),
    )


def orders(
    context: typer.Context,
    n: Count = 20,
    full: Full = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="only those without a proven outcome")
    ] = False,
) -> None:
    """The newest orders and where they are in their life."""
    rows = _read(context, lambda found: lists.orders(found, n, unknown=unknown))
    if not _json(context, "orders", rows):
        table(
            ("CREATED", "ORDER", "STATE", "SIDE", "LIMIT", "FILLED", "SENDS", "OUTCOME", "REASON"),
            [
                (
                    rfc3339(r["created_us"])[5:19],
                    short(r["id"], full),
                    r["state"],
                    r["side"],
                    decimal_text(r["price_micros"]),
                    decimal_text(r["filled_shares_micros"]),
                    str(r["sends"]),
                    printable(r["outcome"] or "–", 16),
                    printable(r["reason"] or "–", 60),
                )
                for r in rows
            ],
            right=("LIMIT", "FILLED", "SENDS"),
        )


def trades(context: typer.Context, n: Count = 20, full: Full = False) -> None:
    """The newest leader trades and what became of them."""
    rows = _read(context, lambda found: lists.trades(found, n))
    if not _json(context, "trades", rows):
        table(
            ("SEEN", "LEADER", "SIDE", "SHARES", "USDC", "OUTCOME", "DECISION", "TX", "MARKET"),
            [
                (
                    rfc3339(r["seen_us"])[5:19],
                    r["label"] or short(r["leader"], full),
                    r["side"],
                    decimal_text(r["shares_micros"]),
                    money(r["usdc_micros"]),
                    printable(r["outcome"], 16),
                    r["reason"] or r["verdict"],
                    short(r["tx"], full),
                    printable(r["title"], 40),
                )
                for r in rows
            ],
            right=("SHARES", "USDC"),
        )


def daily(
    context: typer.Context,
    days: Annotated[int, typer.Argument(min=1, max=3650, help="how many days")] = 7,
) -> None:
    """Copied, skipped, volume, fees and realised PnL by UTC day."""
    rows = _read(context, lambda found: lists.daily(found, days))
    if not _json(context, "days", rows):
        table(
            ("DAY (UTC)", "COPIED", "SKIPPED", "VOLUME", "FEES", "REALISED"),
            [
                (
                    r["day"] + " *" * r["in_progress"],
                    str(r["copied"]),
                    str(r["skipped"]),
                    money(r["volume_usdc_micros"]),
                    money(r["fees_usdc_micros"]),
                    money(r["realized_usdc_micros"], signed=True),
                )
                for r in rows
            ],
            right=("COPIED", "SKIPPED", "VOLUME", "FEES", "REALISED"),
        )
        say("* day in progress; days run 00:00–24:00 UTC; USDC")


def leaders(context: typer.Context, full: Full = False) -> None:
    """Who is followed, and what following them has brought."""
    rows = _read(context, lambda found: lists.leaders(found))
    if not _json(context, "leaders", rows):
        table(
            ("LEADER", "WALLET", "FOLLOWED", "TRADES", "COPIED", "STAKE USDC", "REALISED"),
            [
                (
                    r["label"] or "–",
                    short(r["leader"], full),
                    _followed(r),
                    str(r["trades"]),
                    str(r["copied"]),
                    money(r["stake_usdc_micros"]),
                    money(r["realized_usdc_micros"], signed=True),
                )
                for r in rows
            ],
            right=("TRADES", "COPIED", "STAKE USDC", "REALISED"),
        )


def _followed(row: dict[str, Any]) -> str:
    return "muted" if row["muted"] else ("no", "yes", "leaving")[row["active"]]


def why(
    context: typer.Context,
    ident: Annotated[str, typer.Argument(help="start of a tx, signal or order id")],
) -> None:
    """The whole story of a leader trade: seen, decided on which numbers, ordered, filled."""
    steps = _read(context, lambda found: story.why(found, ident))
    if not _json(context, "steps", [asdict(step) for step in steps]):
        table(
            ("STEP", "AT (UTC)", "WHAT"),
            [(s.step, rfc3339(s.at_us)[11:23], printable(s.what, 400)) for s in steps],
        )


def logs(
    context: typer.Context,
    worker: Annotated[str, typer.Argument(help="monitor, executor, health, or all")] = "all",
    n: Count = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="wait for more")] = False,
) -> None:
    """The last lines of the workers' logs."""
    if worker not in (*WORKERS, "all"):
        raise UsageError(
            f"logs: expected one of {', '.join((*WORKERS, 'all'))}, found {worker[:40]!a}"
        )
    folder = cli(context).home.log
    files = {name: folder / f"{name}.log" for name in (WORKERS if worker == "all" else (worker,))}
    if not any(path.exists() for path in files.values()):
        raise StateUnknown(f"no logs in {folder}; botctl up starts the workers")
    offsets = {name: _tail(name, path, n) for name, path in files.items() if path.exists()}
    while follow:
        time.sleep(0.5)
        for name, path in files.items():
            offsets[name] = _more(name, path, offsets.get(name, 0))


def _tail(name: str, path: Path, n: int) -> int:
    with path.open(errors="replace") as file:
        for line in deque(file, n):
            print(_log_line(name, line))
        return file.tell()


def _more(name: str, path: Path, offset: int) -> int:
    if not path.exists():
        return 0
    with path.open(errors="replace") as file:
        # A rotated file begins again.
        file.seek(offset if path.stat().st_size >= offset else 0)
        for line in file:
            print(_log_line(name, line), flush=True)
        return file.tell()


def _log_line(name: str, line: str) -> str:
    return f"{name:<9} {printable(line.rstrip(), 2000)}"


def _read(context: typer.Context, query: Any) -> Any:
    with report.read(ledger_path(cli(context))) as found:
        return query(found)


def _json(context: typer.Context, name: str, rows: list[dict[str, Any]]) -> bool:
    if cli(context).json:
        emit({name: rows})
    return cli(context).json


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    for verb in (status, positions, orders, trades, daily, leaders, why, logs):
        app.command()(verb)
