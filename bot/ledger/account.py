"""The wallet as the ledger has it.

Collateral, days, and how far it was compared with the exchange.
"""

from bot.errors import SchemaMismatch
from bot.ledger.db import Tx, insert, one, run, scalar, upsert
from bot.ledger.orders import FLYING, UNSETTLED
from bot.model.units import MICRO

_MARK = "reconciled_s"


def add_daily(tx: Tx, day: str, *, realized: int, fees: int, bought: int, sold: int) -> None:
    """Add to the totals of one UTC day (micro-USDC, negative to reverse)."""
    insert(
        tx, "daily_pnl", {"day": day, "realized": 0, "fees": 0, "bought": 0, "sold": 0}, ignore=True
    )
    run(
        tx,
        "UPDATE daily_pnl SET realized = realized + :realized, fees = fees + :fees,"
        " bought = bought + :bought, sold = sold + :sold WHERE day = :day",
        realized=realized,
        fees=fees,
        bought=bought,
        sold=sold,
        day=day,
    )


def daily(tx: Tx, day: str) -> tuple[int, int]:
    """Return (realized, bought) of one UTC day in micro-USDC."""
    row = one(tx, "SELECT realized, bought FROM daily_pnl WHERE day = :day", day=day)
    return (row["realized"], row["bought"]) if row else (0, 0)


def open_account(tx: Tx, wallet: str, cash: int, *, now_us: int) -> None:
    """Remember the collateral first seen at the exchange; later calls change nothing.

    Raises SchemaMismatch if the ledger belongs to another wallet: the cash of two would add up.
    """
    other = scalar(tx, "SELECT wallet FROM account WHERE wallet <> :wallet", wallet=wallet)
    if other is not None:
        raise SchemaMismatch(
            f"ledger: it belongs to wallet {other}, the configured one is {wallet};"
            " use another --home"
        )
    values = {"wallet": wallet, "opening": cash, "cash": cash, "updated_us": now_us}
    insert(tx, "account", values, ignore=True)


def move_opening(tx: Tx, change: int, *, now_us: int) -> None:
    """Note collateral that came or went elsewhere (micro-USDC): a deposit is no profit."""
    run(
        tx,
        "UPDATE account SET opening = opening + :change, cash = cash + :change, updated_us = :now",
        change=change,
        now=now_us,
    )


def cash(tx: Tx) -> int:
    """Return our collateral as the fold of all fills, in micro-USDC."""
    return int(scalar(tx, "SELECT COALESCE(SUM(cash), 0) FROM account"))


def add_cash(tx: Tx, change: int, *, now_us: int) -> None:
    """Move our collateral by `change` micro-USDC."""
    run(
        tx, "UPDATE account SET cash = cash + :change, updated_us = :now", change=change, now=now_us
    )


def compared_until_s(tx: Tx) -> int:
    """Return from when on trades must be compared: up to there every one is known."""
    mark = scalar(tx, "SELECT value FROM meta WHERE name = :name", name=_MARK)
    first = scalar(tx, "SELECT MIN(started_us) FROM boot")
    return int(mark) if mark is not None else int(first or 0) // MICRO


def note_compared(tx: Tx, until_s: int) -> None:
    """Store up to where every trade of the exchange is known."""
    upsert(tx, "meta", ["name"], {"name": _MARK, "value": str(until_s)})


def fills_since_mark(tx: Tx) -> int:
    """Return how many fills may have come since ledger and exchange were last known to agree."""
    since_us = compared_until_s(tx) * MICRO
    sql = "SELECT COUNT(*) FROM fill WHERE matched_us >= :since"
    return int(scalar(tx, sql, since=since_us))


def stillness(tx: Tx) -> tuple[int, int] | None:
    """Return a mark that changes whenever an order is made or a fill moves cash.

    It is None while any of them moves.
    """
    moving = scalar(
        tx,
        f"SELECT (SELECT COUNT(*) FROM orders WHERE {FLYING}"
        " AND NOT (kind = 'GTD' AND state = 'open'))"
        f" + (SELECT COUNT(*) FROM fill WHERE {UNSETTLED})",
    )
    if moving:
        return None
    made = scalar(tx, "SELECT COALESCE(MAX(created_us), 0) FROM orders")
    return made, scalar(tx, "SELECT COALESCE(SUM(updated_us), 0) FROM account")
