"""APPLY: fill, position, daily PnL, cash and order state move in one transaction.

Verbs over the ledger, run in one hop; nothing here waits for anybody.
"""

from dataclasses import replace
from typing import Literal

from bot import failpoints
from bot.config.schema import RiskSettings
from bot.ledger import account, control, covers, intents, leaders, orders, positions, signals, tally
from bot.ledger.db import Tx
from bot.model.amounts import CENT
from bot.model.control import ControlMode
from bot.model.fill import FINAL, Fill, Settlement
from bot.model.intent import EXTERNAL, Portfolio, leader_of
from bot.model.market import Side
from bot.model.order import IN_FLIGHT, Order, OrderKind, OrderState
from bot.model.pnl import Day, Fold
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
        orders.move(tx, order, OrderState.OPEN, now_us=now_us)
        guard_breaker(tx, limits, failed=False, now_us=now_us)
    if changed:
        finish(tx, order, evidence_complete=False, now_us=now_us)
        guard_breaker(tx, limits, failed=None, now_us=now_us)
        failpoints.reach(f"{changed}.written")
    return changed


def book(tx: Tx, order: Order, fill: Fill, *, now_us: int) -> News | None:
    """Book one fill, or its newer settlement, once; return which of the two it was, or None.

    Events may repeat and come in any order: a final settlement never changes again, and a
    FAILED one takes its shares, cost, PnL and cash back exactly. An exit whose sale fails stands
    again in the same transaction; shares that come late ask for a decision of their own.
    """
    known = orders.fill(tx, fill.trade_id, order.id)
    if known is not None and not _newer(known.settlement, fill.settlement):
        return None
    failed = fill.settlement is Settlement.FAILED
    before = positions.folded(tx, order.portfolio, order.token)
    if known is None:
        orders.add_fill(tx, fill, order)
    else:
        orders.settle_fill(tx, known, fill.settlement, fill.tx, now_us=now_us)
    if known is None or failed:
        store(tx, order.portfolio, order.condition, order.token, before, now_us=now_us)
    if fill.side is Side.BUY and order.state not in IN_FLIGHT and (known is None) != failed:
        change = known.shares if known else fill.shares
        covers.bought_late(tx, order, -change if failed else change, now_us=now_us)
        if not failed:
            # He may have left since, when there was nothing of it to follow him out with.
            correct(tx, order.portfolio, order.condition, order.token, now_us=now_us)
    if fill.side is Side.SELL and failed and not intents.reopen(tx, order, now_us=now_us):
        correct(tx, order.portfolio, order.condition, order.token, now_us=now_us)
    intents.review(tx, order.portfolio, order.token, now_us=now_us, news=True)
    if failed:
        text = f"trade {fill.trade_id} of order {order.id} failed on the chain and was reversed"
        control.record(tx, "executor", "fill.failed", text, now_us=now_us)
    return "fill" if known is None else "settlement"


def correct(tx: Tx, portfolio: Portfolio, condition: str, token: str, *, now_us: int) -> None:
    """Ask for a decision on shares that a leader's portfolio has got outside a living entry."""
    if leader_of(portfolio) is not None:
        signals.correct(tx, portfolio, condition, token, now_us=now_us)


def _newer(old: Settlement, new: Settlement) -> bool:
    if old in FINAL:
        return False
    return new is Settlement.FAILED or _RANK[new] > _RANK[old]


def store(
    tx: Tx, portfolio: Portfolio, condition: str, token: str, before: Fold, *, now_us: int
) -> None:
    """Store what a position's fills and payouts amount to now; `before` is what they did."""
    after = positions.folded(tx, portfolio, token)
    positions.store_position(tx, portfolio, condition, token, after.position, now_us=now_us)
    gained = after.position.realized - before.position.realized
    if gained:
        tally.count(tx, (tally.REALIZED, portfolio), now_us=now_us, n=gained)
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


def assign(tx: Tx, condition: str, token: str, owner: Portfolio, *, now_us: int) -> None:
    """Give what is external of a token to another portfolio.

    A leader's goes with him from now on.
    """
    whose = (EXTERNAL, owner)
    before = [positions.folded(tx, portfolio, token) for portfolio in whose]
    positions.assign(tx, token, owner)
    for portfolio, fold in zip(whose, before, strict=True):
        store(tx, portfolio, condition, token, fold, now_us=now_us)
    wallet = leader_of(owner)
    if wallet is not None:
        given = positions.shares_of(tx, owner, token) - before[1].position.shares
        exposure = leaders.exposure_decided(tx, wallet, condition, token)
        covers.joined(tx, owner, token, given, exposure, now_us=now_us)


def finish(tx: Tx, order: Order, *, evidence_complete: bool, now_us: int) -> OrderState | None:
    """End an open order if its fills prove the end; return the new state, or None.

    Its fills are complete when they reach what the exchange said has matched; where it said
    nothing, when the caller has looked for longer than its lookups lag (`evidence_complete`).
    What rests has matched so far: only its whole, or the caller, ends it.
    """
    current = orders.order(tx, order.id)
    if current is None or current.state is not OrderState.OPEN:
        return None
    shares, usdc = orders.filled(tx, order.id)
    # A budget that cannot buy another hundredth of a share is spent.
    spent = current.maker_amount - usdc < notional(2 * CENT, current.price)
    if not _complete(current, shares, evidence_complete, spent=spent):
        return None
    if shares == 0:
        state = OrderState.CANCELLED
    elif current.side is Side.SELL:
        state = OrderState.FILLED if shares >= current.maker_amount else OrderState.PARTIAL
    else:
        state = OrderState.FILLED if spent else OrderState.PARTIAL
    end(tx, current, state, now_us=now_us)
    return state


def _complete(order: Order, shares: int, evidence_complete: bool, *, spent: bool) -> bool:
    """Return whether an open order's fills, `shares` in all, are proven to be all of them."""
    if order.side is Side.SELL and shares >= order.maker_amount:
        return True
    # Answers round on their own: a millionth more than the trades add up to has been seen.
    if (order.matched or 0) - shares >= CENT:
        # What the exchange said has matched is proven: its trades will be found, however late.
        return False
    if order.side is Side.BUY and spent:
        return True  # an exit need not wait for an answer that was lost
    told = order.matched is not None and order.kind is OrderKind.FAK
    return told or evidence_complete


def end(tx: Tx, order: Order, state: OrderState, *, now_us: int, reason: str | None = None) -> None:
    """Move an order to its end, free its reservation, and let its intent go on from there."""
    orders.move(tx, order, state, now_us=now_us, reason=reason)
    failpoints.reach("end.written")
    if order.intent_id is None:
        return
    held = max(positions.shares_of(tx, order.portfolio, order.token), 0)
    wallet = leader_of(order.portfolio)
    if order.side is Side.BUY and wallet is not None:
        exposure = leaders.exposure_decided(tx, wallet, order.condition, order.token)
        covers.entered(tx, order, held, exposure, now_us=now_us)
    doubted = order.doubted or int(state is OrderState.EXPIRED)
    ended = replace(order, state=state, reason=reason or order.reason, doubted=doubted)
    intents.tried(tx, ended, held, now_us=now_us)
    intents.review(tx, order.portfolio, order.token, now_us=now_us)


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
