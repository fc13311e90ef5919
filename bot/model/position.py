"""A position: shares of one token, with their cost and realised PnL."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """Shares of one token copied from one leader, with their cost and realised PnL."""

    shares: int = 0
    cost: int = 0
    realized: int = 0
