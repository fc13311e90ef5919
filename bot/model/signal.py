"""A signal: an observed change that asks for exactly one decision."""

from dataclasses import dataclass

from bot.model.leader import Wallet
from bot.model.market import ConditionId, Side, TokenId


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
