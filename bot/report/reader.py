"""Read the ledger without the bot: plain sqlite3, read-only, no ORM, milliseconds.

One source for every screen, `--json` and metrics. It works with every worker dead. Values stay
integers (`*_micros`, `*_us`); `plain` adds the texts for people and JSON.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bot.errors import LedgerError, SchemaMismatch, StateUnknown
from bot.ledger.db import SCHEMA
from bot.model.units import decimal_text, rfc3339


def plain(value: Any) -> Any:
    """Return dataclasses as JSON-ready values.

    `x_micros` gains decimal text `x`, `x_us` gains RFC 3339 `x_at`.
    """
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, item in value.items():
            found[name] = plain(item)
            if name.endswith("_micros") and isinstance(item, int):
                found[name.removesuffix("_micros")] = decimal_text(item)
            elif name.endswith("_us") and isinstance(item, int):
                found["at" if name == "at_us" else name.removesuffix("_us") + "_at"] = rfc3339(item)
        return found
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class Report:
    """Queries over one open ledger."""

    def __init__(self, connection: sqlite3.Connection, now_us: int) -> None:
        self._db, self.now_us = connection, now_us

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a query as dictionaries."""
        cursor = self._db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def value(self, sql: str, *values: object) -> Any:
        """Return the first column of the first row."""
        row = self._db.execute(sql, values).fetchone()
        return row[0] if row else None

    def execute(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query as tuples."""
        return list(self._db.execute(sql, values))


@contextmanager
def read(path: Path, *, now_us: int | None = None) -> Iterator[Report]:
    """Open a ledger read-only.

    Raises StateUnknown if there is none, LedgerError if it is unreadable.
    """
    if not path.exists():
        raise StateUnknown(f"no ledger at {path}; botctl up creates it")
    if not path.is_file():
        raise LedgerError(f"{path}: expected a ledger file, found something else; move it away")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        if (
            connection.execute(
                "SELECT COUNT(*) FROM sqlite_master WHERE name = 'control'"
            ).fetchone()[0]
            != 1
        ):
            raise LedgerError(
                f"{path}: not a ledger of this bot; move it away, botctl up makes a new one"
            )
        schema = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if not schema or schema[0] != SCHEMA:
            raise SchemaMismatch(
                f"{path}: schema {schema and schema[0]}, this version reads {SCHEMA}; see botctl up"
            )
        yield Report(connection, now_us if now_us is not None else time.time_ns() // 1000)
    except sqlite3.Error as error:
        raise LedgerError(
            f"ledger {path}: {error}; restore a backup, or check its permissions"
        ) from None
    finally:
        connection.close()
