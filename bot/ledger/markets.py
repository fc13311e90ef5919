"""Markets: what the exchange last told of them. Exits live on it when nobody answers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bot.ledger.db import Tx, among, one, rows, run, scalar, upsert
from bot.ledger.orders import FLYING
from bot.model.market import ConditionId, Facts, Market, Outcome, TokenId
from bot.model.units import MICRO

#: Who tells: the CLOB by request or channel, or Gamma.
Source = Literal["clob", "gamma"]
#: Gamma's answers are kept for five minutes on their way (`cache-control: max-age=300`).
GAMMA_LATE_US = 600 * MICRO
#: That the same was told again is noted once in so long: everything is told again every day.
RENEWED_US = 2 * 86_400 * MICRO
_FIELDS = (
    "tick", "min_shares", "neg_risk", "version", "fee_rate", "fee_exponent", "accepting", "event",
    "title",
)  # fmt: skip
#: The channel tells no neg-risk; whoever does tells everything.
_COMPLETE = "neg_risk IS NOT NULL AND tick IS NOT NULL AND accepting IS NOT NULL"


#: Facts and who told them when, in microseconds.
Word = tuple[Facts, Source, int]


def learn(tx: Tx, facts: Facts, source: Source, *, as_of_us: int) -> bool:
    """Store what a source tells, field by field, where it is newer; return whether that changed
    anything worth writing.

    Of tick and status Gamma knows what was so ten minutes ago, whatever it says: its answers are
    kept for five. Whoever names other tokens than those known is believed only where he tells
    everything, and is the CLOB or speaks of what the channel alone had named. A market that has
    ended takes no orders any more.
    """
    changes = _changes(_row(tx, facts.condition), (facts, source, as_of_us))
    if changes:
        upsert(tx, "market", ["condition"], {**changes, "condition": facts.condition})
    return bool(changes)


def news(tx: Tx, words: Sequence[Word]) -> list[Word]:
    """Return those of what is told that `learn` would store; most of it is known."""
    return [word for word in words if _changes(_row(tx, word[0].condition), word)]


def _row(tx: Tx, condition: str) -> dict[str, Any] | None:
    return one(tx, "SELECT * FROM market WHERE condition = :condition", condition=condition)


def _changes(row: dict[str, Any] | None, word: Word) -> dict[str, Any]:
    """Return the columns that what is told changes, all of them for a market that is not known."""
    facts, source, as_of_us = word
    tokens = json.dumps(facts.tokens)
    other = row is not None and row["tokens"] != tokens
    if row is not None and other and not _corrects(row, facts, source):
        return {}
    told: dict[str, int] = json.loads(row["told"]) if row is not None and not other else {}
    known = row or {"as_of_us": 0, "status": "trading"}
    changes: dict[str, Any] = {}
    for field, value in _said(facts).items():
        late = source == "gamma" and field in ("tick", "accepting")
        at = as_of_us - GAMMA_LATE_US if late else as_of_us
        ended = field == "accepting" and known["status"] == "ended"
        if at < told.get(field, 0) or ended:
            continue
        if known.get(field) != value or at - told.get(field, 0) >= RENEWED_US:
            changes[field], told[field] = value, at
    if row is not None and not changes and not other:
        return {}
    newest = max(as_of_us, known["as_of_us"])
    named = {"tokens": tokens, "outcomes": json.dumps(facts.outcomes)}
    named |= {"first_token": facts.tokens[0], "second_token": facts.tokens[1]}
    return {**named, **changes, "told": json.dumps(told), "as_of_us": newest}


def _corrects(row: dict[str, Any], facts: Facts, source: Source) -> bool:
    return facts.neg_risk is not None and (source == "clob" or row["neg_risk"] is None)


def _said(facts: Facts) -> dict[str, Any]:
    found = ((field, getattr(facts, field)) for field in _FIELDS)
    return {
        field: int(value) if isinstance(value, bool) else value
        for field, value in found
        if value is not None
    }


def knows(tx: Tx, condition: str) -> bool:
    """Return whether everything was told of a market once."""
    sql = f"SELECT 1 FROM market WHERE condition = :condition AND {_COMPLETE}"
    return scalar(tx, sql, condition=condition) is not None


def last_known(tx: Tx, condition: str) -> Market | None:
    """Return a market's facts as they were last told, however long ago, or None."""
    row = _row(tx, condition)
    return _market(row) if row is not None and _complete(row) else None


def lately_told(tx: Tx, condition: str, since_us: int) -> Market | None:
    """Return a market's facts if all of them were told since then, or None."""
    row = _row(tx, condition)
    if row is None or not _complete(row) or min(json.loads(row["told"]).values()) < since_us:
        return None
    return _market(row)


