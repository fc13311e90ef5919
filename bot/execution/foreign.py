"""What happened to the wallet past this ledger: trades that nobody here has ordered, and credits.

Somebody's hand, another bot, or this one before a restored backup. It belongs to `external`, or
to the portfolio whose order it was, where a ledger that a restore kept beside this one knows.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from bot.execution import fills
from bot.ledger import account, control, covers, leaders, orders, positions
from bot.ledger.db import Tx
from bot.model.fill import Fill, Settlement
from bot.model.intent import EXTERNAL, Cover, Portfolio, leader_of
from bot.model.market import ConditionId, Side, TokenId
from bot.model.order import Order, OrderId, OrderKind, OrderState
from bot.model.units import decimal_text

#: Fees are cut to so many micro-USDC on the way: the most by which a fill may differ from ours.
ROUNDING = 10


def book(tx: Tx, fill: Fill, owner: Portfolio | None, *, now_us: int) -> str:
    """Book a final trade of an unknown order once, and return what was done, in words.

    A purchase belongs to `owner`, who is known to have ordered it, or to `external`. A sale
    takes from `owner`, or from `external` first and then from all who hold, in proportion.
    """
    fill = fill if fill.matched_us else replace(fill, matched_us=now_us)
    alone = owner or (EXTERNAL if fill.side is Side.BUY else None)
    shared = {alone: fill.shares} if alone else _from_whom(tx, fill)
    rest = fill
    for portfolio, shares in shared.items():
        # The order's own id stays with whoever it was first booked to; each other owner has one of
        # his own.
        ident = _order_of(tx, fill, portfolio)
        piece = replace(_part(rest, shares), order_id=OrderId(ident))
        rest = _less(rest, piece)
        _store(tx, piece, portfolio, now_us=now_us)
        _uncover(tx, fill, portfolio, now_us=now_us)
    whose = ", ".join(
        f"{decimal_text(shares)} to {portfolio}" for portfolio, shares in shared.items()
    )
    side = "bought" if fill.side is Side.BUY else "sold"
    text = (
        f"{decimal_text(fill.shares)} shares {side} for {decimal_text(fill.usdc)} USDC by order"
        f" {fill.order_id}, which is not in the ledger: booked {whose}"
    )
    control.record(tx, "executor", "trade.foreign", text, now_us=now_us)
    return text


def _from_whom(tx: Tx, fill: Fill) -> dict[Portfolio, int]:
    """Return what a sale takes from whom; of what nobody holds `external` is short."""
    taken = dict(_losers(tx, fill.token, fill.shares))
    if (short := fill.shares - sum(taken.values())) > 0:
        taken[EXTERNAL] = taken.get(EXTERNAL, 0) + short
    return taken


def _order_of(tx: Tx, fill: Fill, portfolio: Portfolio) -> str:
    """Return the id under which a portfolio's part of a foreign order is kept."""
    known = orders.order(tx, fill.order_id)
    own = known is None or known.portfolio == portfolio
    return fill.order_id if own else _ident(f"{fill.order_id}|{portfolio}")


def _part(fill: Fill, shares: int) -> Fill:
    """Return so many shares of a fill, with their part of what they cost: all of it for all."""
    usdc, fee = fill.usdc * shares // fill.shares, fill.fee * shares // fill.shares
    return replace(fill, shares=shares, usdc=usdc, fee=fee)


def _less(fill: Fill, part: Fill) -> Fill:
    return replace(
        fill, shares=fill.shares - part.shares, usdc=fill.usdc - part.usdc, fee=fill.fee - part.fee
    )


def _uncover(tx: Tx, fill: Fill, portfolio: Portfolio, *, now_us: int) -> None:
    """Let a leader's portfolio go on from what it holds now: its part of him has changed."""
    wallet = leader_of(portfolio)
    if wallet is None or fill.side is Side.SELL:
        return
    if covers.get(tx, portfolio, fill.token) is not None:
        return  # booking has counted it into the cover, and asks whether he is still there
    held = max(positions.shares_of(tx, portfolio, fill.token), 0)
    exposure = leaders.exposure_decided(tx, wallet, fill.condition, fill.token)
    covers.store(tx, portfolio, fill.token, Cover(held, exposure), now_us=now_us)


