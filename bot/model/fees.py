"""Taker fees: shares × rate × (p × (1 − p))^exponent, cut to 5 decimals.

p is the average price of the taker's own match, what it paid by what it got. The docs name the
formula and the decimals; that they are cut, and on the average, real charges show.
"""

from fractions import Fraction

from bot.model.units import MICRO

_STEP = 10  #: micro-USDC: 5 decimals


def taker_fee(shares: int, usdc: int, rate: int, exponent: int) -> int:
    """Return the fee of one match in micro-USDC: `shares` for `usdc`, `rate` in millionths."""
    if not shares:
        return 0
    price = Fraction(usdc, shares)
    exact = Fraction(shares * rate, MICRO) * (price * (1 - price)) ** exponent
    return int(exact // _STEP) * _STEP


def highest_fee(budget: int, rate: int) -> int:
    """Return the highest fee that a BUY of `budget` micro-USDC can cost at any price below 1."""
    # shares × rate × p(1−p) = budget × rate × (1−p), and exponents above 1 only shrink it.
    return -(-budget * rate // MICRO) + _STEP
