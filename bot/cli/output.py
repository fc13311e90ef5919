"""How botctl speaks: tables for people, one JSON object for machines, exit codes for scripts.

Data goes to stdout, talk to stderr. A pipe gets tab-separated full values: a shrunken table would
silently drop columns. Without a terminal there is not one escape sequence.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bot.config.home import Home
from bot.errors import BotError
from bot.model.units import printable
from bot.report import plain

SCHEMA = 1
INTERRUPTED = 130


@dataclass(slots=True)
class Cli:
    """The global options of this call."""

    home: Home
    config: Path | None
    json: bool


def cli(context: typer.Context) -> Cli:
    """Return the global options."""
    found = context.find_object(Cli)
    assert found is not None
    return found


def console() -> Console:
    """Return a console for stdout: colours on a terminal that wants them, else none."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, no_color=None)


def emit(value: dict[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps({"schema": SCHEMA, **plain(value)}, ensure_ascii=True))


def say(text: str) -> None:
    """Print talk to stderr."""
    print(text, file=sys.stderr)


def fail(error: BotError, *, as_json: bool) -> int:
    """Report an error in one line and return its exit code."""
    message = printable(" ".join(str(error).split()), 1000)
    if as_json:
        print(
            json.dumps({"schema": SCHEMA, "ok": False, "error": message, "code": error.exit_code})
        )
    print(f"botctl: {message}", file=sys.stderr)
    return error.exit_code


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """Print rows under short headers; columns named in `right` are numbers and align right."""
    out = console()
    if not out.is_terminal:
        print("\t".join(headers))
        for row in rows:
            print("\t".join(row))
        return
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in headers:
        grid.add_column(
            header,
            justify="right" if header in right else "left",
            no_wrap=header not in ("WHAT", "DETAIL"),
        )
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    out.print(grid)


def short(ident: str | None, full: bool = False) -> str:
    """Return an id shortened in its middle, or whole."""
    if not ident:
        return "–"
    return ident if full or len(ident) <= 14 else f"{ident[:8]}…{ident[-4:]}"


def age(seconds: float | None) -> str:
    """Return a time span as '1.2s', '3m07s', '3h12m' or '2d04h'; '–' for None."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f}s" if isinstance(seconds, float) else f"{seconds}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"
