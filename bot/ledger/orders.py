"""Decisions, orders and their fills."""

from collections.abc import Sequence

import msgspec

from bot.errors import InvariantBroken
from bot.ledger import tally
from bot.ledger.db import Tx, insert, one, rows, run, scalar
from bot.model.decision import Numbers, SkipReason
from bot.model.fill import Fill, Settlement
from bot.model.market import Side
from bot.model.order import IN_FLIGHT, Order, OrderId, OrderKind, OrderState, edge
from bot.model.signal import Signal

#: Orders whose end is not proven, and fills that are not final: the words of the partial indexes.
FLYING = "state IN ('posting', 'unknown', 'open')"
UNSETTLED = "settlement NOT IN ('confirmed', 'failed')"


def decide(
    tx: Tx,
    signal: Signal,
    *,
    reason: SkipReason | None,
    numbers: Numbers,
    intent_id: int | None,
    boot_id: int,
    now_us: int,
) -> None:
    """Record the one decision of a signal: copied by an intent, skipped with a reason, or done."""
    values = {
        "signal_id": signal.id,
        "verdict": "skipped" if reason else "copied" if intent_id else "done",
        "reason": str(reason) if reason else None,
        "numbers": msgspec.json.encode(numbers).decode(),
        "intent_id": intent_id,
        "boot_id": boot_id,
        "decided_us": now_us,
    }
    # What was asked for here copies nobody, whatever came of it.
    counted = [("decision", str(reason or (values["verdict"] if signal.trade_id else "done")))]
    if intent_id is not None and signal.trade_id and not _copied_before(tx, signal.trade_id):
        counted.append((tally.COPIED, signal.wallet))
    tally.count(tx, *counted, now_us=now_us)
    insert(tx, "decision", values)
    run(tx, "UPDATE signal SET decided = 1 WHERE id = :id", id=signal.id)


def _copied_before(tx: Tx, trade_id: int) -> bool:
    sql = (
        "SELECT 1 FROM signal s JOIN decision d ON d.signal_id = s.id"
        " WHERE s.trade_id = :id AND d.verdict = 'copied' LIMIT 1"
    )
    return scalar(tx, sql, id=trade_id) is not None


def add(tx: Tx, order: Order) -> None:
    """Store a signed order before its first byte leaves."""
    values = {name: getattr(order, name) for name in Order.__slots__}
    insert(
        tx,
        "orders",
        {
            **values,
            "side": str(order.side),
            "kind": str(order.kind),
            "state": str(order.state),
            "body": order.body.encode(),
        },
    )


def in_flight(tx: Tx) -> list[Order]:
    """Return every order whose end is not proven, oldest first."""
    found = rows(tx, f"SELECT * FROM orders WHERE {FLYING} ORDER BY created_us, id")
    return [_order(row) for row in found]


def order(tx: Tx, order_id: str) -> Order | None:
    """Return an order by its id, or None."""
    row = one(tx, "SELECT * FROM orders WHERE id = :id", id=order_id)
    return _order(row) if row else None


def _order(row: dict[str, object]) -> Order:
    body = row["body"]
    assert isinstance(body, bytes)
    return Order(
        **{
            **row,
            "side": Side(str(row["side"])),
            "kind": OrderKind(str(row["kind"])),
            "state": OrderState(str(row["state"])),
            "body": body.decode(),
        }  # type: ignore[arg-type]
    )


def sent(tx: Tx, order_id: str, *, now_us: int) -> None:
    """Record that the bytes of an order leave (once more) at `now_us`."""
    run(
        tx,
        "UPDATE orders SET sends = sends + 1, sent_us = COALESCE(sent_us, :now),"
        " last_sent_us = :now WHERE id = :id",
        now=now_us,
        id=order_id,
    )


def move(
    tx: Tx,
    order: Order,
    state: OrderState,
    *,
    now_us: int,
    matched: int | None = None,
    reason: str | None = None,
) -> None:
    """Move an order from the state it was read in to another; an end frees its reservation.

    Raises ValueError where the life cycle has no such edge, and InvariantBroken where the order
    is not in that state any more: whoever read it acts on something old.
    """
    changed = run(
        tx,
        "UPDATE orders SET state = :state, matched = COALESCE(:matched, matched),"
        " reason = COALESCE(:reason, reason), doubted = CASE WHEN :doubted THEN 1 ELSE doubted END,"
        " reserved = CASE WHEN :ended THEN 0 ELSE reserved END,"
        " ended_us = CASE WHEN :ended THEN :now ELSE ended_us END WHERE id = :id AND state = :old",
        state=str(edge(order.state, state)),
        matched=matched,
        reason=reason,
        ended=state not in IN_FLIGHT,
        now=now_us,
        doubted=state in (OrderState.UNKNOWN, OrderState.EXPIRED),
        id=order.id,
        old=str(order.state),
    )
    if changed != 1:
        raise InvariantBroken(f"order {order.id}: no longer {order.state}, cannot become {state}")


def note_matched(tx: Tx, order_id: str, matched: int | None) -> None:
    """Store how many shares the exchange says have matched, whatever state the order is in."""
    run(
        tx,
        "UPDATE orders SET matched = COALESCE(:matched, matched) WHERE id = :id",
        matched=matched,
        id=order_id,
    )


def fill(tx: Tx, trade_id: str, order_id: str) -> Fill | None:
    """Return a booked fill, or None."""
    row = one(
        tx,
        "SELECT trade_id, order_id, condition, token, side, shares, usdc, fee, settlement,"
        " tx, matched_us FROM fill"
        " WHERE trade_id = :trade_id AND order_id = :order_id",
        trade_id=trade_id,
        order_id=order_id,
    )
    return _fill(row) if row else None


