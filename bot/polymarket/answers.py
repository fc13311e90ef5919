"""Answers of the CLOB that are read field by field."""

import msgspec

END_CURSOR = "LTE="


class ApiKey(msgspec.Struct):
    """API credentials."""

    apiKey: str
    secret: str
    passphrase: str


class Refusal(msgspec.Struct):
    """The exchange's own words of refusal."""

    error: str


class Asset(msgspec.Struct):
    """The token that a row names."""

    asset_id: str


class ClosedOnly(msgspec.Struct):
    """Whether an account may close positions only."""

    closed_only: bool


class Cancelled(msgspec.Struct):
    """Which orders were cancelled; what is said of the others proves nothing."""

    canceled: list[str] = []


class Balance(msgspec.Struct):
    """A balance in base units, as text."""

    balance: str


class Page(msgspec.Struct):
    """A page of rows, and where the next one begins."""

    data: list[msgspec.Raw]
    next_cursor: str = END_CURSOR