def move_shares(
    tx: Tx, portfolio: Portfolio, condition: str, token: str, change: int, *, now_us: int
) -> None:
    """Book shares that came or went without a trade, at cost: they make neither profit nor loss.

    No collateral has moved, so the opening takes back what the fill's cost is.
    """
    held = {h.portfolio: h for h in positions.holders(tx, token)}.get(portfolio)
    cost = held.cost * -change // held.shares if held and change < 0 else 0
    ident = OrderId(_ident(f"{token}|{portfolio}|{change}|{now_us}"))
    side = Side.BUY if change > 0 else Side.SELL
    fill = Fill(
        trade_id=f"moved-{ident[2:18]}",
        order_id=ident,
        condition=ConditionId(condition),
        token=TokenId(token),
        side=side,
        shares=abs(change),
        usdc=cost,
        fee=0,
        settlement=Settlement.CONFIRMED,
        tx=None,
        matched_us=now_us,
    )
    _store(tx, fill, portfolio, now_us=now_us)
    account.move_opening(tx, -cost, now_us=now_us)


def shrink(tx: Tx, condition: str, token: str, missing: int, *, now_us: int) -> None:
    """Take shares that are not there any more from whoever holds them."""
    for portfolio, shares in _losers(tx, token, missing):
        move_shares(tx, portfolio, condition, token, -shares, now_us=now_us)


def _losers(tx: Tx, token: str, missing: int) -> Iterator[tuple[Portfolio, int]]:
    """Yield who loses how much of what is gone: `external` first, then the others in proportion."""
    holders = positions.holders(tx, token)
    total = sum(held.shares for held in holders)
    left = min(missing, total)
    for held in holders:
        part = min(left, held.shares) if held.portfolio == EXTERNAL else left * held.shares // total
        if part > 0:
            yield held.portfolio, part
        left, total = left - part, total - held.shares


def redeem(tx: Tx, owed: positions.Receivable, *, now_us: int) -> str:
    """Note that the shares of an ended market are gone, so that nothing is owed for them."""
    positions.redeemed(tx, owed, now_us=now_us)
    text = (
        f"token {owed.token} of an ended market has left the wallet:"
        f" {decimal_text(owed.usdc)} USDC are to be redeemed no more"
    )
    control.record(tx, "executor", "account.redeemed", text, now_us=now_us)
    return text


def credit(tx: Tx, change: int, *, now_us: int) -> str:
    """Book collateral that came from elsewhere, or that rounding took.

    Neither is profit or loss.
    """
    account.move_opening(tx, change, now_us=now_us)
    what = (
        "came from elsewhere: a deposit, redemption, yield, reward or rebate"
        if change > 0
        else "were rounded"
    )
    text = f"{decimal_text(abs(change))} USDC {what}"
    control.record(tx, "executor", "account.credit", text, now_us=now_us)
    return text


def _ident(text: str) -> str:
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


def _store(tx: Tx, fill: Fill, portfolio: Portfolio, *, now_us: int) -> None:
    order = orders.order(tx, fill.order_id)
    if order is None:
        offered = (fill.usdc, fill.shares)
        maker, taker = offered if fill.side is Side.BUY else offered[::-1]
        order = Order(
            id=fill.order_id,
            intent_id=None,
            attempt=1,
            portfolio=portfolio,
            condition=fill.condition,
            token=fill.token,
            side=fill.side,
            kind=OrderKind.FAK,
            price=0,
            maker_amount=maker,
            taker_amount=taker,
            reserved=0,
            body="",
            state=OrderState.OPEN,
            created_us=now_us,
            deadline_us=now_us,
            reason="foreign",
        )
        orders.add(tx, order)
        orders.move(tx, order, OrderState.FILLED, now_us=now_us)
    fills.book(tx, replace(order, state=OrderState.FILLED), fill, now_us=now_us)
