"""Verbs that look after the ledger: reconcile, db check, db backup, db restore."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from bot import report, supervise
from bot.cli.output import cli, emit, say, short, table
from bot.cli.where import ledger_path
from bot.config.load import load
from bot.errors import ConfigError, LedgerDamaged, NotRunning, StateUnknown, Unavailable, UsageError
from bot.model.units import decimal_text, printable
from bot.queue import Reconcile, ask
from bot.report.audit import mismatches

#: The executor asks the exchange for trades and balances, page by page.
ANSWER_S = 120
db_app = typer.Typer(name="db", help="Check, back up and restore the ledger.", no_args_is_help=True)


def reconcile(
    context: typer.Context,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="make the ledger agree with the exchange")
    ] = False,
) -> int:
    """Compare orders, trades and balances of ledger and exchange. Exit 1: differ, 75: unknown."""
    home = cli(context).home
    said = asyncio.run(ask(home.socket("executor"), Reconcile(adopt), timeout_s=ANSWER_S))
    if not said:
        try:
            supervise.processes(home)
            fix = "it is starting or hung, and restarted then; try again in ten seconds"
        except StateUnknown:
            fix = "botctl up starts it"
        raise NotRunning(
            f"reconcile: the executor does not answer, and only it may ask the exchange; {fix}"
        )
    found = json.loads(said)
    if "error" in found:
        raise Unavailable(found["error"])
    return _shown(context, found)


def _shown(context: typer.Context, found: dict[str, Any]) -> int:
    if cli(context).json:
        emit({"ok": not found["count"] and found["quiet"], **found})
        return 1 if found["count"] else 0 if found["quiet"] else Unavailable.exit_code
    for done in ("adopted", "booked"):
        for text in found[done]:
            say(f"{done}: {printable(text, 300)}")
    if found["differences"]:
        table(
            ("KIND", "SUBJECT", "LEDGER", "EXCHANGE", "WHAT"),
            [
                (
                    d["kind"],
                    short(d["subject"]),
                    decimal_text(d["ledger_micros"]),
                    decimal_text(d["exchange_micros"]),
                    printable(d["text"], 300),
                )
                for d in found["differences"]
            ],
            right=("LEDGER", "EXCHANGE"),
        )
    if not found["quiet"]:
        say("balances were not compared: orders or fills are on their way; try again in a moment")
    cut = (
        f", the first {len(found['differences'])} shown"
        if found["count"] > len(found["differences"])
        else ""
    )
    if found["count"]:
        say(f"{found['count']} differences{cut}")
        return 1
    if not found["quiet"]:
        say("orders and trades agree; of the balances nothing is known")
        return Unavailable.exit_code
    say("ledger and exchange agree")
    return 0


@db_app.command()
def check(context: typer.Context) -> None:
    """Read every page, and recompute positions, days and cash from the fills. Exit 78 if broken."""
    from bot.ledger.files import check as check_file

    path = ledger_path(cli(context))
    found = check_file(path)
    with report.read(path) as ledger:
        wrong = mismatches(ledger)
    if wrong:
        raise LedgerDamaged(f"ledger {path}: {wrong[0]} ({len(wrong)} in all); restore a backup")
    if cli(context).json:
        emit(
            {
                "ok": True,
                **{k: str(v) if isinstance(v, Path) else v for k, v in asdict(found).items()},
            }
        )
    else:
        print(
            f"sound: {found.orders} orders, {found.fills} fills, schema {found.schema},"
            f" mode {found.mode}, {found.size / 2**20:.1f} MB and {found.wal / 2**20:.1f} MB WAL;"
            " positions and cash follow from the fills"
        )


@db_app.command()
def backup(
    context: typer.Context, target: Annotated[Path, typer.Argument(help="file to write")]
) -> None:
    """Write a complete, checked copy; the bot may run meanwhile."""
    from bot.ledger.files import backup as copy

    if target.is_dir():
        raise UsageError(f"db backup: {target} is a folder; give a file name")
    found = copy(ledger_path(cli(context)), target.absolute())
    if cli(context).json:
        emit(
            {"ok": True, "path": str(target.absolute()), "size": found.size, "orders": found.orders}
        )
    else:
        print(
            f"wrote {target}: {found.orders} orders, {found.fills} fills,"
            f" {found.size / 2**20:.1f} MB, checked"
        )


@db_app.command()
def restore(
    context: typer.Context, source: Annotated[Path, typer.Argument(help="a file of db backup")]
) -> None:
    """Put a backup in the ledger's place.

    Refused while the bot runs; the old ledger is kept beside it.
    """
    from bot.ledger.files import restore as put_back

    options = cli(context)
    options.home.create()
    supervise.refuse_live(options.home)
    mode = load(options.config).mode
    path = options.home.ledger(mode)
    if source.absolute().resolve() == path.resolve():
        raise ConfigError(f"{source}: that is the ledger itself; give a file of botctl db backup")
    aside = put_back(source.absolute(), path, mode)
    kept = f"; the old one is {aside.name}" if aside else ""
    if options.json:
        emit({"ok": True, "path": str(path), "kept": str(aside) if aside else None})
    else:
        print(
            f"restored {path}{kept}; after botctl up,"
            " botctl reconcile shows what the backup does not know"
        )


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    app.command()(reconcile)
    app.add_typer(db_app)
