"""A decision: what a strategy may look at, what it may propose, and why it may decline."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bot.model.market import Book, Market, Side, TokenId
from bot.model.signal import Signal

Numbers = Mapping[str, int | str | None]


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
