"""JSON shapes of the exchange, decoded into bounded types at the edge.

Only fields that are used are declared; unknown ones are ignored, because the exchange adds
fields without notice. Every decoder raises BadInput, which names the field and shows nothing raw.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import msgspec

from bot.model.amounts import TICKS
from bot.model.leader import LeaderFill
from bot.model.market import Book, ConditionId, Market, Side, TokenId
from bot.model.units import MAX_MICROS, MICRO, notional, parse_micros, parse_price, printable

T = TypeVar("T")
Number = Decimal  #: JSON numbers and numbers in strings alike
_HEX32 = re.compile(r"0x[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
#: One title with such an escape would make a whole page of rows unreadable.
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_DIGITS = re.compile(r"[0-9]{1,78}")
#: 2001 to 2100: anything else is not a trade's time.
_SECONDS = range(978_307_200, 4_102_444_800)


class BadInput(ValueError):
    """Outside data was refused; the message names the field."""


class Envelope(msgspec.Struct):
    """A page of Data API v2."""

    data: list[msgspec.Raw]
    next_cursor: str | None = None


class _Pagination(msgspec.Struct, frozen=True):
    has_more: bool = False
    next_cursor: str | None = None


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    pagination: _Pagination = _Pagination()


class _Serving(msgspec.Struct):
    lag_seconds: Number


class _Freshness(msgspec.Struct):
    serving: _Serving
    age_seconds: Number = Decimal(0)


class _ActivityRow(msgspec.Struct):
    proxy_wallet: str
    transaction_hash: str
    timestamp: int
    type: str = "TRADE"
    condition_id: str = ""
    token_id: str = ""
    side: str = ""
    size: Number = Decimal(0)
    usdc_size: Number | None = None
    price: Number = Decimal(0)
    outcome: str = ""
    title: str = ""


class _PositionRow(msgspec.Struct):
    token_id: str
    condition_id: str
    current_size: Number


class _RtdsPayload(msgspec.Struct, rename="camel"):
    proxy_wallet: str
    asset: str
    condition_id: str
    transaction_hash: str
    side: str
    size: Number
    price: Number
    timestamp: int
    outcome: str = ""
    title: str = ""


class _RtdsFrame(msgspec.Struct):
    topic: str
    type: str
    payload: msgspec.Raw = msgspec.Raw(b"null")


class _Level(msgspec.Struct):
    price: str
    size: str


class _BookMessage(msgspec.Struct):
    asset_id: str
    bids: list[_Level]
    asks: list[_Level]
    market: str = ""
    tick_size: str = ""


class Shown(NamedTuple):
    """A book as it was shown, and what was said of its market beside it: None where nothing."""

    token: TokenId
    book: Book
    condition: str
    tick: int | None


class _TokenFact(msgspec.Struct):
    t: str
    o: str = ""


class _FeeFact(msgspec.Struct):
    r: Number = Decimal(0)
    e: int = 1


class _MarketFacts(msgspec.Struct):
    c: str
    t: list[_TokenFact]
    mts: Number
    mos: Number
    fd: _FeeFact | None = None
    nr: bool = False
    ao: bool = False
    v: str = "v1"


class OpenOrder(msgspec.Struct):
    """An order as GET /data/order/{id} shows it."""

    id: str
    status: str
    size_matched: Number = Decimal(0)


def decode(data: bytes | str, kind: type[T]) -> T:
    """Return JSON as `kind`; raises BadInput.

    Half a surrogate pair in a text is replaced, not refused.
    """
    try:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError as error:
            if isinstance(error, msgspec.ValidationError):
                raise
            raw = data.encode() if isinstance(data, str) else data
            return msgspec.json.decode(_LONE_SURROGATE.sub(rb"\\ufffd", raw), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(printable(error, 200)) from None


def page(data: bytes) -> Envelope:
    """Return the rows of a Data API answer and the cursor of the next page, if there is one."""
    found = decode(data, _Page)
    return Envelope(found.data, found.pagination.next_cursor if found.pagination.has_more else None)


class Pairs(NamedTuple):
    """Pairs of shares, one of each outcome, that a wallet made of cash, or gave back for it."""

    tx: str
    wallet: str  #: in lower case
    condition: ConditionId
    shares: int
    made: bool
    at_s: int
    title: str


def activity(data: bytes) -> LeaderFill | Pairs | ConditionId | None:
    """Return what a row of /v2/activity tells: a trade; pairs; the condition in which shares came
    or went, where it does not say how many of which; or None, where only cash has moved.
    """
    row = decode(data, _ActivityRow)
    if row.type == "TRADE":
        return _filled(row)
    if row.type in ("SPLIT", "MERGE"):
        shares = micros(row.size or row.usdc_size or 0, "usdc_size")
        return Pairs(
            _match(_HEX32, row.transaction_hash, "transaction hash").lower(),
            _match(_ADDRESS, row.proxy_wallet, "wallet").lower(), condition_id(row.condition_id),
            shares, row.type == "SPLIT", _second(row.timestamp), printable(row.title, 200),
        )  # fmt: skip
    moves = row.type in ("REDEEM", "CONVERSION", "MIGRATION")
    return condition_id(row.condition_id) if moves and row.condition_id else None


def trade(data: bytes, follows: Callable[[str], bool]) -> tuple[int, LeaderFill | None]:
    """Return a row of /v2/trades: its second, and the fill where its wallet is followed."""
    row = decode(data, _ActivityRow)
    return _second(row.timestamp), _filled(row) if follows(row.proxy_wallet.lower()) else None


def _filled(row: _ActivityRow) -> LeaderFill:
    return leader_fill(
        row.transaction_hash, row.proxy_wallet, row.token_id, row.side, row.size, row.price,
        row.condition_id, row.outcome, row.title, row.timestamp, usdc=row.usdc_size,
    )  # fmt: skip


def lag_s(data: bytes) -> int | None:
    """Return how far behind an index says it is, in seconds, or None where that cannot be read."""
    try:
        found = decode(data, _Freshness)
        lag = micros(found.serving.lag_seconds, "lag_seconds")
        return (lag + micros(found.age_seconds, "age_seconds")) // MICRO
    except BadInput:
        return None


def rtds(
    data: str | bytes, follows: Callable[[str], bool] = lambda _: True
) -> tuple[str, LeaderFill] | None:
    """Return (type, fill) of an activity frame, or None for other topics, and for what cannot be
    read of wallets that nobody follows: the stream tells of everybody's trades.
    """
    frame = decode(data, _RtdsFrame)
    if frame.topic != "activity" or frame.type not in ("trades", "orders_matched"):
        return None
    p = decode(bytes(frame.payload), _RtdsPayload)
    try:
        return frame.type, leader_fill(
            p.transaction_hash, p.proxy_wallet, p.asset, p.side, p.size, p.price, p.condition_id,
            p.outcome, p.title, p.timestamp,
        )  # fmt: skip
    except BadInput:
        if follows(p.proxy_wallet.lower()):
            raise
        return None


def leader_fill(
    tx: str, wallet: str, token: str, side: str, size: Number, price: Number, condition: str,
    outcome: str, title: str, timestamp: int, *, usdc: Number | None = None,
) -> LeaderFill:  # fmt: skip
    """Return a row of a feed, every field bounded; raises BadInput."""
    if side not in ("BUY", "SELL"):
        raise BadInput(f"side: expected BUY or SELL, found {printable(side, 20)!r}")
    shares = micros(size, "size")
    if shares == 0:
        raise BadInput("size: expected more than 0")
    at = price_of(price)
    return LeaderFill(
        tx=_match(_HEX32, tx, "transaction hash").lower(),
        wallet=_match(_ADDRESS, wallet, "wallet").lower(),
        token=token_id(token),
        side=Side(side),
        shares=shares,
        usdc=notional(shares, at) if usdc is None else micros(usdc, "usdc_size"),
        condition=condition_id(condition),
        outcome=printable(outcome, 40),
        title=printable(title, 200),
        traded_s=_second(timestamp),
    )


def _second(timestamp: int) -> int:
    if timestamp not in _SECONDS:
        raise BadInput(f"timestamp: expected seconds since 1970, found {timestamp}")
    return timestamp


def position(data: bytes) -> tuple[TokenId, ConditionId, int]:
    """Return (token, condition, shares) of a /v2/positions row."""
    row = decode(data, _PositionRow)
    condition = condition_id(row.condition_id)
    return token_id(row.token_id), condition, micros(row.current_size, "current_size")


def market(data: bytes) -> Market:
    """Return GET /clob-markets/{condition}."""
    facts = decode(data, _MarketFacts)
    if len(facts.t) != 2 or facts.v not in ("v1", "v2"):
        raise BadInput(
            "market: expected two tokens of version v1 or v2,"
            f" found {len(facts.t)} of {printable(facts.v)}"
        )
    charged = facts.fd or _FeeFact()
    rate, exponent = fee(charged.r, charged.e, "fd")
    return Market(
        condition=condition_id(facts.c, "c"),
        tokens=(token_id(facts.t[0].t), token_id(facts.t[1].t)),
        outcomes=(printable(facts.t[0].o, 40), printable(facts.t[1].o, 40)),
        tick=tick(facts.mts, "mts"),
        min_shares=micros(facts.mos, "mos"),
        neg_risk=facts.nr,
        version="v1" if facts.v == "v1" else "v2",
        fee_rate=rate,
        fee_exponent=exponent,
        accepting=facts.ao,
    )


def book(data: bytes, *, now_us: int) -> Shown:
    """Return an order book; the exchange lists levels worst first, `Book` best first."""
    message = decode(data, _BookMessage)
    sides = []
    for levels, worst_first in ((message.bids, True), (message.asks, False)):
        pairs = {price_of(level.price): micros(level.size, "size") for level in levels}
        sides.append(tuple(sorted(((p, s) for p, s in pairs.items() if s), reverse=worst_first)))
    told = tick(message.tick_size, "tick_size") if message.tick_size else None
    found = Book(sides[0], sides[1], now_us)
    return Shown(token_id(message.asset_id), found, message.market.lower(), told)


def token_id(text: str) -> TokenId:
    """Return an outcome token id: the decimal text of a uint256; raises BadInput."""
    token = _match(_DIGITS, text, "token")
    if int(token) >= 2**256:
        raise BadInput("token: expected a uint256")
    return TokenId(str(int(token)))


def condition_id(text: str, field: str = "condition") -> ConditionId:
    """Return a condition: 0x and 64 hex digits, in lower case; raises BadInput."""
    return ConditionId(_match(_HEX32, text, field).lower())


def tick(value: Any, field: str) -> int:
    """Return a tick that is known, in micro-USDC; raises BadInput."""
    found = price_of(value, field)
    if found not in TICKS:
        raise BadInput(f"{field}: expected a tick of {sorted(TICKS)}, found {found}")
    return found


def fee(rate: Any, exponent: int, field: str) -> tuple[int, int]:
    """Return a fee's rate in millionths and its exponent; raises BadInput."""
    if not 0 <= exponent <= 8:
        raise BadInput(f"{field}: expected an exponent from 0 to 8, found {exponent}")
    return price_of(rate, field), exponent


def _match(pattern: re.Pattern[str], text: str, field: str) -> str:
    if not pattern.fullmatch(text):
        raise BadInput(f"{field}: expected {pattern.pattern}, found {printable(text, 40)!r}")
    return text


def micros(value: Any, field: str) -> int:
    """Return an amount in millionths; raises BadInput."""
    try:
        return parse_micros(value, field=field, at_most=MAX_MICROS)
    except ValueError as error:
        raise BadInput(str(error)) from None


def price_of(value: Any, field: str = "price") -> int:
    """Return a price in micro-USDC; raises BadInput."""
    try:
        return parse_price(value, field=field)
    except ValueError as error:
        raise BadInput(str(error)) from None
