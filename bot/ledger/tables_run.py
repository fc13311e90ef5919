"""The schema of how the bot runs: control, locks, boots, events, alerts, counters."""

from sqlalchemy import (
    CheckConstraint,
    Index,
    text,
)
from sqlmodel import Field, SQLModel

from bot.ledger.columns import STRICT
from bot.ledger.columns import integer as _int
from bot.ledger.columns import text as _text


class Meta(SQLModel, table=True):
    """What this file is: program, mode, wallet. A file of another mode is refused."""

    __tablename__ = "meta"
    __table_args__ = STRICT
    name: str = _text(primary_key=True)
    value: str = _text()


class TallyRow(SQLModel, table=True):
    """A counter, raised in the transaction that causes it: counting needs no history."""

    __tablename__ = "tally"
    __table_args__ = (Index("ix_tally_key", "kind", "key"), STRICT)
    day: str = _text(primary_key=True)
    kind: str = _text(primary_key=True)
    key: str = _text(primary_key=True)
    n: int = _int()


class Control(SQLModel, table=True):
    """One row: what the bot may do, and the breaker's counters."""

    __tablename__ = "control"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"), STRICT)
    id: int | None = Field(default=None, primary_key=True)
    mode: str = _text()
    reason: str = _text()
    actor: str = _text()
    since_us: int = _int()
    until_us: int | None = _int(default=None)
    errors: int = _int()
    loss_day: str = _text()
    loss_base: int = _int()


class Lock(SQLModel, table=True):
    """No entries in a scope ('leader:0x…', 'market:0x…') until a moment."""

    __tablename__ = "lock"
    __table_args__ = STRICT
    scope: str = _text(primary_key=True)
    until_us: int = _int()
    reason: str = _text()


class Boot(SQLModel, table=True):
    """One life of a worker; `ended_us` NULL means alive or killed."""

    __tablename__ = "boot"
    __table_args__ = (Index("ix_boot_worker", "worker", "id"), STRICT)
    id: int | None = Field(default=None, primary_key=True)
    worker: str = _text()
    pid: int = _int()
    pid_started_us: int = _int()
    state: str = _text()
    config: str = _text()
    started_us: int = _int()
    beat_us: int = _int()
    progress_us: int | None = _int(default=None)
    ready_us: int | None = _int(default=None)
    ended_us: int | None = _int(default=None)
    exit_code: int | None = _int(default=None)
    detail: str = _text()


class Event(SQLModel, table=True):
    """Something an operator should be able to read later."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_at", "at_us"), STRICT)
    id: int | None = Field(default=None, primary_key=True)
    at_us: int = _int()
    worker: str = _text()
    kind: str = _text()
    text: str = _text()


class Alert(SQLModel, table=True):
    """Something that wants a human, until `cleared_us`."""

    __tablename__ = "alert"
    __table_args__ = (
        Index(
            "ix_alert_open",
            "key",
            sqlite_where=text("cleared_us IS NULL"),
            postgresql_where=text("cleared_us IS NULL"),
        ),
        STRICT,
    )
    id: int | None = Field(default=None, primary_key=True)
    at_us: int = _int()
    severity: str = _text()
    key: str = _text()
    text: str = _text()
    cleared_us: int | None = _int(default=None)
