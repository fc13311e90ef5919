"""Facts: what leaders did, grouped by law 7, with every source's running total."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.ledger import tally
from bot.ledger.db import Tx, added, among, one, rows, run, scalar, upsert_all
from bot.ledger.orders import FLYING, UNSETTLED
from bot.model.amounts import CENT
from bot.model.leader import FactKind, FactState, LeaderFill
from bot.model.market import ConditionId, Side, TokenId
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
    state: FactState = FactState.MINED
    block: int | None = None


@dataclass(frozen=True, slots=True)
class NewTrade:
    """A fact to store, and how much of it is told."""

    fill: LeaderFill
    total: Total
    emitted: Total
    seen_us: int
    state: FactState
    block: int | None
    told: bool  #: a signal tells of it


def trades(tx: Tx, groups: Sequence[Group]) -> dict[Group, TradeRow]:
    """Return the stored leader trades of group keys (tx, wallet, token, side)."""
    found = among(
        tx,
        "SELECT id, tx, wallet, token, side, emitted_shares, emitted_usdc, signals, state, block"
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
            state=FactState(row["state"]),
            block=row["block"],
        )
        for row in found
    }


def _group(row: Mapping[str, Any]) -> Group:
    return row["tx"], row["wallet"], row["token"], row["side"]


def add_trades(tx: Tx, trades: Sequence[NewTrade]) -> dict[Group, int]:
    """Insert leader trades, and return their ids. No source's total is stored yet."""
    values = [_values(trade) for trade in trades]
    found = added(tx, "leader_trade", values, f"id, {_KEY}")
    _count(tx, trades)
    return {_group(row): row["id"] for row in found}


def _count(tx: Tx, trades: Iterable[NewTrade]) -> None:
    """Count trades of which a signal tells for the first time."""
    seen = Counter((t.fill.wallet, utc_day(t.seen_us)) for t in trades if t.told)
    for (wallet, day), number in seen.items():
        tally.add(tx, day, (tally.SEEN, wallet), n=number)


