"""Bursts: the last one of every (portfolio, token), and what was spent on it."""

from bot.ledger.db import Tx, one, upsert
from bot.ledger.orders import FLYING
from bot.model.burst import Burst, Spent


def last(tx: Tx, portfolio: str, token: str) -> Burst | None:
    """Return the last burst of a (portfolio, token), over or not, or None."""
    row = one(
        tx,
        "SELECT first_us, last_us, shares, usdc, price, base FROM burst"
        " WHERE portfolio = :portfolio AND token = :token",
        portfolio=portfolio,
        token=token,
    )
    return Burst(**row) if row else None


def store(tx: Tx, portfolio: str, token: str, burst: Burst) -> None:
    """Store a burst in place of the one before."""
    values = {"portfolio": portfolio, "token": token}
    values |= {name: getattr(burst, name) for name in Burst.__slots__}
    upsert(tx, "burst", ["portfolio", "token"], values)


def spent(tx: Tx, portfolio: str, token: str, burst_us: int) -> Spent:
    """Return what the entries of a burst have bought, or may have.

    Failed fills count: a budget is spent once, whatever the chain makes of it.
    """
    maybe = f"o.doubted = 1 OR o.{FLYING}"
    filled = "COALESCE((SELECT SUM(f.{0}) FROM fill f WHERE f.order_id = o.id), 0)"
    row = one(
        tx,
        f"SELECT COALESCE(SUM(CASE WHEN {maybe} THEN o.maker_amount"
        f" ELSE {filled.format('usdc')} END), 0) AS usdc,"
        f" COALESCE(SUM(CASE WHEN {maybe} THEN o.taker_amount"
        f" ELSE {filled.format('shares')} END), 0) AS shares"
        " FROM intent i JOIN orders o ON o.intent_id = i.id"
        " WHERE i.portfolio = :portfolio AND i.token = :token AND i.burst_us = :burst",
        portfolio=portfolio,
        token=token,
        burst=burst_us,
    )
    assert row is not None
    return Spent(**row)
