"""The field's words as frozen types, and the order life cycle as a table.

Amounts are integers: `shares` in micro-shares, `usdc`, `fee` and `cost` in micro-USDC, `price`
in millionths of a dollar per share. Moments are integers too: `*_us` is microseconds since the
epoch. This module depends on nothing, so that every other one can share its words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NewType

Wallet = NewType("Wallet", str)  #: EIP-55 checksummed address
TokenId = NewType("TokenId", str)  #: outcome token, decimal text of a uint256
ConditionId = NewType("ConditionId", str)  #: 0x and 64 hex digits
OrderId = NewType("OrderId", str)  #: EIP-712 digest, 0x and 64 hex digits

Numbers = Mapping[str, int | str | None]


class Side(StrEnum):
    """What the order's maker does with outcome tokens."""

    BUY = "BUY"
    SELL = "SELL"


class ControlMode(StrEnum):
    """What the bot may do; a row in the ledger, so a restart resets nothing."""

    RUNNING = "running"  #: entries and exits
    PAUSED = "paused"  #: exits only
    HALTED = "halted"  #: no orders of any kind


class SkipReason(StrEnum):
    """Why a signal was not copied. Closed: a new reason needs a row in the README."""

    HALTED = "halted"
    PAUSED = "paused"
    NOT_FOLLOWED = "not_followed"
    STALE = "stale"
    TOO_SMALL = "too_small"
    PRICE_BAND = "price_band"
    PRICE_MOVED = "price_moved"
    MARKET_CLOSED = "market_closed"
    MARKET_UNKNOWN = "market_unknown"
    BOOK_STALE = "book_stale"
    NO_LIQUIDITY = "no_liquidity"
    BELOW_MIN_SIZE = "below_min_size"
    BELOW_MIN_NOTIONAL = "below_min_notional"
    ALREADY_COPIED = "already_copied"
    OPPOSITE_HELD = "opposite_held"
    NOT_HELD = "not_held"
    MARKET_LIMIT = "market_limit"
    DAILY_VOLUME = "daily_volume"
    EXPOSURE = "exposure"
    NO_BALANCE = "no_balance"
    CLOCK_SKEW = "clock_skew"
    GUARD_ERROR = "guard_error"


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


IN_FLIGHT = frozenset({OrderState.POSTING, OrderState.UNKNOWN, OrderState.OPEN})

_ENDS = frozenset(OrderState) - IN_FLIGHT
EDGES: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.POSTING: _ENDS | {OrderState.UNKNOWN, OrderState.OPEN},
    OrderState.UNKNOWN: _ENDS | {OrderState.OPEN},
    # An order that the exchange has cannot become one that it never saw.
    OrderState.OPEN: _ENDS - {OrderState.REJECTED, OrderState.EXPIRED},
    **dict.fromkeys(_ENDS, frozenset()),
}


def move(old: OrderState, new: OrderState) -> OrderState:
    """Return `new` if an order may go there from `old`; raises ValueError otherwise."""
    if new not in EDGES[old]:
        raise ValueError(f"order state: no edge from {old} to {new}")
    return new


class Settlement(StrEnum):
    """How far a fill is on its way to the chain. Only CONFIRMED and FAILED are final."""

    MATCHED = "matched"
    MINED = "mined"
    CONFIRMED = "confirmed"
    RETRYING = "retrying"
    FAILED = "failed"


FINAL = frozenset({Settlement.CONFIRMED, Settlement.FAILED})


class RejectReason(StrEnum):
    """Typed meaning of every documented refusal; all of them prove that nothing was booked."""

    NO_MATCH = "no_match"  #: FAK or FOK found nothing: a business outcome
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
    BUSY = "busy"  #: 425, 429, 503, or no connection: the same bytes may go again


