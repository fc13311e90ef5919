"""Exact numbers: shares, collateral and prices as integers in millionths.

`Decimal` appears only where text is parsed or printed; `float` never. Every parser refuses
what is not a finite number inside its bounds, because the text comes from outside.
"""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache

MICRO = 1_000_000
#: Nothing on Polymarket is near 10^12 shares or dollars; 2^63 / 10^6 is the ledger's limit.
MAX_MICROS = 10**12 * MICRO


def parse_micros(value: object, *, field: str, at_most: int = MAX_MICROS) -> int:
    """Return a non-negative decimal number as an integer in millionths.

    Digits beyond the sixth are rounded half-even (feeds send binary floats as text).
    Raises ValueError, naming `field`, for anything that is not a finite number from 0 to
    `at_most` millionths.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise ValueError(f"{field}: expected a decimal number, found {type(value).__name__}")
    if isinstance(value, str) and (len(value) > 64 or not value.isascii()):
        raise ValueError(f"{field}: expected a decimal number, found {printable(value, 24)!r}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(
            f"{field}: expected a decimal number, found {printable(value)!r}"
        ) from None
    if not number.is_finite():
        raise ValueError(f"{field}: expected a finite number, found {number}")
    if number < 0:
        raise ValueError(f"{field}: expected a number of at least 0, found {printable(value, 24)}")
    # Compared unscaled: 1e999999 times a million overflows.
    if number > Decimal(at_most) / MICRO:
        raise ValueError(
            f"{field}: expected at most {at_most // MICRO}, found {printable(value, 24)}"
        )
    return int((number * MICRO).to_integral_value(rounding=ROUND_HALF_EVEN))


def parse_price(value: object, *, field: str = "price") -> int:
    """Return a price from 0 to 1 in millionths; raises ValueError like `parse_micros`."""
    return parse_micros(value, field=field, at_most=MICRO)


def notional(shares: int, price: int) -> int:
    """Return shares x price in micro-USDC, floored: both arguments are in millionths."""
    return shares * price // MICRO


def average_price(usdc: int, shares: int) -> int:
    """Return usdc / shares in millionths, rounded half up; 0 where there are no shares."""
    return (usdc * MICRO * 2 + shares) // (2 * shares) if shares else 0


def decimal_text(micros: int) -> str:
    """Return millionths as the shortest exact decimal text ('10', '0.57', '-1.5')."""
    sign, whole, rest = "-" if micros < 0 else "", *divmod(abs(micros), MICRO)
    fraction = f"{rest:06d}".rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def money(micros: int, *, signed: bool = False) -> str:
    """Return micro-USDC with two decimals ('12.40'), with a sign where `signed`."""
    cents = (abs(micros) + 5_000) // 10_000
    sign = "-" if micros < 0 and cents else "+" if signed and micros > 0 and cents else ""
    return f"{sign}{cents // 100:,}.{cents % 100:02d}"


def rfc3339(at_us: int) -> str:
    """Return microseconds since the epoch as RFC 3339 UTC text with milliseconds."""
    at = datetime.fromtimestamp(at_us // MICRO, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_us % MICRO // 1000:03d}Z"


def utc_day(at_us: int) -> str:
    """Return the UTC day of a moment as 'YYYY-MM-DD'."""
    return _day(at_us // (86_400 * MICRO))


@lru_cache(maxsize=16)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%d")


def printable(text: object, limit: int = 120) -> str:
    """Return outside text with every control, bidi and format character replaced, cut to `limit`.

    Only this may reach a terminal, a log line or a stored column.
    """
    kept = "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)[: limit * 4]
    )
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"
