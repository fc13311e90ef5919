"""The roster: whom we follow, by the configuration and by the operator's word, which goes first."""

from collections.abc import Sequence

from bot.errors import UsageError
from bot.ledger.db import Tx, one, rows, run, scalar, upsert
from bot.ledger.orders import FLYING
from bot.model.amounts import CENT
from bot.model.leader import Wallet, Word

#: Leaders that change in one transaction.
AT_ONCE = 60

#: Whoever follows himself buys for ever: each purchase is his leader's next one.
_OURS = "EXISTS (SELECT 1 FROM account a WHERE a.wallet = leader.wallet)"
_FOLLOWED = f"((said = 'follow' OR said IS NULL AND listed = 1) AND NOT {_OURS})"
_HELD = (
    "(EXISTS (SELECT 1 FROM position p WHERE p.portfolio = 'mirror/' || leader.wallet"
    f" AND p.shares >= {CENT}) OR EXISTS (SELECT 1 FROM orders o"
    f" WHERE o.portfolio = 'mirror/' || leader.wallet AND o.{FLYING}))"
)


def follow(tx: Tx, leaders: Sequence[tuple[str, str]], *, now_s: int) -> bool:
    """Make `leaders` (wallet, label) those of the configuration; return True once they are.

    A few in one transaction: call it until it is done. A known leader keeps its watch start, and
    what the operator has said of it. One who is not followed any more is watched (`active` = 2,
    leaving) until we hold nothing of him.
    """
    known = {r["wallet"]: r for r in rows(tx, "SELECT wallet, label, listed FROM leader")}
    wanted = dict(leaders)
    changed = [
        {"wallet": wallet, "label": label, "watch_start_s": now_s, "active": 0, "listed": 1}
        for wallet, label in wanted.items()
        if wallet not in known
    ]
    kept = [(w, row["label"], 0) for w, row in known.items() if row["listed"] and w not in wanted]
    kept += [
        (wallet, label, 1)
        for wallet, label in wanted.items()
        if wallet in known and (known[wallet]["label"], known[wallet]["listed"]) != (label, 1)
    ]
    for values in changed[:AT_ONCE]:
        upsert(tx, "leader", ["wallet"], values)
    for wallet, label, listed in kept[:AT_ONCE]:
        sql = "UPDATE leader SET listed = :listed, label = :label WHERE wallet = :wallet"
        run(tx, sql, listed=listed, label=label, wallet=wallet)
    return max(len(changed), len(kept)) <= AT_ONCE and settle(tx)


def due(tx: Tx) -> list[tuple[Wallet, int]]:
    """Return who is to be watched otherwise than he is, and how: 1 followed, 2 leaving, 0 not."""
    found = rows(
        tx,
        f"SELECT * FROM (SELECT wallet, active, CASE WHEN {_FOLLOWED} THEN 1 WHEN {_HELD} THEN 2"
        " ELSE 0 END AS due FROM leader) WHERE due <> active",
    )
    return [(Wallet(row["wallet"]), row["due"]) for row in found]


def settle(tx: Tx) -> bool:
    """Let a few of those be watched so who are to be; return True where nobody is left."""
    found = due(tx)
    for wallet, active in found[:AT_ONCE]:
        sql = "UPDATE leader SET active = :active WHERE wallet = :wallet"
        run(tx, sql, active=active, wallet=wallet)
    return len(found) <= AT_ONCE


def say(tx: Tx, wallet: str, word: Word, *, label: str = "", now_s: int) -> bool:
    """Store an operator's word about a leader; return False where nobody knows him.

    Who is new can only be followed. To follow ends a mute; what the configuration says anyway is
    not said twice, so that it may change its mind later. Raises UsageError for our own wallet.
    """
    if scalar(tx, "SELECT 1 FROM account WHERE wallet = :wallet", wallet=wallet) is not None:
        raise UsageError(f"{wallet} is the bot's own wallet; it cannot follow itself")
    known = one(tx, "SELECT listed, label FROM leader WHERE wallet = :wallet", wallet=wallet)
    if known is None:
        if word is not Word.FOLLOW:
            return False
        values = {"wallet": wallet, "label": label, "watch_start_s": now_s, "active": 0}
        upsert(tx, "leader", ["wallet"], values | {"listed": 0, "said": str(word)})
        return True
    if word is Word.MUTE:
        run(tx, "UPDATE leader SET muted = 1 WHERE wallet = :wallet", wallet=wallet)
        return True
    said = str(word) if known["listed"] == (word is Word.UNFOLLOW) else None
    run(
        tx,
        "UPDATE leader SET said = :said, muted = 0, label = :label WHERE wallet = :wallet",
        said=said,
        label=label or known["label"],
        wallet=wallet,
    )
    return True


def stands(tx: Tx, wallet: str, *, listed: bool) -> Word:
    """Return what holds for a leader now; `listed` tells whether the configuration has him."""
    sql = f"SELECT said, muted, {_OURS} AS ours FROM leader WHERE wallet = :wallet"
    row = one(tx, sql, wallet=wallet)
    if row is None:
        return Word.FOLLOW if listed else Word.UNFOLLOW
    if row["ours"] or row["said"] == Word.UNFOLLOW or (row["said"] is None and not listed):
        return Word.UNFOLLOW
    return Word.MUTE if row["muted"] else Word.FOLLOW


def watch_starts(tx: Tx) -> dict[Wallet, int]:
    """Return for each watched leader the second from which its trades count."""
    found = rows(tx, "SELECT wallet, watch_start_s FROM leader WHERE active > 0")
    return {Wallet(row["wallet"]): row["watch_start_s"] for row in found}


def watch_start(tx: Tx, wallet: str) -> int | None:
    """Return the second from which a leader's trades count; None if nobody watches him."""
    sql = "SELECT watch_start_s FROM leader WHERE wallet = :wallet AND active > 0"
    found = scalar(tx, sql, wallet=wallet)
    return None if found is None else int(found)
