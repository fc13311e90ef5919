"""Verbs about what is held and what is wished: intents, close, cancel, assign.

What changes anything is stored as an operator's signal, and the executor decides it like any other.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from bot import report
from bot.cli.leaders import known
from bot.cli.observe import Count, Full
from bot.cli.output import Cli, cli, emit, short, table
from bot.cli.where import ledger_path
from bot.errors import UsageError
from bot.model.amounts import CENT
from bot.model.intent import EXTERNAL, MANUAL, IntentKind, Portfolio, mirror
from bot.model.order import OrderKind
from bot.model.signal import Wish
from bot.model.units import decimal_text, printable, rfc3339
from bot.report import lists

#: (portfolio, condition, token): where an operator's wish goes.
Target = tuple[str, str, str]
_LEAST = 6  #: characters that name a position or an order


def intents(
    context: typer.Context,
    n: Count = 50,
    full: Full = False,
    ended: Annotated[
        bool, typer.Option("--ended", help="those that have ended, newest first")
    ] = False,
) -> None:
    """What the bot wishes to hold: what stands, since when, and what it waits for."""
    options = cli(context)
    with report.read(ledger_path(options)) as found:
        rows = lists.intents(found, n, ended=ended)
    if options.json:
        emit({"intents": rows})
        return
    table(
        (
            "SINCE", "KIND", "FOR", "OUTCOME", "HELD", "TARGET", "FROM PRICE", "TRIES", "STATE",
            "MARKET",
        ),
        [
            (
                rfc3339(r["opened_us"])[5:19],
                r["kind"],
                r["label"] or short(r["portfolio"].removeprefix("mirror/"), full),
                printable(r["outcome"] or short(r["token"], full), 20),
                decimal_text(r["held_shares_micros"]),
                f"{'≥' if r['kind'] == 'entry' else '≤'} {decimal_text(r['target_shares_micros'])}",
                "-" if r["price_micros"] is None else decimal_text(r["price_micros"]),
                str(r["attempts"]),
                _state(r),
                printable(r["title"] or "", 60),
            )
            for r in rows
        ],
        right=("HELD", "TARGET", "FROM PRICE", "TRIES"),
    )  # fmt: skip


def _state(row: dict[str, Any]) -> str:
    if row["state"] != "open":
        return str(row["state"])
    if row["last_order"] in ("posting", "unknown", "open"):
        return f"order {row['last_order']}"
    return f"waits for {printable(row['waits'], 80)}" if row["waits"] else "due"


Named = Annotated[
    str | None, typer.Argument(help="start of the token id that botctl positions shows")
]
Whose = Annotated[
    str | None,
    typer.Option("--portfolio", help="whose, where several hold it: a wallet, manual, external"),
]
All = Annotated[bool, typer.Option("--all", help="every one")]


def close(
    context: typer.Context,
    position: Named = None,
    all_: All = False,
    any_price: Annotated[
        bool,
        typer.Option("--at-any-price", help="take any bid; else none 15 % under what was last bid"),
    ] = False,
    portfolio: Whose = None,
) -> None:
    """Sell a position whole, also one that is being bought. Not while halted.

    Nothing is bought of it for half an hour.
    """
    options = cli(context)
    with report.read(ledger_path(options)) as found:
        held = lists.positions(found)
        known = {(r["portfolio"], r["token"]) for r in held if not _is_dust(r)}
        # What is being bought first may hold nothing yet, and is to be sold as well.
        held += [
            r
            for r in lists.intents(found, 10_000)
            if r["kind"] == IntentKind.ENTRY and (r["portfolio"], r["token"]) not in known
        ]
        if found.value("SELECT mode FROM control") == "halted":
            raise UsageError("the bot is halted and sells nothing; botctl resume, then close again")
    rows = _chosen(held, "token", position, all_, portfolio, "positions", _is_dust)
    wish = Wish.CLOSE_AT_ANY_PRICE if any_price else Wish.CLOSE
    _ask(options, [(_where(r), str(wish)) for r in rows], "closing")


def cancel(
    context: typer.Context,
    order: Annotated[str | None, typer.Argument(help="start of an order's id")] = None,
    all_: All = False,
) -> None:
    """Take a resting order off its book and end what it was for; the position stays."""
    options = cli(context)
    with report.read(ledger_path(options)) as found:
        known = lists.orders(found, 10_000)
    rows = _chosen(known, "id", order, all_, None, "orders", _rests_not)
    _ask(options, [(_where(r), f"{Wish.CANCEL} {r['id']}") for r in rows], "cancelling")


def assign(
    context: typer.Context,
    position: Annotated[str, typer.Argument(help="start of the external position's token id")],
    portfolio: Annotated[str, typer.Argument(help="a leader's wallet or label, or manual")],
) -> None:
    """Give a position that nobody here has bought to a leader's portfolio, or to `manual`."""
    options = cli(context)
    with report.read(ledger_path(options)) as found:
        held = lists.positions(found)
        owner = _owner(portfolio, lists.leaders(found))
    rows = _chosen(held, "token", position, False, None, "positions", _is_owned)
    _ask(options, [(_where(r), f"{Wish.ASSIGN} {owner}") for r in rows], f"assigning to {owner}")


