"""Decisions, orders and their fills."""

import json
from collections.abc import Sequence

from bot.errors import InvariantBroken
from bot.ledger.db import Tx, insert, one, rows, run, scalar
from bot.model.decision import Numbers, SkipReason
from bot.model.fill import Fill, Settlement
from bot.model.market import Side
from bot.model.order import IN_FLIGHT, Order, OrderId, OrderState, edge
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
    order_id: str | None,
    boot_id: int,
    now_us: int,
) -> None:
    """Record the one decision of a signal: copied with an order, or skipped with a reason."""
    values = {
        "signal_id": signal.id,
        "verdict": "skipped" if reason else "copied",
        "reason": str(reason) if reason else None,
        "numbers": json.dumps(dict(numbers), separators=(",", ":")),
        "order_id": order_id,
        "boot_id": boot_id,
        "decided_us": now_us,
    }
    insert(tx, "decision", values)
    run(tx, "UPDATE signal SET decided = 1 WHERE id = :id", id=signal.id)


def add(tx: Tx, order: Order) -> None:
    """Store a signed order before its first byte leaves."""
    values = {name: getattr(order, name) for name in Order.__slots__}
    insert(
        tx,
        "orders",
        {**values, "side": str(order.side), "state": str(order.state), "body": order.body.encode()},
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
            "state": OrderState(str(row["state"])),
            "body": body.decode(),
        }  # type: ignore[arg-type]
    )


def sent(tx: Tx, order_id: str, *, now_us: int) -> None:
    """Record that the bytes of an order leave (once more) at `now_us`."""
    run(
        tx,
        "UPDATE orders SET sends = sends + 1, sent_us = COALESCE(sent_us, :now), last_sent_us = :now WHERE id = :id",
        now=now_us,
        id=order_id,
    )


def move(
    tx: Tx,
    order: Order,
    state: OrderState,
    *,
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
        " reason = COALESCE(:reason, reason),"
        " reserved = CASE WHEN :ended THEN 0 ELSE reserved END WHERE id = :id AND state = :old",
        state=str(edge(order.state, state)),
        matched=matched,
        reason=reason,
        ended=state not in IN_FLIGHT,
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
        "SELECT trade_id, order_id, condition, token, side, shares, usdc, fee, settlement, tx, matched_us FROM fill"
        " WHERE trade_id = :trade_id AND order_id = :order_id",
        trade_id=trade_id,
        order_id=order_id,
    )
    return _fill(row) if row else None


def _fill(row: dict[str, object]) -> Fill:
    return Fill(
        **{**row, "side": Side(str(row["side"])), "settlement": Settlement(str(row["settlement"]))}  # type: ignore[arg-type]
    )


def add_fill(tx: Tx, booked: Fill, order: Order) -> None:
    """Insert a fill; raises a constraint error if it is booked already."""
    values = {name: getattr(booked, name) for name in Fill.__slots__}
    extra = {"wallet": order.wallet}
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
        "SELECT COALESCE(SUM(shares), 0) AS shares, COALESCE(SUM(usdc), 0) AS usdc FROM fill WHERE order_id = :id",
        id=order_id,
    )
    assert row is not None
    return row["shares"], row["usdc"]


def unsettled(tx: Tx) -> list[Fill]:
    """Return fills that are neither confirmed nor failed."""
    found = rows(tx, f"SELECT * FROM fill WHERE {UNSETTLED}")
    names = Fill.__slots__
    return [_fill({n: row[n] for n in names}) for row in found]


def moving(tx: Tx, wallet: str, condition: str) -> bool:
    """Return whether an order of ours for a leader's condition is in flight: what we hold is not known yet."""
    return _exists(
        tx,
        f"SELECT 1 FROM orders WHERE wallet = :wallet AND condition = :condition AND {FLYING}",
        wallet,
        condition,
    )


def moving_positions(tx: Tx) -> set[tuple[str, str]]:
    """Return (leader, condition) of every order in flight."""
    found = rows(tx, f"SELECT DISTINCT wallet, condition FROM orders WHERE {FLYING}")
    return {(row["wallet"], row["condition"]) for row in found}


def arriving(tx: Tx, wallet: str, token: str) -> int:
    """Return shares bought for a leader that have matched and are not on the chain yet.

    The exchange refuses to sell what has not arrived (py-clob-client#287).
    """
    found = scalar(
        tx,
        f"SELECT SUM(shares) FROM fill WHERE {UNSETTLED} AND settlement <> 'mined'"
        " AND side = 'BUY' AND wallet = :wallet AND token = :token",
        wallet=wallet,
        token=token,
    )
    return int(found or 0)


def _exists(tx: Tx, sql: str, wallet: str, condition: str) -> bool:
    return scalar(tx, f"{sql} LIMIT 1", wallet=wallet, condition=condition) is not None


def fills_of(tx: Tx, wallet: str, token: str) -> list[Fill]:
    """Return every fill of one position."""
    names = ", ".join(Fill.__slots__)
    found = rows(
        tx,
        f"SELECT {names} FROM fill WHERE wallet = :wallet AND token = :token",
        wallet=wallet,
        token=token,
    )
    return [_fill(row) for row in found]


def known(tx: Tx, ids: Sequence[str]) -> set[str]:
    """Return which of these orders the ledger has."""
    return {found for found in ids if order(tx, found) is not None}


def unproven(tx: Tx, before_us: int) -> int:
    """Return how many orders sent before a moment still have no proven end."""
    sql = f"SELECT COUNT(*) FROM orders WHERE {FLYING} AND sent_us < :before"
    return int(scalar(tx, sql, before=before_us))
