"""What the chain says, in the field's words: filled orders, shares that moved, outcomes."""

from dataclasses import dataclass
from enum import StrEnum

from bot.model.market import ConditionId, Side, TokenId


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a log stands. The same log may stand elsewhere after a reorganisation."""

    block: int
    index: int  #: of the log in its block
    block_hash: str
    block_s: int | None = None  #: the block's own time in seconds, where the node tells it


@dataclass(frozen=True, slots=True)
class Block:
    """A block's place in the chain, and its time in seconds."""

    number: int
    hash: str
    parent: str
    at_s: int


class Role(StrEnum):
    """On which side of a match an order stood."""

    MAKER = "maker"
    TAKER = "taker"


@dataclass(frozen=True, slots=True)
class Filled:
    """One order of one wallet, filled in one match, as the exchange wrote it (OrderFilled)."""

    place: Place
    tx: str
    exchange: str  #: the contract, in lower case
    wallet: str  #: in lower case, as all addresses here
    order: str  #: its hash
    role: Role
    token: TokenId
    side: Side
    shares: int  #: micro-shares
    usdc: int
    """Micro-USDC. A taker's may be what was offered, before what is left of it goes back: see
    `executed`."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Shares of one token that went from one address to another (an ERC-1155 transfer)."""

    place: Place
    tx: str
    token: TokenId
    shares: int
    giver: str
    taker: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The outcome of a condition, as its oracle told it: final."""

    place: Place
    tx: str
    condition: ConditionId
    payouts: tuple[int, ...]  #: numerators by outcome


Said = Filled | Moved | Resolved


def executed(taker: Filled, match: list[Filled]) -> int:
    """Return what the taker of a match really paid or got, in micro-USDC.

    `match` are the makers' orders of the same match. Where a pair is made of two stakes, a V2
    exchange writes the taker's money before the unspent part goes back (CTFExchange V2,
    `_settleTakerOrder`), so his true cost is what each maker left of it: the price of a share that
    was sold, or a dollar less what the other side paid. Without all of the makers' logs the
    taker's own event is taken.
    """
    if sum(maker.shares for maker in match) != taker.shares:
        return taker.usdc
    return sum(
        maker.usdc if maker.side is not taker.side else maker.shares - maker.usdc for maker in match
    )