def _is_dust(row: dict[str, Any]) -> str | None:
    small = row.get("shares_micros", CENT) < CENT
    return "a position of less than 0.01 share: it counts as nothing" if small else None


def _rests_not(row: dict[str, Any]) -> str | None:
    if row["state"] not in ("posting", "unknown", "open"):
        return f"an order that has ended: {row['state']}"
    rests = row["kind"] == OrderKind.GTD
    return None if rests else "an order that rests in no book: it ends by itself within seconds"


def _is_owned(row: dict[str, Any]) -> str | None:
    if row["portfolio"] != EXTERNAL:
        return f"a position of {row['portfolio']}: only external ones are assigned"
    return _is_dust(row)


def _owner(named: str, leaders: list[dict[str, Any]]) -> Portfolio:
    if named == MANUAL:
        return MANUAL
    return mirror(known(named.removeprefix("mirror/"), leaders, "portfolio: expected manual, or"))


def _chosen(
    rows: list[dict[str, Any]],
    key: str,
    named: str | None,
    all_: bool,
    portfolio: str | None,
    verb: str,
    unfit: Callable[[dict[str, Any]], str | None],
) -> list[dict[str, Any]]:
    """Return the one row whose `key` begins like `named`, or all, of those that are not unfit."""
    if all_ == (named is not None):
        raise UsageError(f"expected an id, or --all; botctl {verb} lists them")
    if portfolio is not None:
        rows = [r for r in rows if _belongs(r, portfolio.removeprefix("mirror/").lower())]
    if named is None:
        return [r for r in rows if unfit(r) is None]
    if len(named) < _LEAST or not named.isalnum():
        raise UsageError(f"expected at least {_LEAST} characters of an id, found {named[:60]!a}")
    like = [r for r in rows if str(r[key]).lower().startswith(named.lower())]
    found = [r for r in like if unfit(r) is None]
    if len(found) == 1:
        return found
    if like and not found:
        raise UsageError(f"{named[:60]!a} names {unfit(like[0])}")
    if not found:
        raise UsageError(f"{named[:60]!a} names nothing; botctl {verb} lists what there is")
    whose = ", ".join(sorted({r["portfolio"] for r in found}))
    same = len({r[key] for r in found}) == 1
    fix = "say whose with --portfolio" if same else "give more characters"
    raise UsageError(f"{named[:60]!a} names {len(found)} rows ({whose}); {fix}")


def _belongs(row: dict[str, Any], wanted: str) -> bool:
    owner = row["portfolio"].removeprefix("mirror/").lower()
    return bool(owner.startswith(wanted) or str(row.get("label") or "").lower() == wanted)


def _where(row: dict[str, Any]) -> Target:
    return row["portfolio"], row["condition"], row["token"]


def _ask(options: Cli, wishes: Sequence[tuple[Target, str]], doing: str) -> None:
    if not wishes:
        raise UsageError("nothing to do: there is none")
    asyncio.run(_store(options, wishes))
    if options.json:
        emit({"ok": True, "asked": len(wishes), "wishes": [note for _, note in wishes]})
    else:
        print(f"{doing}: {len(wishes)}; botctl intents shows how it goes on")


async def _store(options: Cli, wishes: Sequence[tuple[Target, str]]) -> None:
    from bot.ledger import signals
    from bot.ledger.db import Ledger, Tx

    def store(tx: Tx) -> None:
        for where, note in wishes:
            signals.ask(tx, *where, note, now_us=time.time_ns() // 1000)

    async with Ledger(ledger_path(options)).open() as ledger:
        await ledger.transact(store)


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    verbs: tuple[Callable[..., None], ...] = (intents, close, cancel, assign)
    for verb in verbs:
        app.command()(verb)
