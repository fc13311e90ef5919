"""Book evidence: fill, position, daily PnL, cash and order state move in one transaction."""

from dataclasses import replace
from typing import Literal

from bot import failpoints
from bot.ledger import control, leaders, orders
from bot.ledger.db import Tx, rows, scalar
from bot.model import FINAL, ControlMode, Fill, Order, OrderState, Settlement, Side, move
from bot.pnl import Day, Fold, fold
from bot.polymarket.amounts import CENT
from bot.risk import tripped
from bot.settings import Risk
from bot.units import notional, utc_day

#: MATCHED may go anywhere, RETRYING may still fail or settle; the rest only forward.
_RANK = {Settlement.MATCHED: 0, Settlement.RETRYING: 1, Settlement.MINED: 2, Settlement.CONFIRMED: 3}


async def book(tx: Tx, order: Order, fill: Fill, *, now_us: int) -> Literal["fill", "settlement"] | None:
    """Book one fill, or its newer settlement, once; return which of the two it was, or None.

    Events may repeat and come in any order: a final settlement never changes again, and a
    FAILED one takes its shares, cost, PnL and cash back exactly.
    """
    known = await orders.fill(tx, fill.trade_id, order.id)
    if known is not None and not _newer(known.settlement, fill.settlement):
        return None
    if known is None:
        before = await _fold(tx, order)
        await orders.add_fill(tx, fill, order)
    else:
        before = await _fold(tx, order)
        await orders.settle_fill(tx, known, fill.settlement, fill.tx, now_us=now_us)
    if known is None or fill.settlement is Settlement.FAILED:
        await _store(tx, order, before, await _fold(tx, order), now_us=now_us)
    if fill.settlement is Settlement.FAILED:
        if fill.side is Side.SELL:
            # The shares are ours again and the leader is gone: sell them anew.
            await _sell_rest(tx, order, known.shares if known else fill.shares, now_us=now_us)
        text = f"trade {fill.trade_id} of order {order.id} failed on the chain and was reversed"
        await control.record(tx, "executor", "fill.failed", text, now_us=now_us)
    return "fill" if known is None else "settlement"


def _newer(old: Settlement, new: Settlement) -> bool:
    if old in FINAL:
        return False
    return new is Settlement.FAILED or _RANK[new] > _RANK[old]


async def _fold(tx: Tx, order: Order) -> Fold:
    found = await rows(
        tx,
        "SELECT trade_id, order_id, token, side, shares, usdc, fee, settlement, tx, matched_us FROM fill"
        " WHERE wallet = :wallet AND token = :token",
        wallet=order.wallet,
        token=order.token,
    )
    return fold(Fill(**{**r, "side": Side(r["side"]), "settlement": Settlement(r["settlement"])}) for r in found)


async def _store(tx: Tx, order: Order, before: Fold, after: Fold, *, now_us: int) -> None:
    await orders.store_position(tx, order, after.position, now_us=now_us)
    await orders.add_cash(tx, after.cash - before.cash, now_us=now_us)
    for day in sorted({*before.days, *after.days}):
        change = after.days.get(day, Day()).minus(before.days.get(day, Day()))
        await orders.add_daily(
            tx, day, realized=change.realized, fees=change.fees, bought=change.bought, sold=change.sold
        )


async def finish(tx: Tx, order: Order, *, evidence_complete: bool, now_us: int) -> OrderState | None:
    """End an open order if its fills prove the end; return the new state, or None.

    Its fills are complete when they reach what the exchange said has matched; where it said
    nothing, when the caller has looked for longer than its lookups lag (`evidence_complete`).
    """
    current = await orders.order(tx, order.id)
    if current is None or current.state is not OrderState.OPEN:
        return None
    shares, usdc = await orders.filled(tx, order.id)
    if shares < (current.matched or 0) or (current.matched is None and not evidence_complete):
        # What the exchange said has matched is proven: its trades will be found, however late.
        return None
    if shares == 0:
        state = OrderState.CANCELLED
    elif current.side is Side.SELL:
        state = OrderState.FILLED if shares >= current.making else OrderState.PARTIAL
    else:
        # A budget that cannot buy another hundredth of a share is spent.
        rest = current.making - usdc
        state = OrderState.FILLED if rest < notional(2 * CENT, current.price) else OrderState.PARTIAL
    await end(tx, current, state, now_us=now_us)
    return state


async def end(tx: Tx, order: Order, state: OrderState, *, now_us: int, reason: str | None = None) -> None:
    """Move an order to its end and free its reservation; what an exit did not sell is tried again."""
    await orders.set_state(tx, order.id, move(order.state, state), reason=reason)
    failpoints.reach("end.written")
    if order.side is not Side.SELL or state is OrderState.FILLED:
        return
    sold, _ = await orders.filled(tx, order.id)
    await _sell_rest(tx, order, order.making - sold, now_us=now_us)


async def _sell_rest(tx: Tx, order: Order, rest: int, *, now_us: int) -> None:
    held = await scalar(
        tx,
        "SELECT shares FROM position WHERE wallet = :wallet AND token = :token",
        wallet=order.wallet,
        token=order.token,
    )
    if min(rest, held or 0) >= CENT:
        await leaders.retry_exit(tx, order.signal_id, rest=min(rest, held), now_us=now_us)


async def guard_breaker(tx: Tx, limits: Risk, *, failed: bool | None, now_us: int) -> str | None:
    """Count an error (True) or a success (False), then trip the breaker if a limit is reached.

    The breaker is the control row: entries stop in every process until the operator resumes.
    Returns the reason if it tripped now.
    """
    if failed is not None:
        await control.count_error(tx, reset=not failed)
    state = await control.read(tx, now_us=now_us)
    day = utc_day(now_us)
    realized, _ = await orders.daily(tx, day)
    reason = tripped(state.loss(day, realized), state.errors, limits)
    if reason is None or state.mode is not ControlMode.RUNNING:
        return None
    await control.steer(tx, ControlMode.PAUSED, reason=reason, actor="breaker", now_us=now_us)
    await control.alert(
        tx, f"breaker:{now_us}", "critical", f"{reason}; entries stop until botctl resume", now_us=now_us
    )
    return reason


def at(fill: Fill, now_us: int) -> Fill:
    """Return the fill with our clock as match time where the exchange gave none."""
    return fill if fill.matched_us else replace(fill, matched_us=now_us)
