"""Trades of ours as the exchange shows them, and which part of them belongs to an order of ours.

Decoded and bounded as everything is in wire.py.
"""

import re

import msgspec

from bot.model.fees import taker_fee
from bot.model.fill import Fill, Settlement
from bot.model.market import Market, Side
from bot.model.order import OrderId
from bot.model.units import MICRO, notional, printable
from bot.polymarket import wire

_TX = re.compile(r"0x[0-9a-fA-F]{64}")
_SECONDS = re.compile(r"[0-9]{1,16}")
#: What is later than 2100 in seconds is in milliseconds.
_LATEST_S = 4_102_444_800


class MakerOrder(msgspec.Struct):
    """One resting order that a trade matched."""

    order_id: str
    matched_amount: wire.Number
    price: wire.Number
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
    size: wire.Number
    price: wire.Number
    status: str
    maker_orders: list[MakerOrder] = []
    match_time: str = "0"
    matchtime: str = "0"
    owner: str = ""
    maker_address: str = ""
    transaction_hash: str | None = None


def status_of(text: str) -> Settlement:
    """Return a trade's settlement; raises wire.BadInput for a status nobody has documented."""
    bare = text.upper().removeprefix("TRADE_STATUS_")
    known = {"MATCHED_NOT_BROADCASTED": Settlement.MATCHED, **{s.upper(): s for s in Settlement}}
    if bare not in known:
        raise wire.BadInput(f"trade status: found {printable(text, 40)!r}")
    return known[bare]


def our_fills(trade: Trade, *, owner: str, wallet: str, market: Market) -> list[Fill]:
    """Return the parts of a trade that belong to this wallet's orders, whichever key placed them.

    `owner` is the id of our API key. Raises wire.BadInput if it names no order of ours: it was
    shown to us because it does.
    """
    ids = [trade.taker_order_id] if _is_ours(trade, owner, wallet) else []
    ids += [m.order_id for m in trade.maker_orders if _is_ours(m, owner, wallet)]
    if not ids:
        raise wire.BadInput("a trade that names neither our API key nor our wallet")
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
        shares, at = wire.micros(mine.matched_amount, "matched_amount"), wire.price_of(mine.price)
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
        raise wire.BadInput(f"side: expected BUY or SELL, found {printable(side, 20)!r}")
    chain = trade.transaction_hash
    return Fill(
        trade_id=printable(trade.id, 80),
        order_id=order_id,
        condition=market.condition,
        token=wire.token_id(token),
        side=Side(side),
        shares=shares,
        usdc=usdc,
        fee=fee,
        settlement=status_of(trade.status),
        tx=chain if chain and _TX.fullmatch(chain) else None,
        matched_us=matched_s(trade) * MICRO,
    )


def matched_s(trade: Trade) -> int:
    """Return when a trade matched, in seconds since the epoch; 0 where it does not say."""
    seconds = next(
        (int(t) for t in (trade.match_time, trade.matchtime) if _SECONDS.fullmatch(t) and int(t)), 0
    )
    return seconds // 1000 if seconds > _LATEST_S else seconds


def _taker_piece(maker: MakerOrder, trade: Trade) -> tuple[int, int, int]:
    shares, at = wire.micros(maker.matched_amount, "matched_amount"), wire.price_of(maker.price)
    theirs = notional(shares, at)
    return (
        (shares, theirs, at)
        if maker.asset_id == trade.asset_id
        else (shares, shares - theirs, MICRO - at)
    )


def _whole(trade: Trade) -> tuple[int, int, int]:
    shares, at = wire.micros(trade.size, "size"), wire.price_of(trade.price)
    return shares, notional(shares, at), at
