"""The verb that hurts the bot on purpose: drill."""

import difflib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import structlog
import typer
from rich.live import Live
from rich.text import Text

from bot.cli.output import cli, console, emit, say, table
from bot.errors import UsageError
from bot.model.units import printable

if TYPE_CHECKING:
    from bot.lab.drill import Drill, Result


Names = Annotated[list[str] | None, typer.Argument(help="drills, or the start of their names")]
Every = Annotated[bool, typer.Option("--all", help="all that must pass; half an hour")]
Listed = Annotated[bool, typer.Option("--list", help="name every drill and failpoint, and end")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, max=16, help="drills at a time")]
Storm = Annotated[bool, typer.Option("--storm", help="random kills and faults under load instead")]
Kills = Annotated[int, typer.Option("--kills", min=1, max=10_000, help="kills of a storm")]
Virtual = Annotated[bool, typer.Option("--virtual", help="simulate in virtual time instead")]
Orders = Annotated[int, typer.Option("--orders", min=10, max=100_000, help="how many it places")]
Sabotage = Annotated[
    str | None, typer.Option("--sabotage", help="break a law in it: the checker must fail")
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**31, help="repeats storm or simulation")]


def drill(
    context: typer.Context,
    names: Names = None,
    every: Every = False,
    listed: Listed = False,
    jobs: Jobs = 2,
    storm: Storm = False,
    kills: Kills = 40,
    simulated: Virtual = False,
    orders: Orders = 10_000,
    sabotage: Sabotage = None,
    seed: Seed = 1,
) -> int:
    """Kill, freeze, lie to and starve the bot in throw-away homes; the checker judges each time."""
    from bot.lab.demo import leave_nothing
    from bot.lab.drills import ALL

    leave_nothing()
    # What a simulated life shouts as it dies is no news.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    _one_of(
        listed=listed,
        every=every,
        storm=storm,
        simulated=simulated or sabotage is not None,
        named=bool(names),
    )
    if listed:
        _list(context, ALL)
        return 0
    if storm:
        return _storm(context, kills, seed)
    if simulated or sabotage:
        return _simulate(context, orders, seed, sabotage)
    if every:
        expected = [d.name for d in ALL if d.finding]
        return _play(context, [d for d in ALL if not d.finding], jobs, expected)
    return _play(context, _chosen(ALL, names or []), jobs, [])


def _one_of(**wanted: bool) -> None:
    if sum(wanted.values()) > 1:
        raise UsageError(
            "drill: names, --all, --list, --storm and --virtual (with --sabotage)"
            " exclude each other"
        )


def _play(context: typer.Context, wanted: "Sequence[Drill]", jobs: int, expected: list[str]) -> int:
    """Play drills; `expected` are those left out because it is known that they fail."""
    from bot.lab.drills import can_mount

    began = time.monotonic()
    rooted = [d.name for d in wanted if d.root]
    left_out = rooted if rooted and not can_mount() else []
    playable = [d for d in wanted if d.name not in left_out]
    if not playable:
        raise UsageError(f"drill: {', '.join(left_out)} mounts a small disk, which takes root")
    results = list(_shown(playable, jobs, quiet=cli(context).json))
    ok = all(r.passed for r in results)
    kills, faults = sum(r.kills for r in results), sum(r.faults for r in results)
    if cli(context).json:
        drills = [{name: getattr(r, name) for name in r.__slots__} for r in results]
        counts = {"kills": kills, "faults": faults, "left_out": left_out, "expected": expected}
        emit({"ok": ok, "drills": drills, **counts})
        return 0 if ok else 1
    if left_out:
        say(
            f"left out {len(left_out)}, which mount a small disk and need root:"
            f" {', '.join(left_out)}"
        )
    if expected:
        say(f"left out {len(expected)}, which fail until something is mended: see drill --list")
    failed = [r.name for r in results if not r.passed]
    text = (
        f"{len(results)} drills, {kills} kills, {faults} faults in {time.monotonic() - began:.0f} s"
    )
    console().print(Text(f"PASS  {text}" if ok else f"FAIL  {text}; failed: {', '.join(failed)}"))
    return 0 if ok else 1


def _storm(context: typer.Context, kills: int, seed: int) -> int:
    from bot.lab.storm import run

    found = run(kills, seed, (lambda _: None) if cli(context).json else say)
    if cli(context).json:
        emit({name: getattr(found, name) for name in found.__slots__})
        return 0 if found.ok else 1
    matches = "equals" if found.ledger_matches_venue else "DIFFERS from"
    lines = [
        f"kills           {found.kills}, and {found.faults} faults of the exchange;"
        f" {found.boots} lives of workers",
        f"leader trades   {found.leader_trades}, {found.lost} lost",
        f"orders          {found.orders} in the ledger, {found.venue_orders} at the exchange,"
        f" {found.duplicates} twice",
        f"ledger          {matches} the exchange",
        f"recovered       p50 {found.recovered_s['p50']} s, at most {found.recovered_s['max']} s",
        *(f"PROBLEM         {printable(problem, 200)}" for problem in found.problems),
        f"{'PASS' if found.ok else 'FAIL'}            {found.duration_s} s, seed {found.seed}",
    ]
    console().print(Text("\n".join(lines)))
    return 0 if found.ok else 1


