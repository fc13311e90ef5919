"""Books, orders and trades as the exchange shows them."""

import hashlib
import json
from typing import Any

from bot.sim.exchange import Exchange
from bot.sim.world import MICRO, SimMarket, SimOrder, SimTrade, text


def shown_book(exchange: Exchange, token: str, market: SimMarket) -> dict[str, Any]:
    """Return a book as the exchange shows it: the best level is the last of each list."""
    bids, asks = exchange.books[market.condition].levels(token)
    levels = {
        "bids": [{"price": text(p), "size": text(s)} for p, s in sorted(bids.items())],
        "asks": [{"price": text(p), "size": text(s)} for p, s in sorted(asks.items(), reverse=True)],
    }
    digest = hashlib.sha1(json.dumps(levels).encode(), usedforsecurity=False).hexdigest()
    return {
        "market": market.condition, "asset_id": token, "timestamp": str(exchange.now_us // 1000), "hash": digest,
        **levels, "min_order_size": text(market.min_shares), "tick_size": text(market.tick),
        "neg_risk": market.neg_risk, "last_trade_price": text(market.last_price),
    }  # fmt: skip


def shown_order(order: SimOrder) -> dict[str, Any]:
    """Return an order as /data/orders shows it."""
    return {
        "id": order.id, "status": f"ORDER_STATUS_{order.status}", "owner": order.owner_key,
        "maker_address": order.account.wallet, "market": order.market.condition, "asset_id": order.token,
        "side": order.side, "original_size": text(order.size), "size_matched": text(order.matched),
        "price": text(order.price), "outcome": order.market.outcomes[order.market.tokens.index(order.token)],
        "expiration": str(order.expiration_s), "order_type": order.kind, "associate_trades": order.trades,
        "created_at": order.created_s,
    }  # fmt: skip


def shown_trade(trade: SimTrade, key: str) -> dict[str, Any]:
    """Return a trade as /data/trades shows it to the owner of `key`."""
    taker = trade.taker
    labels = taker.market.outcomes
    return {
        "id": trade.id, "taker_order_id": taker.id, "market": taker.market.condition, "asset_id": taker.token,
        "side": taker.side, "size": text(trade.shares), "fee_rate_bps": "0",
        "price": text(trade.usdc * MICRO // trade.shares), "status": f"TRADE_STATUS_{trade.status}",
        "match_time": str(trade.at_us // MICRO), "last_update": str(trade.updated_us // MICRO),
        "outcome": labels[taker.market.tokens.index(taker.token)], "bucket_index": 0, "owner": taker.owner_key,
        "maker_address": taker.account.wallet, "transaction_hash": "" if trade.status == "MATCHED" else trade.tx,
        "trader_side": "TAKER" if taker.owner_key == key else "MAKER",
        "maker_orders": [
            {
                "order_id": p.order.id, "owner": p.order.owner_key, "maker_address": p.order.account.wallet,
                "matched_amount": text(p.shares), "price": text(p.order.price), "fee_rate_bps": "0",
                "asset_id": p.order.token, "side": p.order.side,
                "outcome": labels[p.order.market.tokens.index(p.order.token)],
            }
            for p in trade.pieces
        ],
    }  # fmt: skip
