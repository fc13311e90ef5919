"""Verbs about the sources of leaders' trades: sources, record, doctor."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bot import report
from bot.cli.output import Cli, age, cli, console, emit, say, table
from bot.cli.run import span_us
from bot.cli.where import ledger_path
from bot.config.load import load
from bot.config.schema import Settings
from bot.model.units import MICRO, printable
from bot.report import lists
from bot.report.sources import Source
from bot.report.sources import sources as known
from bot.report.status import acts_on

if TYPE_CHECKING:
    from bot.lab.doctor import Found, Lags  # what only one verb needs is loaded by it


def sources(context: typer.Context) -> int:
    """Which sources of leaders' trades are heard, how late they are, what they miss."""
    options = cli(context)
    with report.read(ledger_path(options)) as found:
        rows, counts = known(found), acts_on(found)
    if options.json:
        emit({"acts_on": counts, "sources": [asdict(row) for row in rows]})
        return 0
    table(
        ("SOURCE", "STATE", "HEARD", "LAG", "IN TIME", "OF NOTHING", "NOTE"),
        [
            (r.title, r.state, age(r.heard_s), age(r.lag_s), _part(r.hit_share),
             _part(r.phantom_share), r.note or "–")
            for r in rows
        ],
        right=("HEARD", "LAG", "IN TIME", "OF NOTHING"),
    )  # fmt: skip
    words = {"mined": "what is in a block counts", "provisional": "what the stream tells counts"}
    console().print(Text(words.get(counts, counts) if rows else "no monitor has run here yet"))
    return 0


def lines(rows: Sequence[Source]) -> list[str]:
    """Return what the first screen says of sources: one line each, and nothing where none is."""
    return [
        "",
        *(
            f"{r.title:<10}{r.state:<14}{age(r.heard_s):>8}"
            f"{'  in time ' + _part(r.hit_share) if r.hit_share is not None else ''}  {r.note}"
            for r in rows
        ),
    ] if rows else []  # fmt: skip


def record(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="a new file; botctl demo --feed plays it again")],
    seconds: Annotated[int, typer.Option("--seconds", min=1, max=86_400, help="how long")] = 60,
) -> None:
    """Write down what every source of leaders' trades sends, with connections of its own."""
    from bot.lab.demo import leave_nothing
    from bot.lab.record import record as run

    leave_nothing()
    options = cli(context)
    settings = load(options.config)
    lines = run(settings, _followed_by(options, settings), seconds, file)
    if options.json:
        emit({"file": str(file), "lines": lines})
    else:
        told = ", ".join(f"{source} {n}" for source, n in sorted(lines.items())) or "nothing"
        say(f"{printable(str(file), 200)}: {told}")


def doctor(
    context: typer.Context,
    sources: Annotated[str, typer.Option(
        "--sources", help="measure every source for so long: 90s, 10m, 1h")] = "10m",
) -> int:  # fmt: skip
    """Measure every source of leaders' trades against the service as it is; nothing is bought."""
    from bot.lab.demo import leave_nothing
    from bot.lab.doctor import measure

    leave_nothing()
    options = cli(context)
    settings = load(options.config)
    wallets, seconds = _followed_by(options, settings), span_us(sources, "--sources") // MICRO
    found = measure(settings, wallets, seconds, lambda _: None if options.json else say(_))
    if options.json:
        emit(asdict(found))
    else:
        _doctor(found)
    return 1 if found.problems else 0


def _followed_by(options: Cli, settings: Settings) -> list[str]:
    """Return whom the configuration lists, and whom an operator has said to follow."""
    listed = [leader.wallet for leader in settings.leaders]
    path = options.home.ledger(settings.mode)
    if not path.exists():
        return listed
    with report.read(path) as found:
        said = [row["leader"] for row in lists.leaders(found) if row["active"]]
    return list(dict.fromkeys([*listed, *said]))


def _doctor(found: "Found") -> None:
    table(
        ("SOURCE", "STATE", "TRADES", "LATE P50 S", "P95", "IN TIME", "OF NOTHING", "NOTE"),
        [
            (row.title, row.state, *_late(found.lags.get(row.name)), _part(row.hit_share),
             _part(row.phantom_share), row.note or "–")
            for row in found.sources
        ],
        right=("TRADES", "LATE P50 S", "P95", "IN TIME", "OF NOTHING"),
    )  # fmt: skip
    table(
        ("PROVIDER", "NEWEST BLOCK", "OLD S", "SAYS FINAL", "BLOCKS", "WALLETS", "ORDERS", "NOTE"),
        [
            (p.name, _or_dash(p.head), _or_dash(p.behind_s), "yes" if p.finalized else "no",
             _or_dash(p.blocks), _or_dash(p.topics), _or_dash(p.logs), p.note or "–")
            for p in found.providers
        ],
        right=("NEWEST BLOCK", "OLD S", "BLOCKS", "WALLETS", "ORDERS"),
    )  # fmt: skip
    frames = ", ".join(f"{kind} {n}" for kind, n in sorted(found.frames.items())) or "none"
    lines = [
        f"stream    frames {frames}; {found.connections} connections; longest silence"
        f" {_or_dash(found.longest_silence_s)} s",
        f"Data API  {_or_dash(found.index_lag_s)} s behind by its own word; answers for everybody:"
        f" {'yes' if found.everybody else 'no'}",
        f"followed  {len(found.followed)} wallets for {found.seconds} s",
        *(f"problem   {printable(problem, 200)}" for problem in found.problems),
    ]
    console().print(Text("\n".join(lines)))


def _late(lags: "Lags | None") -> tuple[str, str, str]:
    if lags is None:
        return "0", "–", "–"
    return str(lags.trades), f"{lags.p50:.1f}", f"{lags.p95:.1f}"


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    for verb in (sources, record, doctor):
        app.command()(verb)


def _part(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f} %"
