"""A market: a condition with its two outcome tokens, and their books."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NewType

TokenId = NewType("TokenId", str)  #: outcome token, decimal text of a uint256


ConditionId = NewType("ConditionId", str)  #: 0x and 64 hex digits


class Side(StrEnum):
    """What the order's maker does with outcome tokens."""

    BUY = "BUY"
    SELL = "SELL"


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

    def facts(self) -> "Facts":
        """Return all of it as what a source tells."""
        return Facts(
            self.condition, self.tokens, self.outcomes, self.tick, self.min_shares, self.neg_risk,
            self.version, self.fee_rate, self.fee_exponent, self.accepting,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What one source tells of a market; None where it tells nothing."""

    condition: ConditionId
    tokens: tuple[TokenId, TokenId]
    outcomes: tuple[str, str]
    tick: int | None = None
    min_shares: int | None = None
    neg_risk: bool | None = None
    version: Literal["v1", "v2"] | None = None
    fee_rate: int | None = None
    fee_exponent: int | None = None
    accepting: bool | None = None
    event: str | None = None  #: markets of one event are siblings
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an outcome token stands for."""

    condition: ConditionId
    label: str
    title: str
    version: str | None = None  #: of its market: shares of each are held by a contract of its own


@dataclass(frozen=True, slots=True)
class Book:
    """One outcome token's liquidity, best level first: (price, shares)."""

    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    seen_us: int  #: when the exchange last proved that this is current
