"""JSON shapes of the exchange, decoded into bounded types at the edge.

Only fields that are used are declared; unknown ones are ignored, because the exchange adds
fields without notice. Every decoder raises BadInput, which names the field and shows nothing raw.
"""

import re
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from bot.model.amounts import TICKS
from bot.model.fees import taker_fee
from bot.model.fill import Fill, Settlement
from bot.model.leader import LeaderFill
from bot.model.market import Book, ConditionId, Market, Side, TokenId
from bot.model.order import OrderId
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


class _ActivityRow(msgspec.Struct):
    type: str
    proxy_wallet: str
    transaction_hash: str
    timestamp: int
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


class MakerOrder(msgspec.Struct):
    """One resting order that a trade matched."""

    order_id: str
    matched_amount: Number
    price: Number
    asset_id: str
    side: str = ""
    owner: str = ""
    maker_address: str = ""


class Trade(msgspec.Struct):
    """A trade of ours as GET /data/trades and the user channel show it."""

    id: str
    taker_order_id: str
    market: str
    asset_id: str
    side: str
    size: Number
    price: Number
    status: str
    maker_orders: list[MakerOrder] = []
    match_time: str = "0"
    matchtime: str = "0"
    owner: str = ""
    maker_address: str = ""
    transaction_hash: str | None = None


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


def activity(data: bytes) -> LeaderFill | None:
    """Return a TRADE row of /v2/activity, or None for rows of other types."""
    row = decode(data, _ActivityRow)
    if row.type != "TRADE":
        return None
    return _leader_fill(
        row.transaction_hash, row.proxy_wallet, row.token_id, row.side, row.size, row.price,
        row.condition_id, row.outcome, row.title, row.timestamp, usdc=row.usdc_size,
    )  # fmt: skip


def rtds(data: str | bytes) -> tuple[str, LeaderFill] | None:
    """Return (type, fill) of an activity frame, or None for frames of other topics."""
    frame = decode(data, _RtdsFrame)
    if frame.topic != "activity" or frame.type not in ("trades", "orders_matched"):
        return None
    p = decode(bytes(frame.payload), _RtdsPayload)
    return frame.type, _leader_fill(
        p.transaction_hash, p.proxy_wallet, p.asset, p.side, p.size, p.price, p.condition_id,
        p.outcome, p.title, p.timestamp,
    )  # fmt: skip


def _leader_fill(
    tx: str, wallet: str, token: str, side: str, size: Number, price: Number, condition: str,
    outcome: str, title: str, timestamp: int, *, usdc: Number | None = None,
) -> LeaderFill:  # fmt: skip
    if side not in ("BUY", "SELL"):
        raise BadInput(f"side: expected BUY or SELL, found {printable(side, 20)!r}")
    if timestamp not in _SECONDS:
        raise BadInput(f"timestamp: expected seconds since 1970, found {timestamp}")
    shares = _micros(size, "size")
    if shares == 0:
        raise BadInput("size: expected more than 0")
    at = _price(price)
    return LeaderFill(
        tx=_match(_HEX32, tx, "transaction hash").lower(),
        wallet=_match(_ADDRESS, wallet, "wallet").lower(),
        token=token_id(token),
        side=Side(side),
        shares=shares,
        usdc=notional(shares, at) if usdc is None else _micros(usdc, "usdc_size"),
        condition=ConditionId(_match(_HEX32, condition, "condition").lower()),
        outcome=printable(outcome, 40),
        title=printable(title, 200),
        traded_s=timestamp,
    )


def position(data: bytes) -> tuple[TokenId, ConditionId, int]:
    """Return (token, condition, shares) of a /v2/positions row."""
    row = decode(data, _PositionRow)
    condition = ConditionId(_match(_HEX32, row.condition_id, "condition").lower())
    return token_id(row.token_id), condition, _micros(row.current_size, "current_size")


def market(data: bytes) -> Market:
    """Return GET /clob-markets/{condition}."""
    facts = decode(data, _MarketFacts)
    if len(facts.t) != 2 or facts.v not in ("v1", "v2"):
        raise BadInput(
            "market: expected two tokens of version v1 or v2,"
            f" found {len(facts.t)} of {printable(facts.v)}"
        )
    tick = _price(facts.mts, "mts")
    if tick not in TICKS:
        raise BadInput(f"mts: expected a tick of {sorted(TICKS)}, found {tick}")
    fee = facts.fd or _FeeFact()
    if not 0 <= fee.e <= 8:
        raise BadInput(f"fd.e: expected an exponent from 0 to 8, found {fee.e}")
    return Market(
        condition=ConditionId(_match(_HEX32, facts.c, "c").lower()),
        tokens=(token_id(facts.t[0].t), token_id(facts.t[1].t)),
        outcomes=(printable(facts.t[0].o, 40), printable(facts.t[1].o, 40)),
        tick=tick,
        min_shares=_micros(facts.mos, "mos"),
        neg_risk=facts.nr,
        version="v1" if facts.v == "v1" else "v2",
        fee_rate=_price(fee.r, "fd.r"),
        fee_exponent=fee.e,
        accepting=facts.ao,
    )


