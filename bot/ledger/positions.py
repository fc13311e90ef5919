"""Positions: what we hold, for whom, and what is used of every limit."""

from dataclasses import dataclass

from bot.ledger.db import Tx, one, rows, scalar, upsert
from bot.ledger.orders import FLYING
from bot.model.amounts import CENT
from bot.model.leader import Wallet
from bot.model.market import ConditionId, TokenId
from bot.model.order import Order
from bot.model.position import Position
from bot.model.signal import Signal


def store_position(tx: Tx, order: Order, position: Position, *, now_us: int) -> None:
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
    upsert(tx, "position", ["wallet", "token"], values)


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


def held(tx: Tx, signal: Signal, complement: str) -> Held:
    """Return our and the leader's holdings around a signal, in one query."""
    # Less than a sellable unit is nothing: it makes no side taken and no leader held.
    ours = f"SELECT SUM(shares) FROM position WHERE shares >= {CENT} AND token = "
    row = one(
        tx,
        f"SELECT COALESCE(({ours}:token AND wallet = :wallet), 0) AS ours,"
        f" COALESCE(({ours}:other AND wallet = :wallet), 0) AS complement,"
        f" COALESCE(({ours}:other), 0) + COALESCE((SELECT SUM(taking) FROM orders WHERE token = :other AND side = 'BUY'"
        f"  AND {FLYING}), 0) AS complement_by_anyone,"
        " COALESCE((SELECT shares FROM leader_position WHERE token = :other AND wallet = :wallet), 0)"
        " AS leader_complement,"
        " EXISTS (SELECT 1 FROM decision d JOIN signal s ON s.id = d.signal_id"
        "  WHERE s.trade_id = :trade_id AND d.verdict = 'copied') AS copied_before",
        token=signal.token,
        other=complement,
        wallet=signal.wallet,
        trade_id=signal.trade_id,
    )
    assert row is not None
    return Held(**row)


def holds_other(tx: Tx, signal: Signal) -> bool:
    """Return whether we hold another token of the signal's condition by following the same leader."""
    found = scalar(
        tx,
        "SELECT 1 FROM position WHERE wallet = :wallet AND condition = :condition AND token <> :token"
        f" AND shares >= {CENT} LIMIT 1",
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


def budget(tx: Tx, condition: str, day: str) -> Budget:
    """Return what is used of every limit, in one query."""
    flying = f"SELECT SUM(reserved) FROM orders WHERE {FLYING}"
    row = one(
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


def held_by_token(tx: Tx) -> list[tuple[TokenId, ConditionId, int]]:
    """Return (token, condition, shares) of everything we hold, whoever it is for."""
    found = rows(
        tx,
        "SELECT token, condition, SUM(shares) AS shares FROM position GROUP BY token, condition"
        " HAVING SUM(shares) <> 0",
    )
    return [(TokenId(r["token"]), ConditionId(r["condition"]), r["shares"]) for r in found]


@dataclass(frozen=True, slots=True)
class Holder:
    """For whom we hold a token, how much of it, and at what cost."""

    wallet: Wallet
    shares: int
    cost: int


def holders(tx: Tx, token: str) -> list[Holder]:
    """Return for whom we hold a token, most first."""
    found = rows(
        tx,
        "SELECT wallet, shares, cost FROM position WHERE token = :token AND shares > 0 ORDER BY shares DESC",
        token=token,
    )
    return [Holder(**row) for row in found]


def shares_of(tx: Tx, wallet: str, token: str) -> int:
    """Return our shares of a token by following one leader."""
    found = scalar(
        tx,
        "SELECT shares FROM position WHERE wallet = :wallet AND token = :token",
        wallet=wallet,
        token=token,
    )
    return int(found or 0)


def in_market(tx: Tx, condition: str) -> dict[TokenId, int]:
    """Return what all positions in a condition add up to, by token."""
    found = rows(
        tx,
        "SELECT token, SUM(shares) AS shares FROM position WHERE condition = :condition"
        f" GROUP BY token HAVING SUM(shares) >= {CENT}",
        condition=condition,
    )
    return {TokenId(row["token"]): row["shares"] for row in found}
