"""An intent: a standing wish about what a portfolio holds of one token.

And the arithmetic of leaving. An entry wants at least `target` shares, an exit at most `target`.
One intent is open per (portfolio, token). Amounts are integers in millionths.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from bot.model.leader import Wallet
from bot.model.market import ConditionId, TokenId
from bot.model.units import notional

Portfolio = NewType("Portfolio", str)  #: 'mirror/0x…', 'manual', 'external'

#: Holds what nobody here has ordered: somebody's hand, another bot, a credit of shares.
EXTERNAL = Portfolio("external")
#: Holds what the operator has taken over.
MANUAL = Portfolio("manual")
_MIRROR = "mirror/"
#: Fewer shares than this cannot rest in a book: a leader left with them has left.
DUST_SHARES = 5_000_000


def mirror(wallet: str) -> Portfolio:
    """Return the portfolio that follows a leader."""
    return Portfolio(_MIRROR + wallet)


def leader_of(portfolio: str) -> Wallet | None:
    """Return the leader that a portfolio follows, or None if it follows nobody."""
    return Wallet(portfolio.removeprefix(_MIRROR)) if portfolio.startswith(_MIRROR) else None


class IntentKind(StrEnum):
    """What is wished for."""

    ENTRY = "entry"  #: hold at least `target`
    EXIT = "exit"  #: hold at most `target`


class IntentState(StrEnum):
    """Where an intent is in its life; every state but OPEN is an end."""

    OPEN = "open"
    REACHED = "reached"
    EXPIRED = "expired"  #: entries only: what could not be bought in time is not bought
    WITHDRAWN = "withdrawn"  #: an exit took its place, or the operator ended it
    MARKET_ENDED = "market_ended"


@dataclass(frozen=True, slots=True)
class Intent:
    """A row of the ledger."""

    id: int
    portfolio: Portfolio
    condition: ConditionId
    token: TokenId
    kind: IntentKind
    target: int
    #: ENTRY: the most to pay a share. EXIT: at what price the leader left; None: not known yet, 0:
    #: any.
    price: int | None
    budget: int  #: ENTRY: micro-USDC to spend at most. EXIT: 0
    signal_id: str  #: what it was opened for
    state: IntentState
    opened_us: int
    due_us: int  #: the next look
    tries: int  #: EXIT: looks since the last progress
    waits: str  #: what it waits for, '' if for nothing
    ended_us: int | None = None
    deadline_us: int | None = None  #: ENTRY: no attempt after this
    burst_us: int | None = None  #: ENTRY: the burst whose budget it spends


@dataclass(frozen=True, slots=True)
class Cover:
    """Our shares and the leader's net exposure when the last entry ended (or was passed over)."""

    shares: int
    leader: int


def exit_target(cover: Cover | None, exposure: int, peak: int, gone_below_ratio: int) -> int:
    """Return how many shares to hold at most, given what the leader holds now.

    N = S0 × L / L0, rounded down; 0 where he has left: with fewer shares than can rest in a
    book, or less than `gone_below_ratio` (millionths) of his peak. Without a cover nobody knows
    our part of his position: all of it goes with him.
    """
    if cover is None or cover.leader <= 0:
        return 0
    if exposure < DUST_SHARES or exposure < notional(peak, gone_below_ratio):
        return 0
    return cover.shares * exposure // cover.leader
