"""A burst: what a leader does to one token at one go. It is judged whole, its budget is spent once.

One order of his may fill in fifty transactions, and he may sell and buy back within seconds: what
we spend on it is decided for all of it together: one resting order that filled in six transactions
was bought six times.
"""

from dataclasses import dataclass, replace

from bot.model.units import MICRO, average_price

#: A burst goes on over a gap of this long, and for so long in all.
GAP_US = 5 * MICRO
LONGEST_US = 90 * MICRO
#: Prices are averages of whole micro-dollars: half of the finest tick is no difference.
SAME_PRICE = 50


@dataclass(frozen=True, slots=True)
class Burst:
    """A leader's purchases of one token at one go, all that were not too old to follow."""

    first_us: int  #: when its first was seen; it is known by this
    last_us: int
    shares: int  #: bought by him
    usdc: int
    price: int  #: of his last purchase: a resting order fills at its own
    base: int  #: what we held when it began

    def goes_on(self, at_us: int, price: int) -> bool:
        """Return whether a purchase of this moment belongs to it.

        It does after a short gap, and after a longer one where the price is the same: what rests
        in a book fills whenever somebody comes.
        """
        if not self.first_us - GAP_US <= at_us <= self.first_us + LONGEST_US:
            return False
        return at_us - self.last_us <= GAP_US or abs(price - self.price) <= SAME_PRICE


@dataclass(frozen=True, slots=True)
class Spent:
    """What a burst's entries have bought or may have: in flight or in doubt counts whole."""

    usdc: int = 0
    shares: int = 0


def joined(
    burst: Burst | None, seen_us: int, traded_us: int, shares: int, usdc: int, held: int
) -> Burst:
    """Return the burst that a purchase of `shares` for `usdc` belongs to, with it.

    That is the last one where it goes on, by when it was seen or by his own time: a part of it may
    be seen late. Else it is a new one, which begins at what we hold now.
    """
    price = average_price(usdc, shares)
    fits = [at for at in (seen_us, traded_us) if burst is not None and burst.goes_on(at, price)]
    if burst is None or not fits:
        return Burst(seen_us, seen_us, shares, usdc, price, held)
    return replace(
        burst,
        last_us=max(burst.last_us, fits[0]),
        shares=burst.shares + shares,
        usdc=burst.usdc + usdc,
        price=price,
    )
