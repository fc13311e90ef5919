"""Shares that we copy and that went to another wallet: no sale, but the operator should know."""

from collections.abc import Sequence

from bot.detect.blocks import Did
from bot.ledger import control, intents
from bot.ledger.db import Tx, rows
from bot.model.address import checksummed
from bot.model.intent import mirror
from bot.model.leader import LeaderFill
from bot.model.units import decimal_text, printable

_ALERT = "transfer:"
_TOLD = "SELECT key FROM alert WHERE cleared_us IS NULL AND key LIKE 'transfer:%'"


def tell(tx: Tx, gone: Sequence[tuple[LeaderFill, Did]], *, now_us: int) -> None:
    """Alert of shares that went away, where something of ours follows them."""
    for fill, did in gone:
        wallet = checksummed(fill.wallet)
        if not intents.concerned(tx, mirror(wallet), fill.token):
            continue
        to = ", ".join(checksummed(end) for end in sorted(did.ends))
        text = (
            f"{wallet} has moved {decimal_text(fill.shares)} {fill.outcome} of"
            f" {printable(fill.title, 80)} to {to}: that is no sale, our copy stays;"
            " to follow who has them now, add that wallet to the leaders"
        )
        control.alert(tx, f"{_ALERT}{wallet}:{fill.token}", "warning", text, now_us=now_us)


def told(tx: Tx) -> bool:
    """Return whether such an alert stands."""
    return bool(rows(tx, _TOLD))


def settle(tx: Tx, *, now_us: int) -> None:
    """Clear such alerts where nothing of ours follows any more."""
    keep = set()
    for row in rows(tx, _TOLD):
        _, wallet, token = row["key"].split(":")
        if intents.concerned(tx, mirror(wallet), token):
            keep.add(row["key"])
    control.clear_alerts(tx, keep, _ALERT, now_us=now_us)