def book(data: bytes, *, now_us: int) -> tuple[TokenId, Book]:
    """Return an order book; the exchange lists levels worst first, `Book` best first."""
    message = decode(data, _BookMessage)
    sides = []
    for levels, worst_first in ((message.bids, True), (message.asks, False)):
        pairs = {_price(level.price): _micros(level.size, "size") for level in levels}
        sides.append(tuple(sorted(((p, s) for p, s in pairs.items() if s), reverse=worst_first)))
    return token_id(message.asset_id), Book(sides[0], sides[1], now_us)


def status_of(text: str) -> Settlement:
    """Return a trade's settlement; raises BadInput for a status nobody has documented."""
    bare = text.upper().removeprefix("TRADE_STATUS_")
    known = {"MATCHED_NOT_BROADCASTED": Settlement.MATCHED, **{s.upper(): s for s in Settlement}}
    if bare not in known:
        raise BadInput(f"trade status: found {printable(text, 40)!r}")
    return known[bare]


def our_fills(trade: Trade, *, owner: str, wallet: str, market: Market) -> list[Fill]:
    """Return the parts of a trade that belong to this wallet's orders, whichever key placed them.

    `owner` is the id of our API key. Raises BadInput if it names no order of ours: it was shown
    to us because it does.
    """
    ids = [trade.taker_order_id] if _is_ours(trade, owner, wallet) else []
    ids += [m.order_id for m in trade.maker_orders if _is_ours(m, owner, wallet)]
    if not ids:
        raise BadInput("a trade that names neither our API key nor our wallet")
    found = [our_fill(trade, OrderId(order_id), market) for order_id in dict.fromkeys(ids)]
    return [fill for fill in found if fill is not None]


def _is_ours(named: Trade | MakerOrder, owner: str, wallet: str) -> bool:
    return named.owner == owner or named.maker_address.lower() == wallet.lower()


def our_fill(trade: Trade, order_id: OrderId, market: Market) -> Fill | None:
    """Return the part of a trade that belongs to our order, or None.

    As taker we pay each resting order's price: its own where it traded our token, the rest of
    a dollar where it traded the complement (mint and merge). As maker we pay no fee.
    """
    mine = next((m for m in trade.maker_orders if m.order_id == order_id), None)
    if mine is not None:
        shares, at = _micros(mine.matched_amount, "matched_amount"), _price(mine.price)
        token, usdc, fee = mine.asset_id, notional(shares, at), 0
        taker_bought = trade.side == "BUY"
        side = mine.side or ("SELL" if taker_bought == (mine.asset_id == trade.asset_id) else "BUY")
    elif trade.taker_order_id == order_id:
        token, side = trade.asset_id, trade.side
        pieces = [_taker_piece(m, trade) for m in trade.maker_orders] or [_whole(trade)]
        shares, usdc = sum(p[0] for p in pieces), sum(p[1] for p in pieces)
        fee = taker_fee(shares, usdc, market.fee_rate, market.fee_exponent)
    else:
        return None
    if side not in ("BUY", "SELL"):
        raise BadInput(f"side: expected BUY or SELL, found {printable(side, 20)!r}")
    chain = trade.transaction_hash
    return Fill(
        trade_id=printable(trade.id, 80),
        order_id=order_id,
        condition=market.condition,
        token=token_id(token),
        side=Side(side),
        shares=shares,
        usdc=usdc,
        fee=fee,
        settlement=status_of(trade.status),
        tx=chain if chain and _HEX32.fullmatch(chain) else None,
        matched_us=matched_s(trade) * MICRO,
    )


def matched_s(trade: Trade) -> int:
    """Return when a trade matched, in seconds since the epoch; 0 where it does not say."""
    seconds = next(
        (int(t) for t in (trade.match_time, trade.matchtime) if _DIGITS.fullmatch(t) and int(t)), 0
    )
    return seconds // 1000 if seconds > _SECONDS.stop else seconds


def _taker_piece(maker: MakerOrder, trade: Trade) -> tuple[int, int, int]:
    shares, at = _micros(maker.matched_amount, "matched_amount"), _price(maker.price)
    theirs = notional(shares, at)
    return (
        (shares, theirs, at)
        if maker.asset_id == trade.asset_id
        else (shares, shares - theirs, MICRO - at)
    )


def _whole(trade: Trade) -> tuple[int, int, int]:
    shares, at = _micros(trade.size, "size"), _price(trade.price)
    return shares, notional(shares, at), at


def token_id(text: str) -> TokenId:
    """Return an outcome token id: the decimal text of a uint256; raises BadInput."""
    token = _match(_DIGITS, text, "token")
    if int(token) >= 2**256:
        raise BadInput("token: expected a uint256")
    return TokenId(str(int(token)))


def _match(pattern: re.Pattern[str], text: str, field: str) -> str:
    if not pattern.fullmatch(text):
        raise BadInput(f"{field}: expected {pattern.pattern}, found {printable(text, 40)!r}")
    return text


def _micros(value: Any, field: str) -> int:
    try:
        return parse_micros(value, field=field, at_most=MAX_MICROS)
    except ValueError as error:
        raise BadInput(str(error)) from None


def _price(value: Any, field: str = "price") -> int:
    try:
        return parse_price(value, field=field)
    except ValueError as error:
        raise BadInput(str(error)) from None
