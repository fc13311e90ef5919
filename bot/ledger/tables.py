"""The schema. Amounts are INTEGER millionths; `*_us` is microseconds since the epoch, UTC.

Tables are STRICT: SQLite itself refuses a fraction or text where a number belongs. Changing
anything here needs a migration; a test proves that both agree.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

STRICT = {"sqlite_strict": True}
# STRICT knows INTEGER (64 bits) but not BIGINT.
INT64 = BigInteger().with_variant(Integer, "sqlite")


def _text(**options: object) -> str:
    return Field(sa_type=Text, **options)  # type: ignore[call-overload, no-any-return]


def _int(**options: object) -> int:
    return Field(sa_type=INT64, **options)  # type: ignore[call-overload, no-any-return]


class Meta(SQLModel, table=True):
    """What this file is: program, mode, wallet. A file of another mode is refused."""

    __tablename__ = "meta"
    __table_args__ = STRICT
    name: str = _text(primary_key=True)
    value: str = _text()


class Leader(SQLModel, table=True):
    """A followed wallet and since when its trades count."""

    __tablename__ = "leader"
    __table_args__ = STRICT
    wallet: str = _text(primary_key=True)
    label: str = _text()
    watch_start_s: int = _int()
    active: int = _int(sa_column_kwargs={"server_default": text("1")})


class Cursor(SQLModel, table=True):
    """How far a source has been read for a wallet; never ahead of the rows it covers."""

    __tablename__ = "cursor"
    __table_args__ = STRICT
    source: str = _text(primary_key=True)
    wallet: str = _text(primary_key=True)
    position_s: int = _int()
    updated_us: int = _int()


class LeaderTrade(SQLModel, table=True):
    """A group of law 7: all that one wallet did to one token on one side in one transaction."""

    __tablename__ = "leader_trade"
    __table_args__ = (
        UniqueConstraint("tx", "wallet", "token", "side"),
        Index("ix_leader_trade_seen", "seen_us"),
        STRICT,
    )
    id: int | None = Field(default=None, primary_key=True)
    tx: str = _text()
    wallet: str = _text()
    token: str = _text()
    side: str = _text()
    condition: str = _text()
    outcome: str = _text()
    title: str = _text()
    shares: int = _int()
    usdc: int = _int()
    emitted_shares: int = _int()
    emitted_usdc: int = _int()
    signals: int = _int()
    traded_s: int = _int()
    seen_us: int = _int()


class LeaderTradeSource(SQLModel, table=True):
    """One source's running total for a leader trade; the trade is the maximum over these."""

    __tablename__ = "leader_trade_source"
    __table_args__ = STRICT
    trade_id: int = Field(primary_key=True, foreign_key="leader_trade.id", ondelete="CASCADE")
    source: str = _text(primary_key=True)
    shares: int = _int()
    usdc: int = _int()


class LeaderPosition(SQLModel, table=True):
    """A leader's holding: `watched` is the part bought since we watch."""

    __tablename__ = "leader_position"
    __table_args__ = STRICT
    wallet: str = _text(primary_key=True)
    token: str = _text(primary_key=True)
    condition: str = _text()
    shares: int = _int()
    watched: int = _int()
    peak: int = _int()
    updated_us: int = _int()


class SignalRow(SQLModel, table=True):
    """What the executor must decide on, exactly once. `decided` = 0 is the queue of record."""

    __tablename__ = "signal"
    __table_args__ = (
        UniqueConstraint("trade_id", "seq"),
        Index(
            "ix_signal_pending",
            "seen_us",
            sqlite_where=text("decided = 0"),
            postgresql_where=text("decided = 0"),
        ),
        STRICT,
    )
    id: str = _text(primary_key=True)
    trade_id: int = Field(foreign_key="leader_trade.id", ondelete="CASCADE")
    seq: int = _int()
    shares: int = _int()
    usdc: int = _int()
    leader_before: int = _int()
    leader_after: int = _int()
    leader_peak: int = _int()
    leader_watched: int = _int()
    source: str = _text()
    seen_us: int = _int()
    decided: int = _int()


class Decision(SQLModel, table=True):
    """The one answer to a signal, with its reason and the numbers it was made on."""

    __tablename__ = "decision"
    __table_args__ = (
        CheckConstraint("(verdict = 'copied') = (order_id IS NOT NULL)", name="copied_has_order"),
        Index("ix_decision_at", "decided_us"),
        STRICT,
    )
    signal_id: str = Field(
        sa_type=Text, primary_key=True, foreign_key="signal.id", ondelete="CASCADE"
    )
    verdict: str = _text()
    reason: str | None = Field(default=None, sa_type=Text)
    numbers: str = _text()
    order_id: str | None = Field(default=None, sa_type=Text, unique=True)
    boot_id: int = _int()
    decided_us: int = _int()


