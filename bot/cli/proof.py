"""Verbs that prove: demo, bench, sim."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bot.cli.output import cli, console, emit, say, table
from bot.config.home import WORKERS
from bot.errors import ConfigError, UsageError
from bot.model.units import decimal_text, money, printable

if TYPE_CHECKING:
    from bot.lab import demo as lab  # what only one verb needs is loaded by it
    from bot.lab.bench.budgets import Bench
    from bot.lab.soak import SoakVerdict

Seed = Annotated[int, typer.Option("--seed", min=0, max=2**31, help="same seed, same story")]

Leaders = Annotated[
    int | None,
    typer.Option("--leaders", min=1, max=10_000, help="follow so many in a crowd instead"),
]
FeedRate = Annotated[
    int, typer.Option("--feed-rate", min=2, max=2_000, help="fills a second of the crowd")
]
Seconds = Annotated[
    int, typer.Option("--seconds", min=8, max=86_400, help="how long the crowd trades")
]


def demo(
    context: typer.Context, seed: Seed = 1,
    trades: Annotated[int, typer.Option(
        "--trades", min=60, max=1000, help="steps of the scripted story")] = 72,
    feed: Annotated[Path | None, typer.Option(
        "--feed", help="replay a recorded session (JSON) instead")] = None,
    follow: Annotated[str, typer.Option("--follow", help="`all`, or addresses separated by commas")] = "all",  # noqa: E501
    speed: Annotated[int, typer.Option(
        "--speed", min=1, max=1000, help="play a --feed so many times faster")] = 20,
    kill: Annotated[str | None, typer.Option("--kill", help="SIGKILL this worker on the way")] = None,  # noqa: E501
    repeat: Annotated[int, typer.Option(
        "--repeat", min=1, max=20, help="send every recorded row this often")] = 1,
    signature_type: Annotated[int, typer.Option(
        "--signature-type", min=0, max=3, help="kind of wallet")] = 0,
    chain: Annotated[bool, typer.Option(help="read the chain beside stream and Data API")] = True,
    source: Annotated[str | None, typer.Option(
        "--source", help="one source alone: chain, rtds or activity")] = None,
    leaders: Leaders = None, feed_rate: FeedRate = 500, seconds: Seconds = 60,
) -> int:  # fmt: skip
    """Leaders trade on a simulated Polymarket, the real bot follows, a checker compares."""
    from bot.lab import demo as lab

    if leaders is not None:
        return _crowd(context, leaders, feed_rate, seconds, seed)
    if kill is not None and kill not in WORKERS:
        raise UsageError(f"--kill: expected one of {', '.join(WORKERS)}, found {kill[:40]!a}")
    wanted = tuple(part.strip() for part in follow.split(",") if part.strip()) or ("all",)
    options = lab.Options(
        seed, trades, feed, wanted, kill, repeat, signature_type, speed,
        _sources(source, chain=chain),
    )  # fmt: skip
    if cli(context).json:
        verdict = lab.run(options, lambda _: None)
        emit({name: getattr(verdict, name) for name in lab.DemoVerdict.__slots__})
        return 0 if verdict.ok else 1
    with _shown(trades) as show:
        verdict = lab.run(options, show)
    _summary(verdict)
    return 0 if verdict.ok else 1


def _crowd(context: typer.Context, leaders: int, per_s: int, seconds: int, seed: int) -> int:
    from bot.lab import crowd as lab

    options = lab.Options(leaders, per_s, seconds, seed)
    if cli(context).json:
        verdict = lab.run(options, lambda _: None)
        emit(asdict(verdict))
        return 0 if verdict.ok else 1
    screen = Console(stderr=True, highlight=False)
    with screen.status("starting") as shown:
        v = lab.run(options, lambda line: shown.update(line) if screen.is_terminal else None)
    lines = [
        f"fills           {v.fills} of everybody, {v.fills_per_s} a second",
        f"leaders         {v.leaders}: {v.leader_trades} trades, {v.copied} copied,"
        f" {v.missed} missed, {v.duplicates} bought twice",
        f"queue           {v.longest_queue[0]} at most, {v.longest_queue[1]} later,"
        f" {v.dropped} dropped",
        "cores           " + ", ".join(f"{worker} {n}" for worker, n in v.cpu_cores.items()),
        "memory          " + ", ".join(
            f"{worker} {before} then {after} MB" for worker, (before, after) in v.memory_mb.items()
        ),
        *(f"problem         {printable(problem, 300)}" for problem in v.problems),
        f"{'PASS' if v.ok else 'FAIL'} in {v.duration_s} s, seed {v.seed}",
    ]  # fmt: skip
    console().print("\n".join(lines), highlight=False, markup=False)
    return 0 if v.ok else 1


def _sources(alone: str | None, *, chain: bool) -> tuple[str, ...]:
    from bot.lab.demo import SOURCES

    known = tuple(name for name in SOURCES if chain or name != "chain")
    if alone is None:
        return known
    if alone not in known:
        raise UsageError(f"--source: expected one of {', '.join(known)}, found {alone[:40]!a}")
    return (alone,)


@contextmanager
def _shown(steps: int) -> "Iterator[Callable[[lab.Progress], None]]":
    screen = Console(stderr=True, highlight=False)
    if not screen.is_terminal:
        yield lambda _: None
        return
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        yield lambda now: live.update(_screen(now, steps), refresh=True)


def _screen(now: "lab.Progress", total: int) -> Group:
    head = Text(f"copybot demo · {now.phase}", style="bold")
    workers = Text("  ".join(f"{name} {state}" for name, state in now.workers))
    done = max(0, total - now.steps_left) if now.workers else 0
    seen = (
        f"leader trades {now.leader_trades}   decided {now.decided}   copied {now.copied}"
        f"   skipped {now.skipped}"
    )
    counts = Text(seen)
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("LEADER", "SIDE", "SHARES", "USDC", "DECISION", "MARKET"):
        grid.add_column(
            name, justify="right" if name in ("SHARES", "USDC") else "left", no_wrap=True
        )
    for r in now.latest:
        decision = r["reason"] or r["verdict"]
        shown = Text(decision, style="green" if decision == "copied" else "")
        shares, usdc = decimal_text(r["shares_micros"]), money(r["usdc_micros"])
        grid.add_row(
            r["leader"][:10], r["side"], shares, usdc, shown, Text(printable(r["title"], 40))
        )
    bar = ProgressBar(total=max(total, 1), completed=done, width=60)
    return Group(head, bar, Text(), workers, counts, Text(), grid)


def _summary(v: "lab.DemoVerdict") -> None:
    out = console()
    skipped = ", ".join(f"{name} {n}" for name, n in v.skipped.items()) or "none"
    latency = v.latency_ms["detect_to_post"]
    matches = "equals, to the micro-dollar," if v.ledger_matches_venue else "DIFFERS from"
    lines = [
        f"leader trades   {v.leader_trades}, and {v.followups} grew after their decision",
        f"decisions       {v.decisions}: {v.copied} copied, {v.decisions - v.copied} skipped",
        f"skipped         {skipped}",
        f"orders          {v.orders} in the ledger, {v.venue_orders} at the exchange,"
        f" {v.duplicates} twice, {v.lost} lost",
        f"ledger          {matches} the exchange",
        f"realised PnL    {v.realized_pnl_usdc} USDC",
        f"detect to post  p50 {latency['p50']} ms, p99 {latency['p99']} ms",
        f"memory          {', '.join(f'{name} {mb} MB' for name, mb in v.memory_mb.items())}",
    ]
    if v.killed:
        lines.append(f"killed          {v.killed} (SIGKILL), at work again after {v.recovered_s} s")
    lines += [f"PROBLEM         {printable(problem, 200)}" for problem in v.problems]
    verdict = "PASS" if v.ok else "FAIL"
    lines.append(f"{verdict}            {v.duration_s} s, seed {v.seed}")
    out.print(Text("\n".join(lines)))


def bench(
    context: typer.Context,
    trades: Annotated[
        int, typer.Option("--trades", min=4, max=400, help="purchases in each scenario")
    ] = 40,
    history: Annotated[int | None, typer.Option(
        "--history", min=10_000, max=10_000_000, help="also: what so many processed trades cost",
    )] = None,
    busy: Annotated[bool, typer.Option(
        "--busy", help="also: a market beside one that hangs, and 500 signals a second")] = False,
) -> int:  # fmt: skip
    """How far the bot is from its own floors, and from a copier that stores nothing; 4 minutes."""
    from bot.lab.bench.bench import run

    found = run(trades, say, history=history, busy=busy)
    if cli(context).json:
        emit(asdict(found))
    else:
        _bench(found)
    return 0 if found.ok else 1


def _bench(found: "Bench") -> None:
    floors = found.floors
    out = console()
    floor = (
        f"floors  commit {floors['commit_ms']:.2f} ms, signature {floors['signature_ms']:.2f},"
        f" socket hop {floors['hop_ms']:.2f}, POST {floors['post_ms']:.2f};"
        f" two commits and one of each {floors['sum_ms']:.2f}; allowance {found.allowance_ms:.2f}"
    )
    out.print(Text(floor))
    head = (
        "SCENARIO",
        "P50 MS",
        "P99",
        "FROM SIGHT",
        "P99",
        "COPIER P50",
        "OF FLOORS",
        "ASKED",
        "CPU MS",
    )
    rows = [
        (name, *(f"{value:.1f}" for value in (
            t.p50_ms, t.p99_ms, t.said_p50_ms, t.said_p99_ms, t.copier_p50_ms, t.ratio_to_floors,
            t.requests_before_post, t.cpu_ms_per_trade,
        )))
        for name, t in found.scenarios.items()
    ]  # fmt: skip
    table(head, rows, right=head[1:])
    for name, ratio in found.growth.items():
        out.print(Text(f"growth  {name} {ratio:.2f}"))
    if found.busy:
        healthy, rate = found.busy["healthy_p99_ms"], found.busy["signals_per_s"]
        orders = found.busy["orders_per_s"]
        out.print(Text(
            f"busy    p99 of a healthy market {healthy} ms; {rate} signals/s of 500,"
            f" {orders} orders/s of 100"
        ))  # fmt: skip
    lines = [f"memory  {found.memory_mb} MB, idle {found.idle_cpu_percent} % of a core"]
    lines += [f"MISSED  {printable(line, 200)}" for line in found.missed]
    out.print(Text("\n".join([*lines, "PASS" if found.ok else "FAIL"])))


def soak(
    context: typer.Context,
    hours: Annotated[float, typer.Option(
        "--hours", min=0.1, max=240, help="of trading; each takes three minutes")] = 1.0,
    seed: Seed = 1,
) -> int:  # fmt: skip
    """Hours of trading at twenty times their pace: nothing may grow with time."""
    from bot.lab import soak as lab
    from bot.lab.demo import leave_nothing

    leave_nothing()
    found = lab.run(hours, seed, say)
    if cli(context).json:
        emit(asdict(found))
        return 0 if found.ok else 1
    _soak(found)
    return 0 if found.ok else 1


def _soak(found: "SoakVerdict") -> None:
    out = console()
    out.print(Text(
        f"{found.hours:g} h of trading: {found.trades} leader trades, {found.orders} orders,"
        f" {found.markets} markets listed, {found.losses} connections lost"
    ))  # fmt: skip
    rows = []
    for worker, gauges in found.gauges.items():
        for name, gauge in gauges.items():
            part = 2**20 if name == "pss_bytes" else 1
            label = "memory, MB" if name == "pss_bytes" else name
            rows.append((worker, label, *(f"{value / part:.1f}" for value in gauge)))
    rows.append(("ledger", "bytes a trade", *(f"{n:.0f}" for n in found.ledger_bytes_per_trade)))
    head = ("WORKER", "GAUGE", "BEFORE", "AT THE END")
    table(head, rows, right=head[2:])
    lines = [f"PROBLEM  {printable(problem, 200)}" for problem in found.problems]
    verdict = "PASS" if found.ok else "FAIL"
    out.print(Text("\n".join([*lines, f"{verdict}     {found.duration_s} s, seed {found.seed}"])))


def sim(
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0: any free port")] = 0,
    scenario: Annotated[
        Path | None, typer.Option("--scenario", help="recorded session (JSON) to play")
    ] = None,
    seed: Seed = 1,
    signature_type: Annotated[
        int, typer.Option("--signature-type", min=0, max=3, help="kind of the funded wallet")
    ] = 0,
) -> None:
    """Run the simulated Polymarket alone: prints addresses, a funded throw-away key and leaders."""
    from bot.sim.plan import Plan
    from bot.sim.server import main

    if scenario is not None and not scenario.exists():
        raise ConfigError(f"--scenario: {scenario} does not exist")
    played = str(scenario) if scenario else None
    plan = Plan(
        seed=seed, port=port, feed=played, signature_type=signature_type, gap_ms=500, loop=True
    )
    main(plan, start=True)


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    for verb in (demo, bench, soak, sim):
        app.command()(verb)
