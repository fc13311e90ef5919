"""Reports of somebody else's detector, decoded and bounded as everything is in wire.py."""

from typing import Annotated

import msgspec

from bot.model.leader import LeaderFill
from bot.polymarket.wire import Number, decode, leader_fill


class _Report(msgspec.Struct):
    tx: str
    wallet: str
    token: str
    condition: str
    side: str
    size: Number
    price: Number
    timestamp: int
    outcome: str = ""
    title: str = ""


class _Reports(msgspec.Struct):
    trades: Annotated[list[_Report], msgspec.Meta(min_length=1, max_length=100)]


def reported(body: bytes) -> list[LeaderFill]:
    """Return the trades of a report (see bot/detect/hook.py); raises BadInput.

    `size` is all that the wallet has traded of the token, this way, in the transaction so far.
    """
    return [
        leader_fill(
            r.tx, r.wallet, r.token, r.side, r.size, r.price, r.condition, r.outcome, r.title,
            r.timestamp,
        )
        for r in decode(body, _Reports).trades
    ]  # fmt: skip
