"""A decision: what a strategy may look at, what it may propose, and why it may decline."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bot.model.burst import Burst, Spent
from bot.model.market import Book, Market, TokenId
from bot.model.signal import Signal

Numbers = Mapping[str, int | str | None]


class SkipReason(StrEnum):
    """Why a signal was not copied. Closed: a new reason needs a row in the README."""

    HALTED = "halted"
    PAUSED = "paused"
    NOT_FOLLOWED = "not_followed"
    MUTED = "muted"
    REVERTED = "reverted"
    ORPHAN = "orphan"
    STALE = "stale"
    BOTH_SIDES = "both_sides"
    BURST_SPENT = "burst_spent"
    TOO_SMALL = "too_small"
    PRICE_BAND = "price_band"
    PRICE_MOVED = "price_moved"
    PRICE_FELL = "price_fell"
    MARKET_CLOSED = "market_closed"
    MARKET_UNKNOWN = "market_unknown"
    BOOK_STALE = "book_stale"
    NO_LIQUIDITY = "no_liquidity"
    BELOW_MIN_SIZE = "below_min_size"
    BELOW_MIN_NOTIONAL = "below_min_notional"
    ALREADY_COPIED = "already_copied"
    OWN_EXIT_STANDS = "own_exit_stands"
    LEADER_LEFT = "leader_left"
    POSITION_LOCKED = "position_locked"
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
    """All that a strategy may look at for one increase."""

    signal: Signal
    market: Market
    book: Book
    held: int  #: what the signal's portfolio holds of its token
    held_opposite: int  #: what any portfolio holds, or is buying, of the other token
    exit_stands: bool  #: an exit of the token stands, of any portfolio
    copied_before: bool  #: an earlier signal of this leader trade was copied
    burst: Burst  #: what he does at one go, this purchase included
    spent: Spent  #: what was spent on it before
    lately: tuple[int, int]  #: his shares in the last ten minutes: this way, and the other way
    provisional: bool  #: only a stream has told of it: no block has it yet
    now_us: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """An entry that a strategy wants: FAK, so `price` is the worst acceptable one."""

    token: TokenId
    price: int
    shares: int  #: what the book has of what is wanted
    usdc: int  #: what they cost in that book: the budget
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Skip:
    """Not copied, and why, with the numbers it was decided on."""

    reason: SkipReason
    numbers: Numbers
