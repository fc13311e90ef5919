"""What an answer to a POST proves of its order."""

from dataclasses import replace

import pytest

from bot.execution.send import Proof, read
from bot.model.market import Side
from bot.model.order import (
    Accepted,
    Deferred,
    Order,
    OrderKind,
    OrderState,
    Rejected,
    RejectReason,
    Unknown,
)

BUY = Order(
    "0x1", 1, 1, "mirror/0x2", "0xc", "7", Side.BUY, OrderKind.FAK, 500_000,
    maker_amount=10_000_000, taker_amount=20_000_000, reserved=10_000_000, body="{}",
    state=OrderState.POSTING, created_us=1, deadline_us=2,
)  # fmt: skip
SELL = replace(BUY, side=Side.SELL, maker_amount=20_000_000, taker_amount=10_000_000)
POOR = Rejected(RejectReason.NO_BALANCE, "not enough balance")


@pytest.mark.parametrize(
    ("order", "outcome", "again", "proof"),
    [
        (BUY, Accepted("matched", 5, 9), False, Proof(OrderState.OPEN, 9, None, False)),
        (SELL, Accepted("matched", 5, 9), False, Proof(OrderState.OPEN, 5, None, False)),
        (BUY, Accepted("matched"), False, Proof(OrderState.OPEN, None, None, False)),
        (BUY, Accepted("live"), True, Proof(OrderState.OPEN, None, None, False)),
        (BUY, Accepted("delayed"), False, Proof(OrderState.OPEN, None, None, False)),
        (BUY, Accepted("duplicate"), True, Proof(OrderState.OPEN, None, None, False)),
        (BUY, Accepted("unmatched"), False, Proof(OrderState.OPEN, None, "unmatched", False)),
        (
            BUY,
            Accepted("killed", text="no match"),
            False,
            Proof(OrderState.OPEN, None, "killed: no match", False),
        ),
        (BUY, Deferred("HTTP 425", 1), False, Proof(OrderState.POSTING, None, "HTTP 425")),
        (
            BUY,
            POOR,
            False,
            Proof(OrderState.REJECTED, None, "no_balance: not enough balance", True),
        ),
        (
            SELL,
            POOR,
            False,
            Proof(OrderState.REJECTED, None, "no_balance: not enough balance", None),
        ),
        (
            BUY,
            Rejected(RejectReason.MARKET_NOT_READY, "later"),
            False,
            Proof(OrderState.REJECTED, None, "market_not_ready: later", False),
        ),
        (BUY, POOR, True, Proof(OrderState.UNKNOWN, None, "no_balance: not enough balance")),
        (BUY, Unknown("timeout"), False, Proof(OrderState.UNKNOWN, None, "timeout", True)),
        (BUY, Unknown("timeout"), True, Proof(OrderState.UNKNOWN, None, "timeout", None)),
    ],
)
def test_an_answer_proves_so_much_and_no_more(order, outcome, again, proof):
    assert read(order, outcome, again=again) == proof
