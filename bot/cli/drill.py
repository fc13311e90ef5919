"""The verb that hurts the bot on purpose: drill."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from bot.cli.output import cli, console, emit, say, table
from bot.errors import UsageError
from bot.units import printable

if TYPE_CHECKING:
    from bot.lab.drill import Drill, Result


def drill(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="drills, or the start of their names")] = None,
    every: Annotated[bool, typer.Option("--all", help="every drill; at most 20 minutes on 2 cores")] = False,
    listed: Annotated[bool, typer.Option("--list", help="name every drill and failpoint, and end")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=16, help="drills at a time")] = 2,
) -> int:
    """Kill, freeze, lie to and starve the bot in throw-away homes; the checker judges each time."""
    from bot.lab.demo import leave_nothing
    from bot.lab.drill import run
    from bot.lab.drills import ALL, left_out

    if listed:
        _list(context, ALL)
        return 0
    wanted = ALL if every else _chosen(ALL, names or [])
    began = time.monotonic()
    leave_nothing()
    results = list(_shown(run(wanted, jobs=jobs), quiet=cli(context).json))
    ok = all(r.passed for r in results)
    kills, faults = sum(r.kills for r in results), sum(r.faults for r in results)
    missing = left_out() if every else None
    if cli(context).json:
        drills = [{name: getattr(r, name) for name in r.__slots__} for r in results]
        emit({"ok": ok, "drills": drills, "kills": kills, "faults": faults, "left_out": missing})
    else:
        failed = [r.name for r in results if not r.passed]
        say(f"left out: {missing}") if missing else None
        text = f"{len(results)} drills, {kills} kills, {faults} faults in {time.monotonic() - began:.0f} s"
        console().print(Text(f"PASS  {text}" if ok else f"FAIL  {text}; failed: {', '.join(failed)}"))
    return 0 if ok else 1


def _chosen(known: "Sequence[Drill]", names: list[str]) -> "list[Drill]":
    if not names:
        raise UsageError("drill: name one, or a family such as answers, or give --all; --list names them")
    found = [d for d in known if any(d.name == name or d.name.startswith(f"{name}.") for name in names)]
    if strangers := [n for n in names if not any(d.name == n or d.name.startswith(f"{n}.") for d in known)]:
        raise UsageError(f"drill: no drill begins with {strangers[0][:40]!a}; botctl drill --list names them")
    return found


def _list(context: typer.Context, known: "Sequence[Drill]") -> None:
    from bot.failpoints import POINTS

    if cli(context).json:
        emit({"drills": [{"name": d.name, "what": d.what} for d in known], "failpoints": POINTS})
        return
    table(("DRILL", "WHAT"), [(d.name, d.what) for d in known])
    table(("FAILPOINT", "WHAT"), list(POINTS.items()))


def _shown(results: "Iterator[Result]", *, quiet: bool) -> "Iterator[Result]":
    """Print each result as it comes: what was done, and what was found."""
    screen = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for r in results:
        if not quiet:
            verdict = Text("ok    " if r.passed else "FAIL  ", style="green" if r.passed else "bold red")
            back = f"{r.recovered_s:.1f}s" if r.recovered_s is not None else "–"
            line = Text.assemble(
                verdict, f"{r.name:<36} {back:>6} {r.duplicates} twice {r.lost} lost  ", printable(r.what, 200)
            )
            screen.print(line)
            screen.print(Text(f"      {printable(r.found, 600)}", style="dim" if r.passed else ""))
        yield r


def register(app: typer.Typer) -> None:
    """Add this verb."""
    app.command()(drill)
