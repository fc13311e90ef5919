"""Taker fees (docs: fees page): shares × rate × (p × (1 − p))^exponent, rounded to 5 decimals."""

from collections.abc import Iterable
from fractions import Fraction

from bot.model.units import MICRO

_STEP = 10  #: micro-USDC: 5 decimals


def taker_fee(pieces: Iterable[tuple[int, int]], rate: int, exponent: int) -> int:
    """Return the fee of one trade in micro-USDC.

    `pieces` are (shares, price) per resting order matched, `rate` is in millionths. The sum is
    rounded half up to 0.00001 USDC; the exchange documents no direction.
    """
    total = sum((_exact(shares, price, rate, exponent) for shares, price in pieces), Fraction(0))
    return int((total + Fraction(_STEP, 2)) // _STEP) * _STEP


def highest_fee(budget: int, rate: int) -> int:
    """Return the highest fee that a BUY of `budget` micro-USDC can cost at any price below 1."""
    # shares × rate × p(1−p) = budget × rate × (1−p), and exponents above 1 only shrink it.
    return -(-budget * rate // MICRO) + _STEP


def _exact(shares: int, price: int, rate: int, exponent: int) -> Fraction:
    return Fraction(shares * rate, MICRO) * Fraction(price * (MICRO - price), MICRO**2) ** exponent