class OrderRow(SQLModel, table=True):
    """A signed order. `id` is its EIP-712 hash; one per signal, for ever."""

    __tablename__ = "orders"
    __table_args__ = (
        Index(
            "ix_orders_in_flight",
            "created_us",
            sqlite_where=text("state IN ('posting', 'unknown', 'open')"),
            postgresql_where=text("state IN ('posting', 'unknown', 'open')"),
        ),
        Index("ix_orders_created", "created_us"),
        STRICT,
    )
    id: str = _text(primary_key=True)
    signal_id: str = _text(unique=True)
    wallet: str = _text()
    condition: str = _text()
    token: str = _text()
    side: str = _text()
    price: int = _int()
    making: int = _int()
    taking: int = _int()
    reserved: int = _int()
    body: bytes = Field(sa_type=LargeBinary)
    state: str = _text()
    created_us: int = _int()
    deadline_us: int = _int()
    sends: int = _int()
    sent_us: int | None = _int(default=None)
    last_sent_us: int | None = _int(default=None)
    matched: int | None = _int(default=None)
    reason: str | None = Field(default=None, sa_type=Text)


class FillRow(SQLModel, table=True):
    """Our part of one trade of the exchange, booked once."""

    __tablename__ = "fill"
    __table_args__ = (
        Index("ix_fill_order", "order_id"),
        Index("ix_fill_position", "wallet", "token"),
        Index(
            "ix_fill_unsettled",
            "token",
            sqlite_where=text("settlement NOT IN ('confirmed', 'failed')"),
            postgresql_where=text("settlement NOT IN ('confirmed', 'failed')"),
        ),
        STRICT,
    )
    trade_id: str = _text(primary_key=True)
    order_id: str = Field(sa_type=Text, primary_key=True, foreign_key="orders.id")
    wallet: str = _text()
    condition: str = _text()
    token: str = _text()
    side: str = _text()
    shares: int = _int()
    usdc: int = _int()
    fee: int = _int()
    settlement: str = _text()
    tx: str | None = Field(default=None, sa_type=Text)
    matched_us: int = _int()
    settled_us: int | None = _int(default=None)


class PositionRow(SQLModel, table=True):
    """What we hold of a token by following one leader: derived, rebuildable from fills."""

    __tablename__ = "position"
    __table_args__ = (
        Index("ix_position_condition", "condition"),
        Index("ix_position_token", "token"),
        STRICT,
    )
    wallet: str = _text(primary_key=True)
    token: str = _text(primary_key=True)
    condition: str = _text()
    shares: int = _int()
    cost: int = _int()
    realized: int = _int()
    updated_us: int = _int()


class DailyPnl(SQLModel, table=True):
    """Totals of one UTC day; a fill belongs to the day of its match."""

    __tablename__ = "daily_pnl"
    __table_args__ = STRICT
    day: str = _text(primary_key=True)
    realized: int = _int()
    fees: int = _int()
    bought: int = _int()
    sold: int = _int()


class MarketRow(SQLModel, table=True):
    """What the exchange last told of a market; the last known facts serve exits."""

    __tablename__ = "market"
    __table_args__ = STRICT
    condition: str = _text(primary_key=True)
    tokens: str = _text()
    outcomes: str = _text()
    tick: int = _int()
    min_shares: int = _int()
    neg_risk: int = _int()
    version: str = _text()
    fee_rate: int = _int()
    fee_exponent: int = _int()
    accepting: int = _int()
    as_of_us: int = _int()


class AccountRow(SQLModel, table=True):
    """Our collateral: `opening` as first seen at the exchange, `cash` = opening + fold of fills."""

    __tablename__ = "account"
    __table_args__ = STRICT
    wallet: str = _text(primary_key=True)
    opening: int = _int()
    cash: int = _int()
    updated_us: int = _int()


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
    __table_args__ = (Index("ix_alert_key", "key", "cleared_us"), STRICT)
    id: int | None = Field(default=None, primary_key=True)
    at_us: int = _int()
    severity: str = _text()
    key: str = _text()
    text: str = _text()
    cleared_us: int | None = _int(default=None)
