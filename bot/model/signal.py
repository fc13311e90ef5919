"""A signal: an observed change that asks for exactly one decision."""

from dataclasses import dataclass
from enum import StrEnum

from bot.model.intent import Portfolio
from bot.model.leader import Wallet
from bot.model.market import ConditionId, Side, TokenId


class SignalKind(StrEnum):
    """What has been observed, or asked."""

    INCREASE = "increase"
    DECREASE = "decrease"
    CORRECTION = "correction"  #: shares of ours that came late: is he still there?
    OPERATOR = "operator"


#: Why a leader's holding is another one (`Signal.note` of a correction): what he was said to have
#: done did not happen.
REVERTED = "reverted"


class Wish(StrEnum):
    """What an operator may ask for a position (`Signal.note`)."""

    CLOSE = "close"  #: sell it all, not below the floor
    CLOSE_AT_ANY_PRICE = "close at any price"
    CANCEL = "cancel"  #: take the order named after it off its book, and end what it is for
    ASSIGN = "assign"  #: give what is external to the portfolio named after it


@dataclass(frozen=True, slots=True)
class Purchase:
    """What an increase is about: enough to have its market at hand before it is read."""

    signal_id: str
    portfolio: Portfolio
    condition: ConditionId
    token: TokenId


@dataclass(frozen=True, slots=True)
class Signal:
    """What was seen, or an operator's wish.

    Seen was a leader trade, or growth of one after its decision (`seq` > 0).
    """

    id: str
    kind: SignalKind
    portfolio: Portfolio
    condition: ConditionId
    token: TokenId
    trade_id: int | None  #: None: an operator's wish, which `note` says
    note: str
    seq: int
    tx: str
    wallet: Wallet
    side: Side
    shares: int  #: this signal's part
    usdc: int
    group_shares: int  #: the whole leader trade so far
    group_usdc: int
    leader_watched: int  #: leader's net shares bought since we watch, after this signal
    title: str
    outcome: str
    traded_s: int
    seen_us: int
    source: str  #: who saw it

    @property
    def purchase(self) -> Purchase | None:
        """Return what it is about if it is an increase, else None."""
        if self.kind is not SignalKind.INCREASE:
            return None
        return Purchase(self.id, self.portfolio, self.condition, self.token)