def _simulate(context: typer.Context, orders: int, seed: int, sabotage: str | None) -> int:
    from bot.lab.virtual.sabotage import SABOTAGES
    from bot.lab.virtual.simulate import run

    if sabotage is not None and sabotage not in SABOTAGES:
        raise UsageError(
            f"--sabotage: expected one of {', '.join(SABOTAGES)}, found {sabotage[:40]!a}"
        )
    began = time.monotonic()
    found = run(orders, seed, SABOTAGES[sabotage][1] if sabotage else None)
    if cli(context).json:
        emit({name: getattr(found, name) for name in found.__slots__})
        return 0 if found.ok else 1
    lines = [
        f"orders          {found.orders} from {found.signals} signals"
        f" in {found.virtual_s} virtual seconds",
        f"lives           {found.lives}:"
        f" the process died {found.faults['deaths']} times at a failpoint",
        "answers         "
        f"{', '.join(f'{name} {n}' for name, n in found.faults.items() if name != 'deaths')}",
        f"wrong           {found.duplicates} twice, {found.lost} lost",
        *(f"PROBLEM         {printable(problem, 200)}" for problem in found.problems[:8]),
        *(
            [f"on purpose      {SABOTAGES[sabotage][0]}: the checker must notice"]
            if sabotage
            else []
        ),
        f"{'PASS' if found.ok else 'FAIL'}            {time.monotonic() - began:.0f} s,"
        f" seed {found.seed}",
    ]
    console().print(Text("\n".join(lines)))
    return 0 if found.ok else 1


def _chosen(known: "Sequence[Drill]", names: list[str]) -> "list[Drill]":
    if not names:
        raise UsageError(
            "drill: name one, or a family such as answers, or give --all; --list names them"
        )
    found = [
        d for d in known if any(d.name == name or d.name.startswith(f"{name}.") for name in names)
    ]
    if strangers := [
        n for n in names if not any(d.name == n or d.name.startswith(f"{n}.") for d in known)
    ]:
        near = difflib.get_close_matches(strangers[0], [d.name for d in known], 1)
        hint = f"did you mean {near[0]}?" if near else "botctl drill --list names them"
        raise UsageError(f"drill: no drill begins with {strangers[0][:40]!a}; {hint}")
    return found


def _list(context: typer.Context, known: "Sequence[Drill]") -> None:
    from bot.failpoints import POINTS

    if cli(context).json:
        drills = [{"name": d.name, "what": d.what, "finding": d.finding} for d in known]
        emit({"drills": drills, "failpoints": POINTS})
        return
    table(("DRILL", "WHAT", "FAILS"), [(d.name, d.what, d.finding) for d in known])
    table(("FAILPOINT", "WHAT"), list(POINTS.items()))


def _shown(wanted: "Sequence[Drill]", jobs: int, *, quiet: bool) -> "Iterator[Result]":
    """Play the drills; print a line each as it ends.

    What runs now is on the last line of a terminal.
    """
    from bot.lab.drill import run

    screen = console()
    running: list[str] = []
    if quiet:
        yield from run(wanted, jobs=jobs, started=running.append)
        return
    if not screen.is_terminal:
        print("\t".join(_HEADERS))
        for r in run(wanted, jobs=jobs, started=running.append):
            print("\t".join(_cells(r)), flush=True)
            yield r
        return
    screen.print(_line(_HEADERS, screen.width), style="bold")
    began = time.monotonic()
    with Live(console=screen, transient=True, refresh_per_second=2) as live:
        for done, r in enumerate(run(wanted, jobs=jobs, started=running.append), 1):
            running.remove(r.name)
            screen.print(_line(_cells(r), screen.width), style="" if r.passed else "bold red")
            if not r.passed:
                screen.print(Text(f"    {printable(r.found, 900)}"))
            live.update(
                Text(
                    f"{done}/{len(wanted)} in {time.monotonic() - began:.0f} s,"
                    f" now {', '.join(running)}"
                )
            )
            yield r


_HEADERS = ("RESULT", "DRILL", "BACK", "TWICE", "LOST", "DONE", "FOUND")


def _cells(r: "Result") -> tuple[str, ...]:
    back = f"{r.recovered_s:.1f}s" if r.recovered_s is not None else "–"
    done, found = printable(r.what, 300), printable(r.found, 900)
    return ("ok" if r.passed else "FAIL", r.name, back, str(r.duplicates), str(r.lost), done, found)


def _line(cells: Sequence[str], width: int) -> Text:
    """Return one line: fixed columns, and what was done and found sharing the rest."""
    half = max(20, (width - 60) * 2 // 5)
    result, name, back, twice, lost, done, found = cells
    head = f"{result:<7}{name:<32}{back:>7}{twice:>6}{lost:>5}  "
    tail = f"{printable(done, half):<{half}} {printable(found, max(20, width - 61 - half))}"
    return Text(head + tail, no_wrap=True, overflow="ellipsis")


def register(app: typer.Typer) -> None:
    """Add this verb."""
    app.command()(drill)
