"""botctl sources: which sources of leaders' trades are heard, and how well they do."""

from collections.abc import Sequence
from dataclasses import asdict

import typer
from rich.text import Text

from bot import report
from bot.cli.output import age, cli, console, emit, table
from bot.cli.where import ledger_path
from bot.report.sources import Source
from bot.report.sources import sources as known
from bot.report.status import acts_on


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


def register(app: typer.Typer) -> None:
    """Add this verb."""
    app.command()(sources)


def _part(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.1f} %"