def incomplete(tx: Tx, limit: int) -> list[ConditionId]:
    """Return markets of which little is told, the newest first."""
    found = rows(
        tx,
        "SELECT condition FROM market WHERE neg_risk IS NULL ORDER BY as_of_us DESC LIMIT :limit",
        limit=limit,
    )
    return [row["condition"] for row in found]


#: Markets of which nobody has told anything for so long are forgotten, so many at once.
KEPT_US = 7 * 86_400 * MICRO
PRUNED_AT_ONCE = 200


def prune(tx: Tx, before_us: int) -> int:
    """Forget markets last told of before a moment, the oldest first; return how many, 200 at most.

    Never one in which we have traded, wish for something, or have an order in flight: ten thousand
    new markets a day are stored, and some of them matter.
    """
    ours = (
        "SELECT 1 FROM position p WHERE p.condition = market.condition"
        " UNION ALL SELECT 1 FROM intent i WHERE i.state = 'open'"
        "  AND i.condition = market.condition"
        f" UNION ALL SELECT 1 FROM orders o WHERE o.{FLYING} AND o.condition = market.condition"
    )
    return run(
        tx,
        "DELETE FROM market WHERE condition IN (SELECT condition FROM market"
        f" WHERE as_of_us < :before AND NOT EXISTS ({ours}) ORDER BY as_of_us LIMIT :limit)",
        before=before_us,
        limit=PRUNED_AT_ONCE,
    )


def forget_incomplete(tx: Tx, before_us: int) -> int:
    """Forget markets that nobody told more of since then; return how many, 200 at most."""
    return run(
        tx,
        "DELETE FROM market WHERE condition IN (SELECT condition FROM market"
        " WHERE neg_risk IS NULL AND as_of_us < :before ORDER BY as_of_us LIMIT 200)",
        before=before_us,
    )


def outcomes(tx: Tx, tokens: Sequence[TokenId]) -> dict[TokenId, Outcome]:
    """Return what outcome tokens stand for; one of a market that nobody told of is left out."""
    found: dict[TokenId, Outcome] = {}
    for column, i in (("first_token", 0), ("second_token", 1)):
        asked = [(token,) for token in tokens if token not in found]
        sql = (
            f"SELECT {column}, condition, outcomes, title, version FROM wanted"
            f" JOIN market USING ({column})"
        )
        for row in among(tx, sql, column, asked):
            label = json.loads(row["outcomes"])[i]
            found[row[column]] = Outcome(
                row["condition"], label, row["title"] or "", row["version"]
            )
    return found


def tokens_of(
    tx: Tx, conditions: Sequence[ConditionId]
) -> dict[ConditionId, list[tuple[TokenId, str]]]:
    """Return (token, outcome) of markets; one that nobody told of is left out."""
    sql = "SELECT condition, tokens, outcomes FROM wanted JOIN market USING (condition)"
    return {
        ConditionId(row["condition"]): list(
            zip(json.loads(row["tokens"]), json.loads(row["outcomes"]), strict=True)
        )
        for row in among(tx, sql, "condition", [(c,) for c in conditions])
    }


def unknown(tx: Tx, conditions: Sequence[ConditionId]) -> list[ConditionId]:
    """Return those of at most 200 markets that nothing, or not everything, is known of."""
    marks = ", ".join(f":c{i}" for i in range(len(conditions)))
    values = {f"c{i}": condition for i, condition in enumerate(conditions)}
    found = rows(
        tx,
        f"SELECT condition FROM market WHERE condition IN ({marks}) AND {_COMPLETE}",
        **values,
    )
    known = {row["condition"] for row in found}
    return [condition for condition in conditions if condition not in known]


def all_known(tx: Tx, limit: int) -> list[Market]:
    """Return the facts of markets told of last, newest first."""
    found = rows(
        tx,
        f"SELECT * FROM market WHERE {_COMPLETE} ORDER BY as_of_us DESC LIMIT :limit",
        limit=limit,
    )
    return [_market(row) for row in found]


def some_token(tx: Tx) -> TokenId | None:
    """Return a token of a market that takes orders, or None while none is known."""
    tokens = scalar(
        tx,
        "SELECT tokens FROM (SELECT tokens, accepting FROM market ORDER BY as_of_us DESC LIMIT 50)"
        " WHERE accepting = 1 LIMIT 1",
    )
    return TokenId(json.loads(tokens)[0]) if tokens else None


def _complete(row: dict[str, Any]) -> bool:
    return None not in (row["neg_risk"], row["tick"], row["accepting"])


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
