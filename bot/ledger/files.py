"""The ledger as a file: create, migrate, check, back up, restore.

A ledger is its file and its WAL together. Nothing here touches one that the bot has open, but
`backup`, which reads it in one transaction.
"""

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.errors import ConfigError, LedgerDamaged, LedgerError, SchemaMismatch
from bot.ledger.db import SCHEMA
from bot.ledger.refusal import refused
from bot.model.intent import Portfolio

#: Alembic keeps what it works on in its module, and drills migrate side by side.
_alembic = threading.Lock()


def migrate(path: Path, mode: str) -> None:
    """Create the ledger, or bring it to this version. Safe to call twice.

    A new ledger is built beside its place and moved there complete, so an empty file is never
    ours: it was cut short. A refused file is left untouched. Raises SchemaMismatch for a ledger of
    another mode, version or program, LedgerDamaged for one that must be restored.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        _refuse_foreign(path, mode)
        if check(path).schema != SCHEMA:
            _upgrade_old(path, mode)
        return
    if (wal := _beside(path, "-wal")).exists() and wal.stat().st_size:
        raise LedgerDamaged(
            f"ledger {path}: its WAL is here without it; put the ledger back,"
            f" or move {wal.name} away"
        )
    if aside := sorted(path.parent.glob(f"{path.name}.before-restore-*")):
        raise LedgerDamaged(
            f"ledger {path}: a restore was cut short; run it again, or move {aside[-1].name} back"
        )
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    _create(fresh)
    _upgrade(fresh, mode)
    with _connected(fresh) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    _move(fresh, path)


def _upgrade_old(path: Path, mode: str) -> None:
    """Bring an older ledger to this version; what it was stays beside it."""
    kept = path.with_name(f"{path.name}.before-{SCHEMA}")
    if not kept.exists():
        backup(path, kept)
    try:
        _upgrade(path, mode)
    except LedgerDamaged as error:
        raise LedgerDamaged(f"{error} (a copy of the ledger as it was: {kept})") from None


def _create(path: Path) -> None:
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
    os.fchmod(fd, stat.S_IRUSR | stat.S_IWUSR)
    os.close(fd)


def _upgrade(path: Path, mode: str) -> None:
    # Alembic and SQLAlchemy cost 1 s and 50 MB: only who migrates pays. A second thread must not
    # find a module that the first has half imported.
    with _alembic:
        from alembic.command import upgrade
        from alembic.config import Config
        from sqlalchemy.exc import DBAPIError
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[2] / "migrations"))
    config.attributes["path"] = path
    try:
        with _alembic:
            upgrade(config, "head")
        with _connected(path) as connection:
            connection.execute(
                "INSERT OR IGNORE INTO meta (name, value) VALUES ('mode', ?)", (mode,)
            )
    except (sqlite3.Error, DBAPIError) as error:
        raise refused(path, error) from error


def _refuse_foreign(path: Path, mode: str) -> None:
    if not path.is_file():
        raise LedgerError(f"ledger {path}: expected a file, found something else; move it away")
    if path.stat().st_size == 0:
        raise LedgerDamaged(
            f"ledger {path}: empty; it was cut short: restore a backup, or remove it to begin anew"
        )
    try:
        with _connected(path, read_only=True) as connection:
            names = {
                row[0]
                for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if "alembic_version" not in names or "meta" not in names:
                raise SchemaMismatch(
                    f"ledger {path}: a SQLite file of another program; move it away"
                )
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            version = row[0] if row else ""
            if version > SCHEMA:
                raise SchemaMismatch(
                    f"ledger {path}: schema {version} is newer than {SCHEMA}; upgrade the bot"
                )
            found = connection.execute("SELECT value FROM meta WHERE name = 'mode'").fetchone()
            if found and found[0] != mode:
                raise SchemaMismatch(
                    f"ledger {path}: written in mode {found[0]}, configured mode is {mode}"
                )
    except sqlite3.Error as error:
        raise refused(path, error) from None


@dataclass(frozen=True, slots=True)
class Health:
    """What a check found in a sound ledger; sizes in bytes."""

    path: Path
    size: int
    wal: int
    schema: str
    mode: str
    orders: int
    fills: int


def check(path: Path) -> Health:
    """Read the whole ledger and return its sizes.

    Raises LedgerDamaged if a page or a reference is broken.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        raise ConfigError(f"{path}: {what}; expected a ledger, or a file of botctl db backup")
    if path.stat().st_size == 0:
        raise LedgerDamaged(f"ledger {path}: empty; it was cut short, restore a backup")
    try:
        with _connected(path, read_only=True) as connection:
            problems = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
            if problems != ["ok"]:
                raise LedgerDamaged(f"ledger {path}: {'; '.join(problems)[:300]}; restore a backup")
            if orphan := connection.execute("PRAGMA foreign_key_check").fetchone():
                raise LedgerDamaged(
                    f"ledger {path}: a row of {orphan[0]} refers to none of {orphan[2]};"
                    " restore a backup"
                )
            if not connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
            ).fetchone():
                raise SchemaMismatch(f"{path}: a SQLite file of another program, not a ledger")
            schema, mode, orders, fills = connection.execute(
                "SELECT (SELECT version_num FROM alembic_version),"
                " (SELECT value FROM meta WHERE name = 'mode'),"
                " (SELECT COUNT(*) FROM orders), (SELECT COUNT(*) FROM fill)"
            ).fetchone()
            return Health(
                path, path.stat().st_size, _size(_beside(path, "-wal")), schema, mode, orders, fills
            )
    except sqlite3.Error as error:
        raise refused(path, error) from None


