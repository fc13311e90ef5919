"""Cancelling a resting order, and the two ways in which the answer is not the truth.

`canceled` means accepted: a fill that was on its way still comes. `not_canceled` means nothing:
the order may be live. What is held by a taker delay cannot be cancelled.
"""

from typing import TYPE_CHECKING

from bot.sim.entities import MICRO, Account, Piece, SimOrder

if TYPE_CHECKING:
    from bot.sim.exchange import Exchange

NOT_FOUND = "order not found"
ALREADY = "order can't be found - already canceled or matched"
OVER = "CANCELED_MARKET_RESOLVED"
_DEEP = 10**9 * MICRO


def cancel(exchange: "Exchange", order_id: str, api_key: str, status: str) -> str | None:
    """Take an order off its book; return None, or why it cannot be cancelled."""
    order = exchange.orders.get(order_id)
    if order is None or order.owner_key != api_key:
        return NOT_FOUND
    book = exchange.books[order.market.condition]
    if order_id not in book.orders:
        return ALREADY
    if api_key and status == "CANCELED":
        if exchange.quirks.take("cancel_denied"):
            return ALREADY
        quirk = exchange.quirks.take("cancel_filled")
        if quirk is not None:
            exchange.coming.append((exchange.now_us + quirk.ms * 1000, order))
    del book.orders[order_id]
    order.status = status
    exchange.tell("order", (order, "CANCELLATION"))
    exchange.tell("book", order.market)
    return None


def fill(exchange: "Exchange", order: SimOrder) -> None:
    """Let somebody take all that is left of an order, wherever the order stands by now."""
    shares = order.left
    if shares <= 0:
        return
    usdc = shares * order.price // MICRO
    buys = order.side == "SELL"
    somebody = exchange.add_account(Account("0x" + "5b" * 20, collateral=_DEEP, name="somebody"))
    somebody.shares[order.token] = _DEEP
    taker = SimOrder(
        id=exchange.hash(),
        account=somebody,
        owner_key="",
        market=order.market,
        token=order.token,
        side="BUY" if buys else "SELL",
        price=order.price,
        making=usdc if buys else shares,
        taking=shares if buys else usdc,
        kind="FAK",
        size=shares,
        number=len(exchange.orders),
        created_s=exchange.now_us // MICRO,
    )
    exchange.execute(taker, [Piece(order, shares, usdc, usdc, mint=False)])
