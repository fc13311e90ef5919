"""A leader: a wallet that is followed, what it did, and what it holds."""

from dataclasses import dataclass
from typing import NewType

from bot.model.market import ConditionId, Side, TokenId

Wallet = NewType("Wallet", str)  #: EIP-55 checksummed address


Row = tuple[int, int, int]  #: (shares, usdc, second)


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

    @property
    def row(self) -> "Row":
        """Return what tells a row of its group from others: a title may be told otherwise."""
        return (self.shares, self.usdc, self.traded_s)


@dataclass(frozen=True, slots=True)
class Holding:
    """A leader's shares of one token; `watched` is the part bought since we watch."""

    shares: int = 0
    watched: int = 0
    peak: int = 0
