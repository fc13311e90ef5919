"""A fill: our part of one trade of the exchange, and how far it is on its way to the chain."""

from dataclasses import dataclass
from enum import StrEnum

from bot.model.market import ConditionId, Side, TokenId
from bot.model.order import OrderId


class Settlement(StrEnum):
    """How far a fill is on its way to the chain. Only CONFIRMED and FAILED are final."""

    MATCHED = "matched"
    MINED = "mined"
    CONFIRMED = "confirmed"
    RETRYING = "retrying"
    FAILED = "failed"


FINAL = frozenset({Settlement.CONFIRMED, Settlement.FAILED})


@dataclass(frozen=True, slots=True)
class Fill:
    """Our part of one trade of the exchange; identity is (trade id, order id)."""

    trade_id: str
    order_id: OrderId
    condition: ConditionId
    token: TokenId
    side: Side
    shares: int
    usdc: int  #: without the fee
    fee: int
    settlement: Settlement
    tx: str | None
    matched_us: int


@dataclass(frozen=True, slots=True)
class Payout:
    """What an ended market pays for shares of one of its tokens."""

    at_us: int
    shares: int
    usdc: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row of evidence that nobody could read: why, and what it names where that can be told."""

    why: str
    token: TokenId | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the exchange says has become of our orders.

    Where a row was `unreadable` it may be a fill of any of them, so what is missing in `fills`
    proves nothing.
    """

    fills: tuple[Fill, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
