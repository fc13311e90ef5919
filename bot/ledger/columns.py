"""Column types of the schema.

Amounts are INTEGER millionths; `*_us` is microseconds since the epoch, UTC. Tables are STRICT:
SQLite itself refuses a fraction or text where a number belongs. Changing anything in the schema
needs a migration; a test proves that both agree.
"""

from sqlalchemy import BigInteger, Integer, Text
from sqlmodel import Field

STRICT = {"sqlite_strict": True}
# STRICT knows INTEGER (64 bits) but not BIGINT.
INT64 = BigInteger().with_variant(Integer, "sqlite")


def text(**options: object) -> str:
    """Return a TEXT column."""
    return Field(sa_type=Text, **options)  # type: ignore[call-overload, no-any-return]


def integer(**options: object) -> int:
    """Return an INTEGER column of 64 bits."""
    return Field(sa_type=INT64, **options)  # type: ignore[call-overload, no-any-return]
