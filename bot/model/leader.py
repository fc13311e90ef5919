"""A leader: a wallet that is followed, what it did, and what it holds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from bot.model.market import ConditionId, Side, TokenId

Wallet = NewType("Wallet", str)  #: EIP-55 checksummed address


class Word(StrEnum):
    """What holds for a leader: by the configuration, or because an operator has said so."""

    FOLLOW = "follow"
    UNFOLLOW = "unfollow"  #: no entries, and watched until we hold nothing of him
    MUTE = "mute"  #: no entries, and watched


class FactKind(StrEnum):
    """What a wallet did. All but a trade move shares without an order."""

    TRADE = "trade"
    SPLIT = "split"  #: cash became a pair
    MERGE = "merge"  #: a pair became cash
    CONVERSION = "conversion"  #: No of some markets of an event became Yes of its others
    REDEMPTION = "redemption"  #: shares became what they pay
    TRANSFER = "transfer"  #: shares went from one wallet to another: no sale, and no purchase


class FactState(StrEnum):
    """How sure a fact is."""

    PROVISIONAL = "provisional"  #: a stream has told of it, or its block is out of the chain
    MINED = "mined"  #: it is in a block
    FINAL = "final"  #: its block stands for good: what the chain says is all there is to it
    REVERTED = "reverted"  #: proven not to have happened; a block may prove otherwise later


@dataclass(frozen=True, slots=True)
class LeaderFill:
    """A row of a source: a filled order of one wallet in one transaction, or shares that moved.

    What comes in is bought, what goes out is sold, also where no order was filled.
    """

    tx: str
    wallet: str
    token: TokenId
    side: Side
    shares: int
    usdc: int
    condition: ConditionId
    outcome: str
    title: str
    traded_s: int  #: the source's own time in seconds; never part of an identity
    kind: FactKind = FactKind.TRADE

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Return the identity of law 7: (transaction, wallet, token, way).

        A transaction may trade a token and move it besides: these are two facts.
        """
        way = str(self.side)
        if self.kind is not FactKind.TRADE:
            way = "IN" if self.side is Side.BUY else "OUT"
        return (self.tx, self.wallet, self.token, way)

    @property
    def amounts(self) -> tuple[int, int]:
        """Return (shares, usdc): all that tells rows of a group apart.

        One transaction has one second: another time, or title, is the same row told otherwise.
        """
        return (self.shares, self.usdc)


@dataclass(frozen=True, slots=True)
class Holding:
    """A leader's shares of one token, as facts and the last observation of his balance make them.

    `watched` is the part bought since we watch. `away` went to other wallets: he still counts as
    its holder, because a transfer is no sale. Facts up to `block` (at `block_s`) are in the
    observation already.
    """

    shares: int = 0
    watched: int = 0
    peak: int = 0
    away: int = 0
    block: int | None = None
    block_s: int | None = None

    @property
    def counted(self) -> int:
        """Return what he counts as the holder of."""
        return self.shares + self.away