@dataclass(frozen=True, slots=True)
class Accepted:
    """The exchange has the order; `making` and `taking` are what has matched so far."""

    status: Literal["live", "matched", "delayed", "unmatched", "duplicate"]
    making: int = 0
    taking: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """The answer proves that nothing was booked."""

    reason: RejectReason
    text: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing is proven: only evidence of the exchange may end this order."""

    cause: str


Outcome = Accepted | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class LeaderFill:
    """One row of a feed: a filled order of one wallet in one transaction."""

    tx: str
    wallet: str
    token: TokenId
    side: Side
    shares: int
    usdc: int
    condition: ConditionId
    outcome: str
    title: str
    traded_s: int  #: the feed's own time in seconds; never part of an identity

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Return the identity of law 7: (transaction, wallet, token, side)."""
        return (self.tx, self.wallet, self.token, self.side)


@dataclass(frozen=True, slots=True)
class Signal:
    """What was seen: a leader trade, or growth of one after its decision (`seq` > 0)."""

    id: str
    trade_id: int
    seq: int
    tx: str
    wallet: Wallet
    token: TokenId
    condition: ConditionId
    side: Side
    shares: int  #: this signal's part; of a retried exit, our own shares that are left to sell
    usdc: int
    group_shares: int  #: the whole leader trade so far
    group_usdc: int
    leader_before: int  #: leader's shares of the token before this signal
    leader_after: int
    leader_peak: int
    leader_watched: int  #: leader's net shares bought since we watch, after this signal
    title: str
    outcome: str
    traded_s: int
    seen_us: int
    source: str  #: who saw it; RETRY for an exit of ours that did not come through


#: Source of a follow-up signal that tries an exit again.
RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Market:
    """What an order for one condition must respect."""

    condition: ConditionId
    tokens: tuple[TokenId, TokenId]
    outcomes: tuple[str, str]
    tick: int
    min_shares: int
    neg_risk: bool
    version: Literal["v1", "v2"]
    fee_rate: int  #: millionths
    fee_exponent: int
    accepting: bool
    title: str = ""

    def complement(self, token: TokenId) -> TokenId:
        """Return the other outcome token of this condition."""
        return self.tokens[1] if token == self.tokens[0] else self.tokens[0]


@dataclass(frozen=True, slots=True)
class Book:
    """One outcome token's liquidity, best level first: (price, shares)."""

    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    seen_us: int  #: when the exchange last proved that this is current


@dataclass(frozen=True, slots=True)
class View:
    """All that a strategy may look at for one signal."""

    signal: Signal
    market: Market
    book: Book
    complement_book: Book
    held: int  #: our shares of the signal's token copied from this leader
    held_complement: int  #: our shares of the other token copied from this leader
    held_opposite: int  #: our shares of the other token copied from anybody
    leader_complement: int  #: the leader's shares of the other token
    copied_before: bool  #: an earlier signal of this leader trade was copied
    now_us: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """An order a strategy wants: FAK, so `price` is the worst acceptable one."""

    token: TokenId
    side: Side
    price: int
    shares: int  #: SELL: shares to sell. BUY: shares wanted at `price`
    usdc: int  #: BUY: the budget. SELL: the least to receive at `price`
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Skip:
    """Not copied, and why, with the numbers it was decided on."""

    reason: SkipReason
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Order:
    """A signed order as the ledger keeps it. `body` is sent as it stands, however often."""

    id: OrderId
    signal_id: str
    wallet: Wallet  #: the leader it follows
    condition: ConditionId
    token: TokenId
    side: Side
    price: int
    making: int  #: BUY: micro-USDC offered. SELL: micro-shares offered
    taking: int
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


@dataclass(frozen=True, slots=True)
class Fill:
    """Our part of one trade of the exchange; identity is (trade id, order id)."""

    trade_id: str
    order_id: OrderId
    token: TokenId
    side: Side
    shares: int
    usdc: int  #: without the fee
    fee: int
    settlement: Settlement
    tx: str | None
    matched_us: int


@dataclass(frozen=True, slots=True)
class Position:
    """Shares of one token copied from one leader, with their cost and realised PnL."""

    shares: int = 0
    cost: int = 0
    realized: int = 0
