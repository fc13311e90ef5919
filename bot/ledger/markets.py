"""Markets: what the exchange last told of them. Exits live on it when nobody answers."""

import json

from bot.ledger.db import Tx, one, upsert
from bot.model.market import Market, TokenId


def learn(tx: Tx, market: Market, *, now_us: int) -> None:
    """Store a market's facts as they are now."""
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
    if row is None:
        return None
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
