"""An order: one signed attempt, its life cycle as a table, and what an answer to it may prove.

Amounts are integers in millionths, moments microseconds since the epoch (`*_us`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NewType

from bot.model.intent import Portfolio
from bot.model.market import ConditionId, Side, TokenId

OrderId = NewType("OrderId", str)  #: EIP-712 digest, 0x and 64 hex digits


class OrderState(StrEnum):
    """Where an order is in its life."""

    POSTING = "posting"  #: stored and signed; its bytes may be on their way
    UNKNOWN = "unknown"  #: sent, and the answer proves nothing
    OPEN = "open"  #: the exchange has it; fills are being collected
    FILLED = "filled"
    PARTIAL = "partial"  #: some of it filled, the rest killed
    CANCELLED = "cancelled"  #: reached the exchange, nothing filled
    REJECTED = "rejected"  #: the exchange proved that nothing was booked
    EXPIRED = "expired"  #: never seen by the exchange, and too old to send again


#: The exchange has it, or may have it: its end is not proven.
IN_FLIGHT = frozenset({OrderState.POSTING, OrderState.UNKNOWN, OrderState.OPEN})


_ENDS = frozenset(OrderState) - IN_FLIGHT


EDGES: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.POSTING: _ENDS | {OrderState.UNKNOWN, OrderState.OPEN},
    OrderState.UNKNOWN: _ENDS | {OrderState.OPEN},
    # An order that the exchange has cannot become one that it never saw.
    OrderState.OPEN: _ENDS - {OrderState.REJECTED, OrderState.EXPIRED},
    **dict.fromkeys(_ENDS, frozenset()),
}


def edge(old: OrderState, new: OrderState) -> OrderState:
    """Return `new` if an order may go there from `old`; raises ValueError otherwise."""
    if new not in EDGES[old]:
        raise ValueError(f"order state: no edge from {old} to {new}")
    return new


class RejectReason(StrEnum):
    """Typed meaning of every documented refusal; all of them prove that nothing was booked."""

    NO_BALANCE = "no_balance"
    NO_ALLOWANCE = "no_allowance"
    TICK = "tick"
    MIN_SIZE = "min_size"
    AMOUNTS = "amounts"
    MARKET_NOT_READY = "market_not_ready"
    CROSSES_BOOK = "crosses_book"
    CREDENTIALS = "credentials"
    SIGNATURE = "signature"
    VERSION = "version"
    WALLET = "wallet"
    BANNED = "banned"
    PAYLOAD = "payload"
    GEOBLOCK = "geoblock"
    NOT_FOUND = "not_found"
    EXCHANGE = "exchange"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The exchange has, or had, the order.

    `maker_amount` and `taker_amount` are what has matched so far. `killed`: it reached the book and
    found nothing, says the answer, which may hide a fill.
    """

    status: Literal["live", "matched", "delayed", "unmatched", "duplicate", "killed"]
    maker_amount: int = 0
    taker_amount: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Nothing was booked and nothing is wrong with the order.

    The same bytes may go again, later.
    """

    cause: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The answer proves that nothing was booked."""

    reason: RejectReason
    text: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing is proven: only evidence of the exchange may end this order."""

    cause: str


Outcome = Accepted | Deferred | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class LiveOrder:
    """An order that the exchange holds.

    It rests in a book, or is held back before it is matched.
    """

    id: OrderId


class OrderKind(StrEnum):
    """How long an order lives."""

    FAK = "FAK"  #: takes what is there at once; the rest is killed
    GTD = "GTD"  #: rests in the book until `expires_us`


@dataclass(frozen=True, slots=True)
class Order:
    """A signed order as the ledger keeps it. `body` is sent as it stands, however often."""

    id: OrderId
    intent_id: int | None  #: None: nobody here has ordered it
    attempt: int  #: the how manieth of its intent, from 1
    portfolio: Portfolio
    condition: ConditionId
    token: TokenId
    side: Side
    kind: OrderKind
    price: int
    maker_amount: int  #: BUY: micro-USDC offered. SELL: micro-shares offered
    taker_amount: int
    reserved: int  #: micro-USDC held back until the order ends
    body: str
    state: OrderState
    created_us: int
    deadline_us: int  #: its bytes may not be sent after this
    sends: int = 0  #: how often its bytes may have left
    sent_us: int | None = None  #: first send
    last_sent_us: int | None = None
    matched: int | None = None  #: shares that the exchange says have matched
    reason: str | None = None
    doubted: int = 0  #: 1: it was `unknown` once, or ended `expired`
    expires_us: int | None = None  #: GTD: when the book drops it
    cancel_us: int | None = None  #: when somebody here asked for its cancel
    cancelled_us: int | None = None  #: when the exchange said that it is cancelled
    ended_us: int | None = None  #: when its end was proven

    @property
    def shares(self) -> int:
        """Return the shares it offers or asks for."""
        return self.maker_amount if self.side is Side.SELL else self.taker_amount