def busy(path: Path) -> str | None:
    """Return why a ledger cannot be written just now, or None.

    Waits a second for a worker's own commit.
    """
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=1)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return str(refused(path, error))
    return None


def backup(path: Path, target: Path) -> Health:
    """Write a complete, checked copy of a ledger to `target`, also while the bot runs.

    One read transaction (VACUUM INTO), then the copy is opened and checked, then it takes its
    name: a target that exists is a whole backup. Raises LedgerError, and ConfigError if the
    target exists already.
    """
    if target.exists():
        raise ConfigError(f"{target}: exists already; choose another name")
    check(path)
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        _create(part)
        with _connected(path, read_only=True) as connection:
            connection.execute("VACUUM INTO ?", (str(part),))
    except sqlite3.Error as error:
        part.unlink(missing_ok=True)
        raise refused(target, error) from None
    found = check(part)
    _move(part, target)
    return found


def restore(source: Path, path: Path, mode: str) -> Path | None:
    """Put a checked backup in a ledger's place; return where the old one is kept, if there was one.

    The caller makes sure that nobody has the ledger open. The old file and its WAL move aside
    together: a WAL left behind would be played into the restored file. The restored ledger is
    paused, or halted where the old one can still say that it was: a restore resets no guard. It
    says of every leader that he must be read again before anything is concluded about him.
    """
    found = check(source)
    if found.mode != mode:
        raise SchemaMismatch(f"{source}: a backup of mode {found.mode}, configured mode is {mode}")
    if found.schema > SCHEMA:
        raise SchemaMismatch(
            f"{source}: schema {found.schema} is newer than {SCHEMA}; upgrade the bot"
        )
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    backup(source, fresh)
    _pause(fresh, path)
    _outdate(fresh)
    aside = None
    if path.exists() or _beside(path, "-wal").exists():
        aside = path.with_name(f"{path.name}.before-restore-{time.time_ns() // 1_000_000}")
        for suffix in ("", "-wal", "-shm"):
            if _beside(path, suffix).exists():
                os.replace(_beside(path, suffix), _beside(aside, suffix))
    _move(fresh, path)
    return aside


def kept_owner(path: Path, order_id: str) -> Portfolio | None:
    """Return whose order it was by the ledgers that restores have put aside, or None."""
    for aside in sorted(path.parent.glob(f"{path.name}.before-restore-*"), reverse=True):
        if aside.name.endswith(("-wal", "-shm")):
            continue
        try:
            with _connected(aside, read_only=True) as connection:
                found = connection.execute(
                    "SELECT portfolio FROM orders WHERE id = ?", (order_id,)
                ).fetchone()
        except sqlite3.Error:
            continue  # put aside because it was damaged, or older than portfolios
        if found:
            return Portfolio(found[0])
    return None


def _pause(fresh: Path, old: Path) -> None:
    modes = {_mode(fresh), _mode(old)}
    mode = "halted" if "halted" in modes else "paused"
    with _connected(fresh) as connection:
        connection.execute(
            "UPDATE control SET mode = ?, reason = ?, actor = 'restore', since_us = ?,"
            " until_us = NULL",
            (
                mode,
                "restored from a backup; botctl reconcile, then botctl resume",
                time.time_ns() // 1000,
            ),
        )


def _outdate(fresh: Path) -> None:
    """Say of every leader that he was not read since: see `leaders.outdated`."""
    with _connected(fresh) as connection:
        connection.execute(
            "INSERT INTO cursor (source, wallet, position_s, updated_us)"
            " SELECT 'data_api', wallet, watch_start_s, 0 FROM leader WHERE true"
            " ON CONFLICT (source, wallet) DO UPDATE SET updated_us = 0"
        )


def _mode(path: Path) -> str | None:
    """Return the control mode that a ledger says, or None if it cannot say."""
    if not path.is_file() or path.stat().st_size == 0:
        return None
    try:
        with _connected(path, read_only=True) as connection:
            found = connection.execute("SELECT mode FROM control").fetchone()
            return str(found[0]) if found else None
    except sqlite3.Error:
        return None  # it is being replaced because it is damaged


@contextmanager
def _connected(path: Path, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
    mode = "ro" if read_only else "rw"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None)) as connection:
        yield connection


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _move(path: Path, target: Path) -> None:
    """Rename for good: the bytes first, then the name, then the folder that holds it."""
    _sync(path)
    os.replace(path, target)
    _sync(path.parent)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
