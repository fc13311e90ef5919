"""Verbs about leaders: follow, unfollow, mute. They hold at once, without a restart."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bot import report
from bot.cli.output import Cli, cli, emit
from bot.cli.where import ledger_path
from bot.errors import UsageError
from bot.model.address import wallet
from bot.model.leader import Word
from bot.model.units import printable
from bot.report import lists

_LEAST = 6  #: characters that name a leader
#: Words in one transaction.
_AT_ONCE = 100

Leader = Annotated[str, typer.Argument(help="a leader's label, or the start of his wallet")]


def follow(
    context: typer.Context,
    wallets: Annotated[
        list[str] | None, typer.Argument(help="wallets, or labels of known leaders")
    ] = None,
    label: Annotated[str, typer.Option("--label", help="a name for screens, of one wallet")] = "",
    file: Annotated[
        Path | None, typer.Option("--file", help="a wallet a line, and its label after a space")
    ] = None,
) -> None:
    """Follow leaders from now on; who is muted, or followed no more, is followed again."""
    options = cli(context)
    asked = [(named, label) for named in wallets or ()]
    if label and len(asked) != 1:
        raise UsageError("--label: expected one wallet; --file gives each its own")
    asked += _listed(file) if file is not None else []
    if not asked:
        raise UsageError("expected a wallet, or --file; botctl leaders lists who is known")
    with report.read(ledger_path(options)) as found:
        rows = lists.leaders(found)
    _say(options, [(_wallet(named, rows), text) for named, text in asked], Word.FOLLOW)


def unfollow(context: typer.Context, leader: Leader) -> None:
    """Buy nothing after a leader any more; what is held of him is sold as he sells."""
    _of_known(cli(context), leader, Word.UNFOLLOW)


def mute(context: typer.Context, leader: Leader) -> None:
    """Buy nothing after a leader until `follow`; he is watched, and exits go on."""
    _of_known(cli(context), leader, Word.MUTE)


def known(named: str, rows: list[dict[str, Any]], expected: str = "expected") -> str:
    """Return the one leader's wallet that a label, or the start of a wallet, names.

    Raises UsageError.
    """
    asked = named.lower()
    found = [
        str(r["leader"])
        for r in rows
        if r["label"].lower() == asked
        or (len(asked) >= _LEAST and r["leader"].lower().startswith(asked))
    ]
    if len(found) != 1:
        raise UsageError(
            f"{expected} one leader's wallet or label, found {named[:60]!a}"
            f" ({len(found)} leaders); botctl leaders lists them"
        )
    return found[0]


def _wallet(named: str, rows: list[dict[str, Any]]) -> str:
    if not named.lower().startswith("0x") or len(named) < 42:
        return known(named, rows)
    try:
        return wallet(named)
    except ValueError as error:
        raise UsageError(f"wallet {named[:60]!a}: {error}") from None


def _listed(file: Path) -> list[tuple[str, str]]:
    words = [line.strip().partition(" ") for line in file.read_text("utf-8").splitlines()]
    return [(first, rest.strip()[:40]) for first, _, rest in words if first and first[0] != "#"]


def _of_known(options: Cli, leader: str, word: Word) -> None:
    with report.read(ledger_path(options)) as found:
        rows = lists.leaders(found)
    _say(options, [(known(leader, rows), "")], word)


def _say(options: Cli, said: Sequence[tuple[str, str]], word: Word) -> None:
    asyncio.run(_store(options, said, word))
    if options.json:
        emit({"ok": True, "word": str(word), "leaders": [leader for leader, _ in said]})
        return
    what = {
        Word.FOLLOW: "followed from now on",
        Word.UNFOLLOW: "followed no more; what is held of him is sold as he sells",
        Word.MUTE: "muted: no entries until botctl follow; exits go on",
    }
    who = said[0][1] or said[0][0] if len(said) == 1 else f"{len(said)} leaders"
    print(f"{printable(who)}: {what[word]}")


async def _store(options: Cli, said: Sequence[tuple[str, str]], word: Word) -> None:
    from bot.ledger import roster
    from bot.ledger.db import Ledger, Tx

    def store(tx: Tx, part: Sequence[tuple[str, str]]) -> None:
        for leader, label in part:
            roster.say(tx, leader, word, label=label, now_s=int(time.time()))

    async with Ledger(ledger_path(options)).open() as ledger:
        for start in range(0, len(said), _AT_ONCE):
            await ledger.transact(store, said[start : start + _AT_ONCE])


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    verbs: tuple[Callable[..., None], ...] = (follow, unfollow, mute)
    for verb in verbs:
        app.command()(verb)
