"""Leaders: how far each source has been read, and what they hold."""

import json

from bot.ledger.db import Tx, one, rows, scalar, upsert
from bot.model.amounts import CENT
from bot.model.intent import leader_of
from bot.model.leader import Holding, Wallet
from bot.model.market import ConditionId, TokenId


def cursor(tx: Tx, source: str, wallet: str) -> int | None:
    """Return the second up to which `source` has been read for `wallet`, or None."""
    found = scalar(
        tx,
        "SELECT position_s FROM cursor WHERE source = :source AND wallet = :wallet",
        source=source,
        wallet=wallet,
    )
    return None if found is None else int(found)


def outdated(tx: Tx, wallet: str) -> bool:
    """Return whether what is believed of a leader is of a backup's time: a restore says so.

    Nobody waits for him whom no monitor reads any more.
    """
    found = scalar(
        tx,
        "SELECT 1 FROM leader l JOIN cursor c ON c.wallet = l.wallet"
        " WHERE l.wallet = :wallet AND l.active = 1 AND c.source = 'data_api' AND c.updated_us = 0",
        wallet=wallet,
    )
    return found is not None


def advance(tx: Tx, source: str, wallet: str, position_s: int, *, now_us: int) -> None:
    """Store a cursor. Call it in the transaction that stores the rows it covers."""
    values = {"source": source, "wallet": wallet, "position_s": position_s, "updated_us": now_us}
    upsert(tx, "cursor", ["source", "wallet"], values)


def holding(tx: Tx, wallet: str, token: str) -> Holding:
    """Return a leader's holding; nothing stored means nothing held."""
    row = one(
        tx,
        "SELECT shares, watched, peak, away, block, block_s FROM leader_position"
        " WHERE wallet = :wallet AND token = :token",
        wallet=wallet,
        token=token,
    )
    return Holding(**row) if row else Holding()


def hold(tx: Tx, wallet: str, token: str, condition: str, held: Holding, *, now_us: int) -> None:
    """Store a leader's holding."""
    values = {
        "wallet": wallet,
        "token": token,
        "condition": condition,
        "shares": held.shares,
        "watched": held.watched,
        "peak": held.peak,
        "away": held.away,
        "block": held.block,
        "block_s": held.block_s,
        "updated_us": now_us,
    }
    upsert(tx, "leader_position", ["wallet", "token"], values)


_NET = (
    "SELECT SUM(CASE WHEN token = :token THEN shares + away"
    " WHEN shares + away > 0 THEN -shares - away ELSE 0 END)"
    " FROM leader_position WHERE wallet = :wallet AND condition = :condition"
)


def exposure(tx: Tx, wallet: str, condition: str, token: str) -> int:
    """Return what a leader holds of a token less what he holds of the condition's other one.

    At least 0.
    """
    found = scalar(tx, _NET, token=token, wallet=wallet, condition=condition)
    return max(int(found or 0), 0)


def exposure_decided(tx: Tx, wallet: str, condition: str, token: str) -> int:
    """Return a leader's exposure before whatever nobody has decided yet took from it.

    A cover is set to this: a sale that was seen and is not decided must still find its part of
    ours.
    """
    found = scalar(
        tx,
        f"SELECT COALESCE(({_NET}), 0) + COALESCE((SELECT SUM(shares) FROM signal"
        "  WHERE decided = 0 AND condition = :condition AND portfolio = 'mirror/' || :wallet"
        "  AND (kind IN ('decrease', 'correction') AND token = :token"
        "   OR kind = 'increase' AND token <> :token)), 0)",
        token=token,
        wallet=wallet,
        condition=condition,
    )
    return max(int(found), 0)


def holdings(tx: Tx, wallet: str) -> dict[TokenId, tuple[ConditionId, int]]:
    """Return (condition, shares) of all tokens of which a leader is believed to hold any."""
    found = rows(
        tx,
        "SELECT token, condition, shares FROM leader_position"
        f" WHERE wallet = :wallet AND shares >= {CENT}",
        wallet=wallet,
    )
    return {TokenId(r["token"]): (ConditionId(r["condition"]), r["shares"]) for r in found}


def copied(tx: Tx) -> list[tuple[Wallet, TokenId]]:
    """Return of which leaders' holdings something of ours depends: (wallet, token), both tokens of
    each market in which we hold or wish for something of theirs.
    """
    found = rows(
        tx,
        "SELECT portfolio, tokens FROM (SELECT portfolio, condition FROM position"
        # ALL: to leave out what is there twice, SQLite would read in the order of an index.
        f" WHERE shares <> 0 AND shares >= {CENT} UNION ALL SELECT portfolio, condition"
        " FROM intent WHERE state = 'open') JOIN market USING (condition)",
    )
    pairs = (
        (wallet, TokenId(token))
        for row in found
        if (wallet := leader_of(row["portfolio"])) is not None
        for token in json.loads(row["tokens"])
    )
    return list(dict.fromkeys(pairs))


def markets_held(tx: Tx, wallet: str) -> list[ConditionId]:
    """Return the conditions in which a leader holds something that could be sold."""
    found = rows(
        tx,
        "SELECT DISTINCT condition FROM leader_position"
        f" WHERE wallet = :wallet AND shares >= {CENT}",
        wallet=wallet,
    )
    return [ConditionId(row["condition"]) for row in found]
