"""APPLY: fill, position, daily PnL, cash and order state move in one transaction.

Verbs over the ledger, run in one hop; nothing here waits for anybody.
"""

from dataclasses import replace
from typing import Literal

from bot import failpoints
from bot.config.schema import RiskSettings
from bot.ledger import account, control, leaders, orders, positions
from bot.ledger.db import Tx
from bot.model.amounts import CENT
from bot.model.control import ControlMode
from bot.model.fill import FINAL, Fill, Settlement
from bot.model.market import Side
from bot.model.order import Order, OrderState
from bot.model.pnl import Day, Fold, fold
from bot.model.units import notional, utc_day
from bot.risk.breaker import tripped

#: MATCHED may go anywhere, RETRYING may still fail or settle; the rest only forward.
_RANK = {
    Settlement.MATCHED: 0,
    Settlement.RETRYING: 1,
    Settlement.MINED: 2,
    Settlement.CONFIRMED: 3,
}
News = Literal["fill", "settlement"]


def apply(tx: Tx, fill: Fill, limits: RiskSettings, *, now_us: int) -> News | None:
    """Book what evidence says of one fill of ours; return what was new in it, or None.

    A fill of an order that the ledger does not know is not ours to book.
    """
    order = orders.order(tx, fill.order_id)
    if order is None:
        return None
    # Where the exchange gave no time, our clock has to do.
    fill = fill if fill.matched_us else replace(fill, matched_us=now_us)
    changed = book(tx, order, fill, now_us=now_us)
    if order.state in (OrderState.POSTING, OrderState.UNKNOWN):
        # A trade is proof that the order landed, whatever became of the answer.
        orders.move(tx, order, OrderState.OPEN)
        guard_breaker(tx, limits, failed=False, now_us=now_us)
    if changed:
        finish(tx, order, evidence_complete=False, now_us=now_us)
        guard_breaker(tx, limits, failed=None, now_us=now_us)
        failpoints.reach(f"{changed}.written")
    return changed


def book(tx: Tx, order: Order, fill: Fill, *, now_us: int) -> News | None:
    """Book one fill, or its newer settlement, once; return which of the two it was, or None.

    Events may repeat and come in any order: a final settlement never changes again, and a
    FAILED one takes its shares, cost, PnL and cash back exactly.
    """
    known = orders.fill(tx, fill.trade_id, order.id)
    if known is not None and not _newer(known.settlement, fill.settlement):
        return None
    before = fold(orders.fills_of(tx, order.wallet, order.token))
    if known is None:
        orders.add_fill(tx, fill, order)
    else:
        orders.settle_fill(tx, known, fill.settlement, fill.tx, now_us=now_us)
    if known is None or fill.settlement is Settlement.FAILED:
        after = fold(orders.fills_of(tx, order.wallet, order.token))
        _store(tx, order, before, after, now_us=now_us)
    if fill.settlement is Settlement.FAILED:
        if fill.side is Side.SELL:
            # The shares are ours again and the leader is gone: sell them anew.
            _sell_rest(tx, order, known.shares if known else fill.shares, now_us=now_us)
        text = f"trade {fill.trade_id} of order {order.id} failed on the chain and was reversed"
        control.record(tx, "executor", "fill.failed", text, now_us=now_us)
    return "fill" if known is None else "settlement"


def _newer(old: Settlement, new: Settlement) -> bool:
    if old in FINAL:
        return False
    return new is Settlement.FAILED or _RANK[new] > _RANK[old]


def _store(tx: Tx, order: Order, before: Fold, after: Fold, *, now_us: int) -> None:
    positions.store_position(tx, order, after.position, now_us=now_us)
    account.add_cash(tx, after.cash - before.cash, now_us=now_us)
    for day in sorted({*before.days, *after.days}):
        change = after.days.get(day, Day()).minus(before.days.get(day, Day()))
        account.add_daily(
            tx,
            day,
            realized=change.realized,
            fees=change.fees,
            bought=change.bought,
            sold=change.sold,
        )


def finish(tx: Tx, order: Order, *, evidence_complete: bool, now_us: int) -> OrderState | None:
    """End an open order if its fills prove the end; return the new state, or None.

    Its fills are complete when they reach what the exchange said has matched; where it said
    nothing, when the caller has looked for longer than its lookups lag (`evidence_complete`).
    """
    current = orders.order(tx, order.id)
    if current is None or current.state is not OrderState.OPEN:
        return None
    shares, usdc = orders.filled(tx, order.id)
    # Answers round on their own: a millionth more than the trades add up to has been seen.
    short = (current.matched or 0) - shares
    if short >= CENT or (current.matched is None and not evidence_complete):
        # What the exchange said has matched is proven: its trades will be found, however late.
        return None
    if shares == 0:
        state = OrderState.CANCELLED
    elif current.side is Side.SELL:
        state = OrderState.FILLED if shares >= current.making else OrderState.PARTIAL
    else:
        # A budget that cannot buy another hundredth of a share is spent.
        rest = current.making - usdc
        spent = rest < notional(2 * CENT, current.price)
        state = OrderState.FILLED if spent else OrderState.PARTIAL
    end(tx, current, state, now_us=now_us)
    return state


def end(tx: Tx, order: Order, state: OrderState, *, now_us: int, reason: str | None = None) -> None:
    """Move an order to its end and free its reservation; an exit's rest is tried again."""
    orders.move(tx, order, state, reason=reason)
    failpoints.reach("end.written")
    if order.side is not Side.SELL or state is OrderState.FILLED:
        return
    sold, _ = orders.filled(tx, order.id)
    _sell_rest(tx, order, order.making - sold, now_us=now_us, progress=sold > 0)


def _sell_rest(tx: Tx, order: Order, rest: int, *, now_us: int, progress: bool = False) -> None:
    held = positions.shares_of(tx, order.wallet, order.token)
    if min(rest, held) >= CENT:
        left = min(rest, held)
        leaders.retry_exit(tx, order.signal_id, rest=left, now_us=now_us, progress=progress)


def guard_breaker(tx: Tx, limits: RiskSettings, *, failed: bool | None, now_us: int) -> str | None:
    """Count an error (True) or a success (False); trip the breaker if a limit is reached.

    The breaker is the control row: entries stop in every process until the operator resumes.
    Returns the reason if it tripped now.
    """
    if failed is not None:
        control.count_error(tx, reset=not failed)
    state = control.read(tx, now_us=now_us)
    day = utc_day(now_us)
    realized, _ = account.daily(tx, day)
    reason = tripped(state.loss(day, realized), state.errors, limits)
    if reason is None:
        return None
    # A pause that ends by itself does not do: this one is for the operator.
    if not control.steer(tx, ControlMode.PAUSED, reason=reason, actor="breaker", now_us=now_us):
        return None
    text = f"{reason}; entries stop until botctl resume"
    control.alert(tx, f"breaker:{now_us}", "critical", text, now_us=now_us)
    return reason
