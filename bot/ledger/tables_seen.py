"""The schema of what is seen: leaders, what they did and hold, signals, markets."""

from sqlalchemy import (
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from bot.ledger.columns import STRICT
from bot.ledger.columns import integer as _int
from bot.ledger.columns import text as _text


class Leader(SQLModel, table=True):
    """A wallet that is watched and since when its trades count.

    `active`: 1 followed, 2 leaving, 0 not watched. `listed` in the configuration, unless the
    operator has `said` otherwise.
    """

    __tablename__ = "leader"
    __table_args__ = STRICT
    wallet: str = _text(primary_key=True)
    label: str = _text()
    watch_start_s: int = _int()
    active: int = _int(sa_column_kwargs={"server_default": text("1")})
    listed: int = _int(sa_column_kwargs={"server_default": text("1")})
    said: str | None = _text(default=None)
    muted: int = _int(sa_column_kwargs={"server_default": text("0")})


class Cursor(SQLModel, table=True):
    """How far a source has been read for a wallet; never ahead of the rows it covers."""

    __tablename__ = "cursor"
    __table_args__ = STRICT
    source: str = _text(primary_key=True)
    wallet: str = _text(primary_key=True)
    position_s: int = _int()
    updated_us: int = _int()


class LeaderTrade(SQLModel, table=True):
    """A fact, grouped by law 7.

    All that one wallet did to one token on one side in one transaction.
    """

    __tablename__ = "leader_trade"
    __table_args__ = (
        UniqueConstraint("tx", "wallet", "token", "side"),
        Index("ix_leader_trade_seen", "seen_us"),
        Index("ix_leader_trade_token", "token"),
        Index("ix_leader_trade_lately", "wallet", "condition", "traded_s"),
        Index("ix_leader_trade_holding", "wallet", "token", "block"),
        Index(
            "ix_leader_trade_doubtful",
            "seen_us",
            sqlite_where=text("state = 'provisional'"),
            postgresql_where=text("state = 'provisional'"),
        ),
        Index(
            "ix_leader_trade_not_final",
            "block",
            sqlite_where=text("state = 'mined' AND block IS NOT NULL"),
            postgresql_where=text("state = 'mined' AND block IS NOT NULL"),
        ),
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
    kind: str = _text(sa_column_kwargs={"server_default": "trade"})
    state: str = _text(sa_column_kwargs={"server_default": "mined"})
    block: int | None = _int(default=None)


class LeaderTradeSource(SQLModel, table=True):
    """One source's running total for a leader trade; the trade is the maximum over these."""

    __tablename__ = "leader_trade_source"
    __table_args__ = STRICT
    trade_id: int = Field(primary_key=True, foreign_key="leader_trade.id", ondelete="CASCADE")
    source: str = _text(primary_key=True)
    shares: int = _int()
    usdc: int = _int()


class LeaderPosition(SQLModel, table=True):
    """A leader's holding, observed at `block` where one is known.

    `watched` was bought since we watch; `away` went to other wallets and still counts as his.
    `block_s` is the block's own time.
    """

    __tablename__ = "leader_position"
    __table_args__ = (Index("ix_leader_position_market", "wallet", "condition"), STRICT)
    wallet: str = _text(primary_key=True)
    token: str = _text(primary_key=True)
    condition: str = _text()
    shares: int = _int()
    watched: int = _int()
    peak: int = _int()
    updated_us: int = _int()
    block: int | None = _int(default=None)
    away: int = _int(sa_column_kwargs={"server_default": text("0")})
    block_s: int | None = _int(default=None)


class SignalRow(SQLModel, table=True):
    """What the executor must decide on, exactly once. `decided` = 0 is the queue of record."""

    __tablename__ = "signal"
    __table_args__ = (
        UniqueConstraint("trade_id", "seq"),
        Index(
            "ix_signal_in_market",
            "condition",
            sqlite_where=text("decided = 0"),
            postgresql_where=text("decided = 0"),
        ),
        Index(
            "ix_signal_pending",
            "seen_us",
            sqlite_where=text("decided = 0"),
            postgresql_where=text("decided = 0"),
        ),
        STRICT,
    )
    id: str = _text(primary_key=True)
    kind: str = _text()
    portfolio: str = _text()
    condition: str = _text()
    token: str = _text()
    #: NULL: no leader's trade, but the operator has asked; `note` says what.
    trade_id: int | None = Field(default=None, foreign_key="leader_trade.id", ondelete="CASCADE")
    note: str = _text(sa_column_kwargs={"server_default": ""})
    seq: int = _int()
    shares: int = _int()
    usdc: int = _int()
    leader_watched: int = _int()
    source: str = _text()
    seen_us: int = _int()
    decided: int = _int()


class QuarantineRow(SQLModel, table=True):
    """Something from outside that nobody could read: it blocks only what it names."""

    __tablename__ = "quarantine"
    __table_args__ = STRICT
    source: str = _text(primary_key=True)
    subject: str = _text(primary_key=True)
    token: str | None = Field(default=None, sa_type=Text)
    why: str = _text()
    first_us: int = _int()
    last_us: int = _int()
    cleared_us: int | None = _int(default=None)


class SourceRow(SQLModel, table=True):
    """How a source of leaders' trades does. Counts are millionths of one, because they fade."""

    __tablename__ = "source"
    __table_args__ = STRICT
    name: str = _text(primary_key=True)
    heard_us: int | None = _int(default=None)
    lag_us: int | None = _int(default=None)
    hits: int = _int()
    misses: int = _int()
    real: int = _int()
    phantoms: int = _int()
    note: str = _text()
    updated_us: int = _int()


class MarketRow(SQLModel, table=True):
    """What is told of a market, field by field; the last known facts serve exits.

    NULL where nobody has told: the channel that names new markets says little. `told` is JSON,
    {field: moment in microseconds}: newer words win, each for itself.
    """

    __tablename__ = "market"
    __table_args__ = (
        Index("ix_market_as_of", "as_of_us"),
        Index("ix_market_first_token", "first_token"),
        Index("ix_market_second_token", "second_token"),
        Index(
            "ix_market_incomplete",
            "as_of_us",
            sqlite_where=text("neg_risk IS NULL"),
            postgresql_where=text("neg_risk IS NULL"),
        ),
        STRICT,
    )
    condition: str = _text(primary_key=True)
    tokens: str = _text()
    outcomes: str = _text()
    tick: int | None = _int(default=None)
    min_shares: int | None = _int(default=None)
    neg_risk: int | None = _int(default=None)
    version: str | None = Field(default=None, sa_type=Text)
    fee_rate: int | None = _int(default=None)
    fee_exponent: int | None = _int(default=None)
    accepting: int | None = _int(default=None)
    event: str | None = Field(default=None, sa_type=Text)
    told: str = _text()
    as_of_us: int = _int()
    status: str = _text(sa_column_kwargs={"server_default": "trading"})
    payouts: str | None = Field(default=None, sa_type=Text)
    payout_source: str | None = Field(default=None, sa_type=Text)
    title: str | None = Field(default=None, sa_type=Text)
    first_token: str | None = Field(default=None, sa_type=Text)
    second_token: str | None = Field(default=None, sa_type=Text)
