"""What an order must look like before the exchange looks at its meaning."""

from typing import Any

from bot.sim.entities import MICRO, Piece, SimOrder, text

NO_FAK = (
    "no orders found to match with FAK order."
    " FAK orders are partially filled or killed if no match is found."
)
NO_FOK = "order couldn't be fully filled. FOK orders are fully filled or killed."
POST_ONLY = "invalid post-only order: order crosses book"
_FIELDS = {
    "salt": int, "maker": str, "signer": str, "tokenId": str, "makerAmount": str,
    "takerAmount": str, "side": str,
    "signatureType": int, "timestamp": str, "metadata": str, "builder": str, "expiration": str,
    "signature": str,
}  # fmt: skip


class Refused(Exception):
    """An order is refused with an HTTP status and a documented text."""

    def __init__(self, message: str, status: int = 400, order_id: str = "") -> None:
        super().__init__(message)
        self.status, self.order_id = status, order_id


def typed(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a POST /order body, each of its type and in bounds; raises Refused."""
    fields = body.get("order")
    if not isinstance(fields, dict) or body.get("orderType") not in ("GTC", "GTD", "FOK", "FAK"):
        raise Refused("Invalid order payload")
    for name, kind in _FIELDS.items():
        value = fields.get(name)
        if type(value) is not kind:
            raise Refused("Invalid order payload")
    numbers = ("tokenId", "makerAmount", "takerAmount", "timestamp", "expiration")
    if not all(
        fields[n].isascii() and fields[n].isdigit() and len(fields[n]) <= 78 for n in numbers
    ):
        raise Refused("Invalid order payload")
    addresses = all(len(fields[n]) == 42 and _is_hex(fields[n]) for n in ("maker", "signer"))
    words = all(len(fields[n]) == 66 and _is_hex(fields[n]) for n in ("metadata", "builder"))
    if (
        not addresses
        or not words
        or fields["side"] not in ("BUY", "SELL")
        or not 0 <= fields["signatureType"] <= 3
    ):
        raise Refused("Invalid order payload")
    if not 0 <= fields["salt"] < 2**256 or any(int(fields[n]) >= 2**256 for n in numbers):
        raise Refused("Invalid order payload")
    return fields


def _is_hex(value: str) -> bool:
    return value.startswith("0x") and all(c in "0123456789abcdefABCDEF" for c in value[2:])


def complete(order: SimOrder, pieces: list[Piece]) -> bool:
    """Return whether a FOK order is filled by these pieces."""
    if order.side == "SELL":
        return sum(p.shares for p in pieces) == order.making
    spent = sum(p.taker_usdc for p in pieces)
    return (order.making - spent) * MICRO < 20_000 * max(order.price, 1)


def tick_text(order: SimOrder, usdc: int, shares: int) -> str:
    """Return the refusal of a price that is off the tick."""
    price, tick = text(usdc * MICRO // shares), text(order.market.tick)
    return f"order {order.id} is invalid. Price ({price}) breaks minimum tick size rule: {tick}"
