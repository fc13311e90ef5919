"""Leaders and what they did: cursors, leader trades, holdings, signals."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.ledger import tally
from bot.ledger.db import Tx, added, among, insert, one, rows, run, scalar, upsert, upsert_all
from bot.ledger.orders import FLYING, UNSETTLED
from bot.model.amounts import CENT
from bot.model.leader import Holding, LeaderFill, Wallet
from bot.model.market import ConditionId, TokenId
from bot.model.totals import Group, Total
from bot.model.units import MICRO, utc_day

_KEY = "tx, wallet, token, side"
#: No source shows rows older than its cursor by more than this.
REPLAY_S = 86_400


@dataclass(frozen=True, slots=True)
class TradeRow:
    """A stored leader trade with every source's running total (shares, usdc)."""

    id: int
    totals: dict[str, Total]
    emitted: Total
    signals: int


@dataclass(frozen=True, slots=True)
class NewTrade:
    """A leader trade to store, and how much of it the one signal that is stored with it tells."""

    fill: LeaderFill
    total: Total
    emitted: Total
    seen_us: int


def follow(tx: Tx, leaders: Sequence[tuple[str, str]], *, now_s: int) -> None:
    """Make `leaders` (wallet, label) the followed ones. A known leader keeps its watch start.

    One who is not followed any more is watched (`active` = 2, leaving) until we hold nothing of
    him.
    """
    run(
        tx,
        "UPDATE leader SET active = CASE WHEN EXISTS (SELECT 1 FROM position p"
        f" WHERE p.portfolio = 'mirror/' || leader.wallet AND p.shares >= {CENT})"
        " OR EXISTS (SELECT 1 FROM orders o WHERE o.portfolio = 'mirror/' || leader.wallet"
        f" AND o.{FLYING})"
        " THEN 2 ELSE 0 END",
    )
    for wallet, label in leaders:
        insert(
            tx,
            "leader",
            {"wallet": wallet, "label": label, "watch_start_s": now_s, "active": 1},
            ignore=True,
        )
        run(
            tx,
            "UPDATE leader SET active = 1, label = :label WHERE wallet = :wallet",
            wallet=wallet,
            label=label,
        )


def watch_starts(tx: Tx) -> dict[Wallet, int]:
    """Return for each watched leader the second from which its trades count."""
    found = rows(tx, "SELECT wallet, watch_start_s FROM leader WHERE active > 0")
    return {Wallet(row["wallet"]): row["watch_start_s"] for row in found}


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


def trades(tx: Tx, groups: Sequence[Group]) -> dict[Group, TradeRow]:
    """Return the stored leader trades of group keys (tx, wallet, token, side)."""
    found = among(
        tx,
        "SELECT id, tx, wallet, token, side, emitted_shares, emitted_usdc, signals"
        f" FROM wanted JOIN leader_trade USING ({_KEY})",
        _KEY,
        groups,
    )
    totals: dict[int, dict[str, Total]] = {row["id"]: {} for row in found}
    for row in among(
        tx,
        "SELECT trade_id, source, shares, usdc FROM wanted"
        " JOIN leader_trade_source USING (trade_id)",
        "trade_id",
        [(number,) for number in totals],
    ):
        totals[row["trade_id"]][row["source"]] = (row["shares"], row["usdc"])
    return {
        _group(row): TradeRow(
            id=row["id"],
            totals=totals[row["id"]],
            emitted=(row["emitted_shares"], row["emitted_usdc"]),
            signals=row["signals"],
        )
        for row in found
    }


def _group(row: Mapping[str, Any]) -> Group:
    return row["tx"], row["wallet"], row["token"], row["side"]


def add_trades(tx: Tx, trades: Sequence[NewTrade]) -> dict[Group, int]:
    """Insert leader trades, and return their ids. No source's total is stored yet."""
    values = [_values(trade) for trade in trades]
    found = added(tx, "leader_trade", values, f"id, {_KEY}")
    seen = Counter((trade.fill.wallet, utc_day(trade.seen_us)) for trade in trades)
    for (wallet, day), number in seen.items():
        tally.add(tx, day, (tally.SEEN, wallet), n=number)
    return {_group(row): row["id"] for row in found}


def _values(trade: NewTrade) -> dict[str, Any]:
    fill = trade.fill
    return {
        "tx": fill.tx,
        "wallet": fill.wallet,
        "token": fill.token,
        "side": str(fill.side),
        "condition": fill.condition,
        "outcome": fill.outcome,
        "title": fill.title,
        "shares": trade.total[0],
        "usdc": trade.total[1],
        "emitted_shares": trade.emitted[0],
        "emitted_usdc": trade.emitted[1],
        "signals": int(trade.emitted != (0, 0)),
        "traded_s": fill.traded_s,
        "seen_us": trade.seen_us,
    }


def store_totals(tx: Tx, found: Iterable[tuple[int, str, Total]]) -> None:
    """Store running totals (shares, usdc) of trades, each by (trade's id, source)."""
    upsert_all(
        tx,
        "leader_trade_source",
        ["trade_id", "source"],
        [
            {"trade_id": number, "source": source, "shares": shares, "usdc": usdc}
            for number, source, (shares, usdc) in found
        ],
    )