def _fill(row: dict[str, object]) -> Fill:
    return Fill(
        **{  # type: ignore[arg-type]
            **row,
            "side": Side(str(row["side"])),
            "settlement": Settlement(str(row["settlement"])),
        }
    )


def add_fill(tx: Tx, booked: Fill, order: Order) -> None:
    """Insert a fill; raises a constraint error if it is booked already."""
    values = {name: getattr(booked, name) for name in Fill.__slots__}
    extra = {"portfolio": order.portfolio}
    insert(
        tx,
        "fill",
        {**values, **extra, "side": str(booked.side), "settlement": str(booked.settlement)},
    )


def settle_fill(
    tx: Tx, booked: Fill, settlement: Settlement, chain_tx: str | None, *, now_us: int
) -> None:
    """Store how far a fill is on its way to the chain."""
    run(
        tx,
        "UPDATE fill SET settlement = :settlement, tx = COALESCE(:tx, tx), settled_us = :now"
        " WHERE trade_id = :trade_id AND order_id = :order_id",
        settlement=str(settlement),
        tx=chain_tx,
        now=now_us,
        trade_id=booked.trade_id,
        order_id=booked.order_id,
    )


def filled(tx: Tx, order_id: OrderId) -> tuple[int, int]:
    """Return (shares, usdc) of all fills of an order, failed ones included."""
    row = one(
        tx,
        "SELECT COALESCE(SUM(shares), 0) AS shares, COALESCE(SUM(usdc), 0) AS usdc FROM fill"
        " WHERE order_id = :id",
        id=order_id,
    )
    assert row is not None
    return row["shares"], row["usdc"]


def unsettled(tx: Tx) -> list[Fill]:
    """Return fills that are neither confirmed nor failed."""
    found = rows(tx, f"SELECT * FROM fill WHERE {UNSETTLED}")
    names = Fill.__slots__
    return [_fill({n: row[n] for n in names}) for row in found]


def moving(tx: Tx, portfolio: str, condition: str) -> bool:
    """Return whether an order of a portfolio in a condition is in flight.

    What it holds is not known yet.
    """
    found = scalar(
        tx,
        "SELECT 1 FROM orders WHERE portfolio = :portfolio AND condition = :condition"
        f" AND {FLYING} LIMIT 1",
        portfolio=portfolio,
        condition=condition,
    )
    return found is not None


def arriving(tx: Tx, portfolio: str, token: str) -> int:
    """Return shares bought by a portfolio that have matched and are not on the chain yet.

    The exchange refuses to sell what has not arrived (py-clob-client#287).
    """
    found = scalar(
        tx,
        f"SELECT SUM(shares) FROM fill WHERE {UNSETTLED} AND settlement <> 'mined'"
        " AND side = 'BUY' AND portfolio = :portfolio AND token = :token",
        portfolio=portfolio,
        token=token,
    )
    return int(found or 0)


def fills_of(tx: Tx, portfolio: str, token: str) -> list[Fill]:
    """Return every fill of one position."""
    names = ", ".join(Fill.__slots__)
    found = rows(
        tx,
        f"SELECT {names} FROM fill WHERE portfolio = :portfolio AND token = :token",
        portfolio=portfolio,
        token=token,
    )
    return [_fill(row) for row in found]


def resting(tx: Tx) -> list[Order]:
    """Return orders in flight that may rest in a book."""
    found = rows(tx, f"SELECT * FROM orders WHERE kind = 'GTD' AND {FLYING}")
    return [_order(row) for row in found]


def ask_cancel(tx: Tx, order_id: str, *, now_us: int) -> bool:
    """Note that an order in flight is to be cancelled; return False if that was asked before."""
    sql = f"UPDATE orders SET cancel_us = :now WHERE id = :id AND cancel_us IS NULL AND {FLYING}"
    return run(tx, sql, now=now_us, id=order_id) == 1


def note_cancelled(tx: Tx, order_id: str, *, now_us: int) -> None:
    """Note that the exchange said an order is cancelled.

    Fills may still show, its book has it no more.
    """
    sql = "UPDATE orders SET cancelled_us = COALESCE(cancelled_us, :now) WHERE id = :id"
    run(tx, sql, now=now_us, id=order_id)


def known(tx: Tx, ids: Sequence[str]) -> set[str]:
    """Return which of these orders the ledger has."""
    return {found for found in ids if order(tx, found) is not None}


def market_is_over(tx: Tx, condition: str, *, now_us: int) -> None:
    """Note that no book of an ended market has any order of ours any more.

    The exchange drops them.
    """
    sql = (
        "UPDATE orders SET cancelled_us = :now WHERE condition = :condition AND kind = 'GTD'"
        f" AND cancelled_us IS NULL AND {FLYING}"
    )
    run(tx, sql, now=now_us, condition=condition)


def ours(tx: Tx, found: Sequence[Fill]) -> list[Fill]:
    """Return the fills of orders that were decided here.

    And those of others that are booked already.
    """
    kept = []
    for one_fill in found:
        mine = order(tx, one_fill.order_id)
        if mine is not None and (mine.intent_id is not None or _booked(tx, one_fill.trade_id)):
            kept.append(one_fill)
    return kept


def _booked(tx: Tx, trade_id: str) -> bool:
    sql = "SELECT 1 FROM fill WHERE trade_id = :id LIMIT 1"
    return scalar(tx, sql, id=trade_id) is not None


def unproven(tx: Tx, before_us: int) -> int:
    """Return how many orders sent before a moment still have no proven end."""
    sql = (
        f"SELECT COUNT(*) FROM orders WHERE {FLYING} AND sent_us < :before"
        " AND NOT (kind = 'GTD' AND state = 'open')"
    )
    return int(scalar(tx, sql, before=before_us))
