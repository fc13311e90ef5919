"""A leader: a wallet that is followed, what it did, and what it holds."""

from dataclasses import dataclass
from typing import NewType

from bot.model.market import ConditionId, Side, TokenId

Wallet = NewType("Wallet", str)  #: EIP-55 checksummed address


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
    def amounts(self) -> tuple[int, int]:
        """Return (shares, usdc): all that tells rows of a group apart.

        One transaction has one second: another time, or title, is the same row told otherwise.
        """
        return (self.shares, self.usdc)


@dataclass(frozen=True, slots=True)
class Holding:
    """A leader's shares of one token; `watched` is the part bought since we watch."""

    shares: int = 0
    watched: int = 0
    peak: int = 0