def store_target(tx: Tx, trade_id: int, target: Total) -> None:
    """Store what a trade amounts to, as (shares, usdc), where that is not worth a signal."""
    run(
        tx,
        "UPDATE leader_trade SET shares = :shares, usdc = :usdc WHERE id = :id",
        shares=target[0],
        usdc=target[1],
        id=trade_id,
    )


def holding(tx: Tx, wallet: str, token: str) -> Holding:
    """Return a leader's holding; nothing stored means nothing held."""
    row = one(
        tx,
        "SELECT shares, watched, peak FROM leader_position WHERE wallet = :wallet"
        " AND token = :token",
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
        "updated_us": now_us,
    }
    upsert(tx, "leader_position", ["wallet", "token"], values)


_NET = (
    "SELECT SUM(CASE WHEN token = :token THEN shares WHEN shares > 0 THEN -shares ELSE 0 END)"
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
        "  AND (kind = 'decrease' AND token = :token"
        "   OR kind = 'increase' AND token <> :token)), 0)",
        token=token,
        wallet=wallet,
        condition=condition,
    )
    return max(int(found), 0)


def both_ways(tx: Tx, wallet: str, condition: str, token: str, since_s: int) -> tuple[int, int]:
    """Return a leader's shares traded in a condition since then: towards `token`, and away from it.

    Selling the other token goes this way too.
    """
    row = one(
        tx,
        "SELECT COALESCE(SUM(CASE WHEN (token = :token) = (side = 'BUY') THEN shares END), 0)"
        " AS this_way, COALESCE(SUM(shares), 0) AS both FROM leader_trade"
        " WHERE wallet = :wallet AND condition = :condition AND traded_s >= :since",
        token=token,
        wallet=wallet,
        condition=condition,
        since=since_s,
    )
    assert row is not None
    return row["this_way"], row["both"] - row["this_way"]


def recent_markets(tx: Tx, since_us: int) -> list[tuple[ConditionId, TokenId]]:
    """Return (condition, token) that a leader has traded since then, or that we wish for or hold:
    what matters most comes last.

    What a leader holds besides is not kept ready: one with 300 open markets would be most of it.
    """
    found = rows(
        tx,
        f"SELECT condition, token, 2 AS weight FROM position WHERE shares <> 0 AND shares >= {CENT}"
        # ALL: to leave out what is there twice, SQLite would read in the order of an index.
        " UNION ALL SELECT condition, token, 1 FROM intent WHERE state = 'open'"
        " UNION ALL SELECT condition, token, 0 FROM leader_trade WHERE seen_us >= :since",
        since=since_us,
    )
    weights: dict[tuple[ConditionId, TokenId], int] = {}
    for row in found:
        key = (ConditionId(row["condition"]), TokenId(row["token"]))
        weights[key] = max(weights.get(key, 0), row["weight"])
    return sorted(weights, key=lambda key: (weights[key], *key))


def markets_held(tx: Tx, wallet: str) -> list[ConditionId]:
    """Return the conditions in which a leader holds something that could be sold."""
    found = rows(
        tx,
        "SELECT DISTINCT condition FROM leader_position"
        f" WHERE wallet = :wallet AND shares >= {CENT}",
        wallet=wallet,
    )
    return [ConditionId(row["condition"]) for row in found]


#: Trades pruned in one transaction: each takes its sources, signals and decisions along.
PRUNED_AT_ONCE = 40


def prune(tx: Tx, before_s: int) -> int:
    """Delete leader trades seen and made before `before_s`, the oldest first; return how many.

    At most `PRUNED_AT_ONCE` of them. Never what a source could still show, which is told by each
    leader's own cursor: one who is quiet keeps nobody else's. Never one that is undecided, whose
    intent is open, or whose order is in flight or has a fill that is not settled.
    """
    working = (
        "SELECT 1 FROM signal s LEFT JOIN decision d ON d.signal_id = s.id"
        " LEFT JOIN intent i ON i.id = d.intent_id WHERE s.trade_id = t.id AND (s.decided = 0"
        " OR i.state = 'open' OR EXISTS (SELECT 1 FROM orders o WHERE o.intent_id = i.id"
        f" AND (o.{FLYING} OR EXISTS (SELECT 1 FROM fill f WHERE f.order_id = o.id"
        f" AND f.{UNSETTLED}))))"
    )
    return run(
        tx,
        "DELETE FROM leader_trade WHERE id IN (SELECT t.id FROM leader_trade t"
        " LEFT JOIN cursor c ON c.source = 'data_api' AND c.wallet = t.wallet"
        " LEFT JOIN leader l ON l.wallet = t.wallet"
        " WHERE t.seen_us < :before_us AND t.traded_s < :before"
        " AND (l.active = 0 OR t.traded_s < c.position_s - :replay)"
        f" AND NOT EXISTS ({working}) ORDER BY t.seen_us LIMIT :limit)",
        before=before_s,
        before_us=before_s * MICRO,
        replay=REPLAY_S,
        limit=PRUNED_AT_ONCE,
    )
