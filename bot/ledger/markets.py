"""Markets: what the exchange last told of them. Exits live on it when nobody answers."""

import json
from dataclasses import dataclass
from typing import Any

from bot.ledger.db import Tx, one, rows, run, upsert
from bot.model.market import ConditionId, Market, TokenId


def learn(tx: Tx, market: Market, *, now_us: int) -> None:
    """Store a market's facts as they are now; that it has ended, and how, stays."""
    values = {
        "condition": market.condition,
        "tokens": json.dumps(market.tokens),
        "outcomes": json.dumps(market.outcomes),
        "tick": market.tick,
        "min_shares": market.min_shares,
        "neg_risk": int(market.neg_risk),
        "version": market.version,
        "fee_rate": market.fee_rate,
        "fee_exponent": market.fee_exponent,
        "accepting": int(market.accepting),
        "as_of_us": now_us,
    }
    upsert(tx, "market", ["condition"], values)


def last_known(tx: Tx, condition: str) -> Market | None:
    """Return a market's facts as they were last told, however long ago, or None."""
    row = one(tx, "SELECT * FROM market WHERE condition = :condition", condition=condition)
    return _market(row) if row else None


def all_known(tx: Tx, limit: int) -> list[Market]:
    """Return the facts of markets told of last, newest first."""
    found = rows(tx, "SELECT * FROM market ORDER BY as_of_us DESC LIMIT :limit", limit=limit)
    return [_market(row) for row in found]


def _market(row: dict[str, Any]) -> Market:
    first, second = json.loads(row["tokens"])
    yes, no = json.loads(row["outcomes"])
    return Market(
        condition=row["condition"],
        tokens=(TokenId(first), TokenId(second)),
        outcomes=(yes, no),
        tick=row["tick"],
        min_shares=row["min_shares"],
        neg_risk=bool(row["neg_risk"]),
        version=row["version"],
        fee_rate=row["fee_rate"],
        fee_exponent=row["fee_exponent"],
        accepting=bool(row["accepting"]),
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """How a market has ended: `payouts` are the numerators of its tokens."""

    tokens: tuple[TokenId, TokenId]
    payouts: tuple[int, int]
    source: str

    def share_of(self, token: str) -> int:
        """Return a token's numerator."""
        return self.payouts[self.tokens.index(TokenId(token))]


def end(tx: Tx, condition: str, payouts: tuple[int, int], *, source: str, now_us: int) -> bool:
    """Store that a market has ended and what it pays; return False if that was known.

    A payout, once stored, is changed by nothing but the chain's own word.
    """
    changed = run(
        tx,
        "UPDATE market SET status = 'ended', accepting = 0, payouts = :payouts,"
        " payout_source = :source, as_of_us = :now WHERE condition = :condition"
        " AND status <> 'ended'",
        payouts=json.dumps(payouts),
        source=source,
        now=now_us,
        condition=condition,
    )
    return changed == 1


def ended(tx: Tx, condition: str) -> Ended | None:
    """Return how a market has ended, or None while it has not."""
    row = one(
        tx,
        "SELECT tokens, payouts, payout_source FROM market"
        " WHERE condition = :condition AND status = 'ended'",
        condition=condition,
    )
    if row is None:
        return None
    first, second = json.loads(row["tokens"])
    paid = json.loads(row["payouts"])
    return Ended((TokenId(first), TokenId(second)), (paid[0], paid[1]), row["payout_source"])


def held(tx: Tx) -> list[tuple[ConditionId, tuple[TokenId, TokenId]]]:
    """Return (condition, tokens) of markets that we hold something of and that have not ended."""
    found = rows(
        tx,
        "SELECT p.condition, (SELECT m.tokens FROM market m WHERE m.condition = p.condition"
        "  AND m.status <> 'ended') AS tokens FROM position p WHERE p.shares <> 0",
    )
    tokens = {row["condition"]: json.loads(row["tokens"]) for row in found if row["tokens"]}
    return [(ConditionId(c), (TokenId(t[0]), TokenId(t[1]))) for c, t in tokens.items()]


def to_settle(tx: Tx) -> list[str]:
    """Return ended markets in which something is held, or wished, still."""
    ended = (
        "EXISTS (SELECT 1 FROM market m WHERE m.condition = {0}.condition AND m.status = 'ended')"
    )
    found = rows(
        tx,
        f"SELECT p.condition FROM position p WHERE p.shares <> 0 AND {ended.format('p')}"
        " UNION ALL SELECT i.condition FROM intent i WHERE i.state = 'open'"
        f" AND {ended.format('i')}",
    )
    return sorted({row["condition"] for row in found})