def _values(trade: NewTrade) -> dict[str, Any]:
    fill = trade.fill
    return {
        "tx": fill.tx,
        "wallet": fill.wallet,
        "token": fill.token,
        "side": fill.group[3],
        "condition": fill.condition,
        "outcome": fill.outcome,
        "title": fill.title,
        "shares": trade.total[0],
        "usdc": trade.total[1],
        "emitted_shares": trade.emitted[0],
        "emitted_usdc": trade.emitted[1],
        "signals": int(trade.told),
        "traded_s": fill.traded_s,
        "seen_us": trade.seen_us,
        "kind": str(fill.kind),
        "state": str(trade.state),
        "block": trade.block,
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


def restate(tx: Tx, trade_id: int, now: NewTrade, *, first: bool) -> None:
    """Store what a fact amounts to by now, how much of it is told, and how sure it is.

    `first`: nothing was told of it before.
    """
    if first:
        _count(tx, [now])
    run(
        tx,
        "UPDATE leader_trade SET shares = :shares, usdc = :usdc, emitted_shares = :told_shares,"
        " emitted_usdc = :told_usdc, state = :state, block = :block WHERE id = :id",
        shares=now.total[0],
        usdc=now.total[1],
        told_shares=now.emitted[0],
        told_usdc=now.emitted[1],
        state=str(now.state),
        block=now.block,
        id=trade_id,
    )


_FACT = (
    "SELECT tx, wallet, token, side, condition, outcome, title, traded_s, shares, usdc, kind"
    " FROM leader_trade"
)


def is_provisional(tx: Tx, trade_id: int) -> bool:
    """Return whether nobody who knows has said yet that a fact is in a block."""
    sql = "SELECT 1 FROM leader_trade WHERE id = :id AND state = 'provisional'"
    return scalar(tx, sql, id=trade_id) is not None


def doubtful(tx: Tx, after_us: int, before_us: int, limit: int) -> list[LeaderFill]:
    """Return facts seen in that time of which nobody has said since that they are in a block."""
    found = rows(
        tx,
        f"{_FACT} WHERE state = 'provisional' AND seen_us >= :after AND seen_us < :before"
        " ORDER BY seen_us LIMIT :limit",
        after=after_us,
        before=before_us,
        limit=limit,
    )
    return [_fill(row) for row in found]


def lingering(tx: Tx, block: int, limit: int) -> list[LeaderFill]:
    """Return facts in blocks up to one that is final, of which nobody has said since that they
    stand: an earlier life has seen them, and others may have come in the place of their blocks.
    """
    found = rows(
        tx,
        f"{_FACT} WHERE state = 'mined' AND block IS NOT NULL AND block <= :block"
        " ORDER BY block LIMIT :limit",
        block=block,
        limit=limit,
    )
    return [_fill(row) for row in found]


def near(tx: Tx, seen: Iterable[tuple[LeaderFill, Total]], within_s: int) -> list[LeaderFill]:
    """Return what was told of trades that may be twins of some fills, each with its total so far:
    as many shares of the same leader, token and way, in other transactions and at most so many
    seconds before or after. Wallets are checksummed.
    """
    found = among(
        tx,
        "SELECT DISTINCT t.tx, t.wallet, t.token, t.side, t.condition, t.outcome, t.title,"
        " t.traded_s, t.shares, t.usdc, t.kind FROM wanted JOIN leader_trade t"
        " ON t.wallet = wanted.wallet AND t.condition = wanted.condition"
        " AND t.traded_s BETWEEN wanted.at_s - wanted.within AND wanted.at_s + wanted.within"
        " WHERE t.token = wanted.token AND t.side = wanted.side AND t.tx <> wanted.tx"
        " AND t.emitted_shares = wanted.told",
        "tx, wallet, condition, token, side, at_s, within, told",
        [
            (f.tx, f.wallet, f.condition, f.token, str(f.side), f.traded_s, within_s, shares)
            for f, (shares, _) in seen
            if f.kind is FactKind.TRADE and shares > 0
        ],
    )
    return [replace(_fill(row), wallet=row["wallet"]) for row in found]


def _fill(row: Mapping[str, Any]) -> LeaderFill:
    came = row["side"] in ("BUY", "IN")
    side, kind = Side.BUY if came else Side.SELL, FactKind(row["kind"])
    # In lower case, as sources tell of wallets.
    return LeaderFill(**{**row, "wallet": row["wallet"].lower(), "side": side, "kind": kind})


def since(tx: Tx, wallet: str, token: str, block: int, block_s: int) -> int:
    """Return the signed sum of what is told of a holding's facts and is not in its balance at a
    block, which is of the second `block_s`.
    """
    found = scalar(
        tx,
        "SELECT SUM(CASE WHEN side IN ('BUY', 'IN') THEN emitted_shares ELSE -emitted_shares END)"
        " FROM leader_trade WHERE wallet = :wallet AND token = :token AND (state = 'provisional'"
        " OR block > :block OR block IS NULL AND traded_s > :block_s)",
        wallet=wallet,
        token=token,
        block=block,
        block_s=block_s,
    )
    return int(found or 0)


def newest(tx: Tx, wallet: str, token: str) -> int | None:
    """Return the second of the newest that a leader is known to have done to a token, or None."""
    sql = "SELECT MAX(traded_s) FROM leader_trade WHERE wallet = :wallet AND token = :token"
    found = scalar(tx, sql, wallet=wallet, token=token)
    return None if found is None else int(found)


def both_ways(tx: Tx, wallet: str, condition: str, token: str, since_s: int) -> tuple[int, int]:
    """Return a leader's shares traded in a condition since then: towards `token`, and away from it.

    Selling the other token goes this way too. What moves without an order goes no way.
    """
    row = one(
        tx,
        "SELECT COALESCE(SUM(CASE WHEN (token = :token) = (side = 'BUY') THEN shares END), 0)"
        " AS this_way, COALESCE(SUM(shares), 0) AS both FROM leader_trade"
        " WHERE wallet = :wallet AND condition = :condition AND traded_s >= :since"
        " AND kind = 'trade'",
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
