"""The schema of what the bot does: decisions, intents, orders, fills, positions, days."""

from sqlalchemy import (
    CheckConstraint,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from bot.ledger.columns import INT64, STRICT
from bot.ledger.columns import integer as _int
from bot.ledger.columns import text as _text


class Decision(SQLModel, table=True):
    """The one answer to a signal, with its reason and the numbers it was made on."""

    __tablename__ = "decision"
    __table_args__ = (
        CheckConstraint("(verdict = 'copied') = (intent_id IS NOT NULL)", name="copied_has_intent"),
        Index("ix_decision_at", "decided_us"),
        Index("ix_decision_intent", "intent_id"),
        STRICT,
    )
    signal_id: str = Field(
        sa_type=Text, primary_key=True, foreign_key="signal.id", ondelete="CASCADE"
    )
    verdict: str = _text()
    reason: str | None = Field(default=None, sa_type=Text)
    numbers: str = _text()
    intent_id: int | None = Field(default=None, sa_type=INT64, foreign_key="intent.id")
    boot_id: int = _int()
    decided_us: int = _int()


class IntentRow(SQLModel, table=True):
    """What a portfolio wishes to hold of a token; one is open per (portfolio, token)."""

    __tablename__ = "intent"
    __table_args__ = (
        Index(
            "ux_intent_open",
            "portfolio",
            "token",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        Index(
            "ix_intent_due",
            "due_us",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        Index("ix_intent_position", "portfolio", "token"),
        Index(
            "ix_intent_burst",
            "portfolio",
            "token",
            "burst_us",
            sqlite_where=text("burst_us IS NOT NULL"),
            postgresql_where=text("burst_us IS NOT NULL"),
        ),
        STRICT,
    )
    id: int | None = Field(default=None, sa_type=INT64, primary_key=True)
    portfolio: str = _text()
    condition: str = _text()
    token: str = _text()
    kind: str = _text()
    target: int = _int()
    price: int | None = _int(default=None)
    budget: int = _int()
    signal_id: str = _text()
    state: str = _text()
    opened_us: int = _int()
    due_us: int = _int()
    tries: int = _int()
    waits: str = _text()
    ended_us: int | None = _int(default=None)
    deadline_us: int | None = _int(default=None)
    burst_us: int | None = _int(default=None)


class CoverRow(SQLModel, table=True):
    """Our shares and the leader's exposure when the last entry ended.

    Exits are in proportion to it.
    """

    __tablename__ = "cover"
    __table_args__ = STRICT
    portfolio: str = _text(primary_key=True)
    token: str = _text(primary_key=True)
    shares: int = _int()
    leader: int = _int()
    updated_us: int = _int()


class BurstRow(SQLModel, table=True):
    """What a leader did to a token at one go, the last time; its budget is spent once."""

    __tablename__ = "burst"
    __table_args__ = STRICT
    portfolio: str = _text(primary_key=True)
    token: str = _text(primary_key=True)
    first_us: int = _int()
    last_us: int = _int()
    shares: int = _int()
    usdc: int = _int()
    price: int = _int()
    base: int = _int()


class OrderRow(SQLModel, table=True):
    """A signed order: one attempt of an intent. `id` is its EIP-712 hash.

    Without an intent it is somebody else's: nobody here has ordered it.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("intent_id", "attempt"),
        Index(
            "ux_orders_one_in_flight",
            "intent_id",
            unique=True,
            sqlite_where=text("state IN ('posting', 'unknown', 'open')"),
            postgresql_where=text("state IN ('posting', 'unknown', 'open')"),
        ),
        Index(
            "ix_orders_in_flight",
            "created_us",
            sqlite_where=text("state IN ('posting', 'unknown', 'open')"),
            postgresql_where=text("state IN ('posting', 'unknown', 'open')"),
        ),
        Index(
            "ix_orders_moving",
            "portfolio",
            "condition",
            sqlite_where=text("state IN ('posting', 'unknown', 'open')"),
            postgresql_where=text("state IN ('posting', 'unknown', 'open')"),
        ),
        Index("ix_orders_created", "created_us"),
        Index("ix_orders_position", "portfolio", "token", "intent_id", "attempt"),
        STRICT,
    )
    id: str = _text(primary_key=True)
    intent_id: int | None = Field(default=None, sa_type=INT64, foreign_key="intent.id")
    attempt: int = _int()
    portfolio: str = _text()
    condition: str = _text()
    token: str = _text()
    side: str = _text()
    kind: str = _text()
    price: int = _int()
    maker_amount: int = _int()
    taker_amount: int = _int()
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
    doubted: int = _int()
    expires_us: int | None = _int(default=None)
    cancel_us: int | None = _int(default=None)
    cancelled_us: int | None = _int(default=None)
    ended_us: int | None = _int(default=None)


class FillRow(SQLModel, table=True):
    """Our part of one trade of the exchange, booked once."""

    __tablename__ = "fill"
    __table_args__ = (
        Index("ix_fill_order", "order_id"),
        Index("ix_fill_position", "portfolio", "token"),
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
    portfolio: str = _text()
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
    """What a portfolio holds of a token: derived, rebuildable from fills and settlements."""

    __tablename__ = "position"
    __table_args__ = (
        Index("ix_position_condition", "condition"),
        Index("ix_position_token", "token"),
        Index(
            "ix_position_held",
            "token",
            "condition",
            sqlite_where=text("shares <> 0"),
            postgresql_where=text("shares <> 0"),
        ),
        STRICT,
    )
    portfolio: str = _text(primary_key=True)
    token: str = _text(primary_key=True)
    condition: str = _text()
    shares: int = _int()
    cost: int = _int()
    realized: int = _int()
    updated_us: int = _int()
    #: It follows nobody any more: closed by the operator, or with its market.
    orphan: int = _int(sa_column_kwargs={"server_default": text("0")})


class SettlementRow(SQLModel, table=True):
    """What an ended market pays for a position: a receivable until it is redeemed."""

    __tablename__ = "settlement"
    __table_args__ = (
        Index(
            "ix_settlement_owed", "token", sqlite_where=text("redeemed_us IS NULL AND usdc <> 0")
        ),
        STRICT,
    )
    portfolio: str = _text(primary_key=True)
    token: str = _text(primary_key=True)
    at_us: int = _int(primary_key=True)
    condition: str = _text()
    shares: int = _int()
    usdc: int = _int()
    source: str = _text()
    redeemed_us: int | None = _int(default=None)  #: when its shares had become collateral


class DailyPnl(SQLModel, table=True):
    """Totals of one UTC day; a fill belongs to the day of its match, a settlement to its own."""

    __tablename__ = "daily_pnl"
    __table_args__ = STRICT
    day: str = _text(primary_key=True)
    realized: int = _int()
    fees: int = _int()
    bought: int = _int()
    sold: int = _int()


class AccountRow(SQLModel, table=True):
    """Our collateral: `opening` as first seen at the exchange, `cash` = opening + fold of fills."""

    __tablename__ = "account"
    __table_args__ = STRICT
    wallet: str = _text(primary_key=True)
    opening: int = _int()
    cash: int = _int()
    updated_us: int = _int()
