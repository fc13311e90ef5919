"""Books, orders and trades as the exchange shows them, over REST and in frames."""

import hashlib
import json
from typing import Any

from bot.sim.book import Levels
from bot.sim.entities import MICRO, SimMarket, SimOrder, SimTrade, text
from bot.sim.exchange import Exchange


def shown_book(exchange: Exchange, token: str, market: SimMarket) -> dict[str, Any]:
    """Return a book as the exchange shows it: the best level is the last of each list."""
    bids, asks = exchange.books[market.condition].levels(token)
    worst_first = (sorted(bids.items()), sorted(asks.items(), reverse=True))
    levels = {
        name: [{"price": text(p), "size": text(s)} for p, s in side]
        for name, side in zip(("bids", "asks"), worst_first, strict=True)
    }
    digest = hashlib.sha1(json.dumps(levels).encode(), usedforsecurity=False).hexdigest()
    return {
        "market": market.condition, "asset_id": token, "timestamp": str(exchange.now_us // 1000),
        "hash": digest, **levels, "min_order_size": text(market.min_shares),
        "tick_size": text(market.tick), "neg_risk": market.neg_risk,
        "last_trade_price": text(market.last_price),
    }  # fmt: skip


def shown_order(order: SimOrder) -> dict[str, Any]:
    """Return an order as /data/orders shows it."""
    return {
        **_order(order), "status": f"ORDER_STATUS_{order.status}", "associate_trades": order.trades,
        "created_at": order.created_s,
    }  # fmt: skip


def order_frame(order: SimOrder, kind: str, now_us: int) -> dict[str, Any]:
    """Return an event of the user channel about an order.

    A status may go on with its reason: `PREFIX_reason text`; a killed order lacks some numbers.
    """
    frame = {
        **_order(order), "event_type": "order", "type": kind, "order_owner": order.owner_key,
        "status": f"{order.status}_{order.reason}" if order.reason else order.status,
        "created_at": str(order.created_s), "associate_trades": order.trades or None,
        "timestamp": str(now_us // 1000),
    }  # fmt: skip
    blanks = {"size_matched": "", "created_at": ""}
    return frame | (blanks if order.reason and order.status == "CANCELED" else {})


def _order(order: SimOrder) -> dict[str, Any]:
    return {
        "id": order.id, "owner": order.owner_key, "maker_address": order.account.wallet,
        "market": order.market.condition, "asset_id": order.token, "side": order.side,
        "original_size": text(order.size), "size_matched": text(order.matched),
        "price": text(order.price), "outcome": _label(order), "order_type": order.kind,
        "expiration": str(order.expiration_s),
    }  # fmt: skip


def shown_trade(trade: SimTrade, key: str) -> dict[str, Any]:
    """Return a trade as /data/trades shows it to the owner of `key`."""
    taker = trade.taker
    return {
        "id": trade.id, "taker_order_id": taker.id, "market": taker.market.condition,
        "asset_id": taker.token, "side": taker.side, "size": text(trade.shares),
        "fee_rate_bps": "0", "price": text(trade.usdc * MICRO // trade.shares),
        "status": f"TRADE_STATUS_{trade.status}", "match_time": str(trade.at_us // MICRO),
        "last_update": str(trade.updated_us // MICRO), "outcome": _label(taker),
        "bucket_index": trade.bucket, "owner": taker.owner_key,
        "maker_address": taker.account.wallet,
        "transaction_hash": "" if trade.status == "MATCHED" else trade.tx,
        "trader_side": "TAKER" if taker.owner_key == key else "MAKER",
        "maker_orders": [
            {
                "order_id": p.order.id, "owner": p.order.owner_key,
                "maker_address": p.order.account.wallet, "matched_amount": text(p.shares),
                "price": text(p.order.price), "fee_rate_bps": "0", "asset_id": p.order.token,
                "side": p.order.side, "outcome": _label(p.order),
            }
            for p in trade.pieces
        ],
    }  # fmt: skip


def trade_frame(trade: SimTrade, key: str, now_us: int) -> dict[str, Any]:
    """Return an event of the user channel about a trade."""
    shown = shown_trade(trade, key)
    return {
        **shown, "event_type": "trade", "type": "TRADE", "status": trade.status,
        "matchtime": shown["match_time"], "timestamp": str(now_us // 1000), "trade_owner": key,
    }  # fmt: skip


def last_trade_frame(trade: SimTrade, now_us: int) -> dict[str, Any]:
    """Return an event of the market channel about a trade: it names no wallet."""
    return {
        "event_type": "last_trade_price", "market": trade.taker.market.condition,
        "asset_id": trade.taker.token, "price": text(trade.usdc * MICRO // trade.shares),
        "size": text(trade.shares), "fee_rate_bps": "0", "side": trade.taker.side,
        "timestamp": str(now_us // 1000), "transaction_hash": trade.tx,
    }  # fmt: skip


def new_market_frame(market: SimMarket, number: int, now_us: int) -> dict[str, Any]:
    """Return an event of the market channel about a new market.

    It lacks what one needs to trade there: neg-risk, least size, end, version.
    """
    return {
        "event_type": "new_market", "id": str(number + 1), "market": market.condition,
        "condition_id": market.condition, "question": market.title, "slug": market.slug,
        "description": "", "assets_ids": list(market.tokens),
        "clob_token_ids": list(market.tokens), "outcomes": list(market.outcomes), "tags": [],
        "event_message": {
            "id": str(number + 1), "ticker": market.slug, "slug": market.slug,
            "title": market.title, "description": "",
        },
        "timestamp": str(now_us // 1000), "active": True, "game_start_time": "",
        "order_price_min_tick_size": text(market.tick), "taker_base_fee": "1000",
        "fees_enabled": market.fee_rate > 0,
    }  # fmt: skip


def changes(
    token: str, old: tuple[Levels, Levels], new: tuple[Levels, Levels]
) -> list[dict[str, str]]:
    """Return what changed in a book, as the market channel lists it."""
    best = {"best_bid": text(max(new[0], default=0)), "best_ask": text(min(new[1], default=MICRO))}
    return [
        {"asset_id": token, "price": text(p), "size": text(after.get(p, 0)), "side": side,
         "hash": "", **best}
        for side, before, after in (("BUY", old[0], new[0]), ("SELL", old[1], new[1]))
        for p in sorted({*before, *after}) if before.get(p) != after.get(p)
    ]  # fmt: skip


def _label(order: SimOrder) -> str:
    return order.market.outcomes[order.market.tokens.index(order.token)]
