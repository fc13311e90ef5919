"""Decisions, orders, fills and what follows from fills: positions, daily PnL, cash."""

import json
from dataclasses import dataclass

from bot.errors import SchemaMismatch
from bot.ledger.db import Tx, insert, one, rows, run, scalar, upsert
from bot.model import Fill, Numbers, Order, OrderId, OrderState, Position, Settlement, Side, Signal, SkipReason


async def decide(
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
    await insert(tx, "decision", values)
    await run(tx, "UPDATE signal SET decided = 1 WHERE id = :id", id=signal.id)


async def add(tx: Tx, order: Order) -> None:
    """Store a signed order before its first byte leaves."""
    values = {name: getattr(order, name) for name in Order.__slots__}
    await insert(
        tx, "orders", {**values, "side": str(order.side), "state": str(order.state), "body": order.body.encode()}
    )


async def in_flight(tx: Tx) -> list[Order]:
    """Return every order whose end is not proven, oldest first."""
    found = await rows(tx, "SELECT * FROM orders WHERE state IN ('posting', 'unknown', 'open') ORDER BY created_us, id")
    return [_order(row) for row in found]


async def order(tx: Tx, order_id: str) -> Order | None:
    """Return an order by its id, or None."""
    row = await one(tx, "SELECT * FROM orders WHERE id = :id", id=order_id)
    return _order(row) if row else None


def _order(row: dict[str, object]) -> Order:
    body = row["body"]
    assert isinstance(body, bytes)
    return Order(
        **{**row, "side": Side(str(row["side"])), "state": OrderState(str(row["state"])), "body": body.decode()}  # type: ignore[arg-type]
    )


async def sent(tx: Tx, order_id: str, *, now_us: int) -> None:
    """Record that the bytes of an order leave (once more) at `now_us`."""
    await run(
        tx,
        "UPDATE orders SET sends = sends + 1, sent_us = COALESCE(sent_us, :now), last_sent_us = :now WHERE id = :id",
        now=now_us,
        id=order_id,
    )


async def set_state(
    tx: Tx, order_id: str, state: OrderState, *, matched: int | None = None, reason: str | None = None
) -> None:
    """Store an order's new state; the caller has checked the edge. An end frees the reservation."""
    ended = state not in ("posting", "unknown", "open")
    await run(
        tx,
        "UPDATE orders SET state = :state, matched = COALESCE(:matched, matched),"
        " reason = COALESCE(:reason, reason), reserved = CASE WHEN :ended THEN 0 ELSE reserved END WHERE id = :id",
        state=str(state), matched=matched, reason=reason, ended=ended, id=order_id,
    )  # fmt: skip


async def fill(tx: Tx, trade_id: str, order_id: str) -> Fill | None:
    """Return a booked fill, or None."""
    row = await one(
        tx,
        "SELECT trade_id, order_id, token, side, shares, usdc, fee, settlement, tx, matched_us FROM fill"
        " WHERE trade_id = :trade_id AND order_id = :order_id",
        trade_id=trade_id,
        order_id=order_id,
    )
    return _fill(row) if row else None


def _fill(row: dict[str, object]) -> Fill:
    return Fill(
        **{**row, "side": Side(str(row["side"])), "settlement": Settlement(str(row["settlement"]))}  # type: ignore[arg-type]
    )


async def add_fill(tx: Tx, booked: Fill, order: Order) -> None:
    """Insert a fill; raises a constraint error if it is booked already."""
    values = {name: getattr(booked, name) for name in Fill.__slots__}
    extra = {"wallet": order.wallet, "condition": order.condition}
    await insert(tx, "fill", {**values, **extra, "side": str(booked.side), "settlement": str(booked.settlement)})


async def settle_fill(tx: Tx, booked: Fill, settlement: Settlement, chain_tx: str | None, *, now_us: int) -> None:
    """Store how far a fill is on its way to the chain."""
    await run(
        tx,
        "UPDATE fill SET settlement = :settlement, tx = COALESCE(:tx, tx), settled_us = :now"
        " WHERE trade_id = :trade_id AND order_id = :order_id",
        settlement=str(settlement), tx=chain_tx, now=now_us, trade_id=booked.trade_id, order_id=booked.order_id,
    )  # fmt: skip


async def filled(tx: Tx, order_id: OrderId) -> tuple[int, int]:
    """Return (shares, usdc) of all fills of an order, failed ones included."""
    row = await one(
        tx,
        "SELECT COALESCE(SUM(shares), 0) AS shares, COALESCE(SUM(usdc), 0) AS usdc FROM fill WHERE order_id = :id",
        id=order_id,
    )
    assert row is not None
    return row["shares"], row["usdc"]


async def unsettled(tx: Tx) -> list[tuple[Fill, str]]:
    """Return fills that are neither confirmed nor failed, each with its condition."""
    found = await rows(tx, "SELECT * FROM fill WHERE settlement NOT IN ('confirmed', 'failed')")
    names = Fill.__slots__
    return [(_fill({n: row[n] for n in names}), row["condition"]) for row in found]


async def moving(tx: Tx, wallet: str, condition: str) -> bool:
    """Return whether an order of ours for a leader's condition is in flight: what we hold is not known yet."""
    return await _exists(
        tx,
        "SELECT 1 FROM orders WHERE wallet = :wallet AND condition = :condition"
        " AND state IN ('posting', 'unknown', 'open')",
        wallet,
        condition,
    )


async def arriving(tx: Tx, wallet: str, condition: str) -> bool:
    """Return whether shares of a leader's condition have matched but are not on the chain yet.

    The exchange refuses to sell shares that have not arrived (py-clob-client#287).
    """
    return await _exists(
        tx,
        "SELECT 1 FROM fill WHERE settlement NOT IN ('confirmed', 'failed') AND settlement <> 'mined'"
        " AND wallet = :wallet AND condition = :condition",
        wallet,
        condition,
    )


async def _exists(tx: Tx, sql: str, wallet: str, condition: str) -> bool:
    return await scalar(tx, f"{sql} LIMIT 1", wallet=wallet, condition=condition) is not None


async def store_position(tx: Tx, order: Order, position: Position, *, now_us: int) -> None:
    """Store a position."""
    values = {
        "wallet": order.wallet,
        "token": order.token,
        "condition": order.condition,
        "shares": position.shares,
        "cost": position.cost,
        "realized": position.realized,
        "updated_us": now_us,
    }
    await upsert(tx, "position", ["wallet", "token"], values)


@dataclass(frozen=True, slots=True)
class Held:
    """What a decision on one signal must know about holdings, in micro-shares.

    `complement_by_anyone` counts what is being bought too: two leaders may be milliseconds apart.
    """

    ours: int
    complement: int
    complement_by_anyone: int
    leader_complement: int
    copied_before: int


async def held(tx: Tx, signal: Signal, complement: str) -> Held:
    """Return our and the leader's holdings around a signal, in one query."""
    ours = "SELECT SUM(shares) FROM position WHERE token = "
    row = await one(
        tx,
        f"SELECT COALESCE(({ours}:token AND wallet = :wallet), 0) AS ours,"
        f" COALESCE(({ours}:other AND wallet = :wallet), 0) AS complement,"
        f" COALESCE(({ours}:other), 0) + COALESCE((SELECT SUM(taking) FROM orders WHERE token = :other AND side = 'BUY'"
        "  AND state IN ('posting', 'unknown', 'open')), 0) AS complement_by_anyone,"
        " COALESCE((SELECT shares FROM leader_position WHERE token = :other AND wallet = :wallet), 0)"
        " AS leader_complement,"
        " EXISTS (SELECT 1 FROM decision d JOIN signal s ON s.id = d.signal_id"
        "  WHERE s.trade_id = :trade_id AND d.verdict = 'copied') AS copied_before",
        token=signal.token, other=complement, wallet=signal.wallet, trade_id=signal.trade_id,
    )  # fmt: skip
    assert row is not None
    return Held(**row)


async def holds_other(tx: Tx, signal: Signal) -> bool:
    """Return whether we hold another token of the signal's condition by following the same leader."""
    found = await scalar(
        tx,
        "SELECT 1 FROM position WHERE wallet = :wallet AND condition = :condition AND token <> :token"
        " AND shares > 0 LIMIT 1",
        wallet=signal.wallet,
        condition=signal.condition,
        token=signal.token,
    )
    return found is not None


@dataclass(frozen=True, slots=True)
class Budget:
    """What is used of every limit, in micro-USDC; orders in flight count with what they reserve."""

    reserved: int
    reserved_market: int
    stake: int
    stake_market: int
    bought: int
    realized: int
    cash: int


async def budget(tx: Tx, condition: str, day: str) -> Budget:
    """Return what is used of every limit, in one query."""
    flying = "SELECT SUM(reserved) FROM orders WHERE state IN ('posting', 'unknown', 'open')"
    row = await one(
        tx,
        f"SELECT COALESCE(({flying}), 0) AS reserved,"
        f" COALESCE(({flying} AND condition = :condition), 0) AS reserved_market,"
        " COALESCE((SELECT SUM(cost) FROM position), 0) AS stake,"
        " COALESCE((SELECT SUM(cost) FROM position WHERE condition = :condition), 0) AS stake_market,"
        " COALESCE((SELECT bought FROM daily_pnl WHERE day = :day), 0) AS bought,"
        " COALESCE((SELECT realized FROM daily_pnl WHERE day = :day), 0) AS realized,"
        " COALESCE((SELECT SUM(cash) FROM account), 0) AS cash",
        condition=condition,
        day=day,
    )
    assert row is not None
    return Budget(**row)


async def add_daily(tx: Tx, day: str, *, realized: int, fees: int, bought: int, sold: int) -> None:
    """Add to the totals of one UTC day (micro-USDC, negative to reverse)."""
    await insert(tx, "daily_pnl", {"day": day, "realized": 0, "fees": 0, "bought": 0, "sold": 0}, ignore=True)
    await run(
        tx,
        "UPDATE daily_pnl SET realized = realized + :realized, fees = fees + :fees,"
        " bought = bought + :bought, sold = sold + :sold WHERE day = :day",
        realized=realized, fees=fees, bought=bought, sold=sold, day=day,
    )  # fmt: skip


async def daily(tx: Tx, day: str) -> tuple[int, int]:
    """Return (realized, bought) of one UTC day in micro-USDC."""
    row = await one(tx, "SELECT realized, bought FROM daily_pnl WHERE day = :day", day=day)
    return (row["realized"], row["bought"]) if row else (0, 0)


async def open_account(tx: Tx, wallet: str, cash: int, *, now_us: int) -> None:
    """Remember the collateral first seen at the exchange; later calls change nothing.

    Raises SchemaMismatch if the ledger belongs to another wallet: the cash of two would add up.
    """
    other = await scalar(tx, "SELECT wallet FROM account WHERE wallet <> :wallet", wallet=wallet)
    if other is not None:
        raise SchemaMismatch(
            f"ledger: it belongs to wallet {other}, the configured one is {wallet}; use another --home"
        )
    values = {"wallet": wallet, "opening": cash, "cash": cash, "updated_us": now_us}
    await insert(tx, "account", values, ignore=True)


async def move_opening(tx: Tx, change: int, *, now_us: int) -> None:
    """Note collateral that came or went elsewhere (micro-USDC): a deposit is no profit."""
    await run(
        tx, "UPDATE account SET opening = opening + :change, cash = cash + :change, updated_us = :now",
        change=change, now=now_us,
    )  # fmt: skip


async def cash(tx: Tx) -> int:
    """Return our collateral as the fold of all fills, in micro-USDC."""
    return int(await scalar(tx, "SELECT COALESCE(SUM(cash), 0) FROM account"))


async def add_cash(tx: Tx, change: int, *, now_us: int) -> None:
    """Move our collateral by `change` micro-USDC."""
    await run(tx, "UPDATE account SET cash = cash + :change, updated_us = :now", change=change, now=now_us)
