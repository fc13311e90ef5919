"""What an error of SQLite means for a ledger, and the fix."""

from pathlib import Path

from bot.errors import LedgerAway, LedgerDamaged, LedgerError

_AWAY = frozenset({"BUSY", "LOCKED", "FULL", "READONLY", "IOERR", "CANTOPEN"})
_DAMAGED = frozenset({"CORRUPT", "NOTADB"})
#: Part of SQLite's message, and the fix.
_FIXES = (
    ("not a database", "not a ledger; move it away, or restore a backup with botctl db restore"),
    ("malformed", "corrupt; restore a backup with botctl db restore"),
    (
        "unable to open",
        "cannot be opened; check path and permissions, and that the disk is not read-only",
    ),
    ("readonly", "read-only; make it and its folder writable for this user"),
    ("locked", "locked by another program; open it read-only elsewhere"),
    ("is full", "disk is full; free some space, work resumes by itself"),
    ("disk I/O", "the disk refuses; check its space, limits and health, work resumes by itself"),
)


def refused(path: Path, error: BaseException) -> LedgerError:
    """Return what an error of SQLite means for a ledger, with the fix.

    LedgerAway where trying again later may help, LedgerDamaged where only a backup does.
    """
    cause = getattr(error, "orig", None) or error
    kind = str(getattr(cause, "sqlite_errorname", "")).removeprefix("SQLITE_").split("_")[0]
    message = str(cause)
    text = next((f"{message}: {fix}" for part, fix in _FIXES if part in message), message)
    family = LedgerAway if kind in _AWAY else LedgerDamaged if kind in _DAMAGED else LedgerError
    return family(f"ledger {path}: {text}")
