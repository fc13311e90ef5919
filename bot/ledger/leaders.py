"""Leaders and what they did: cursors, leader trades, holdings, signals."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from bot.ledger.db import Tx, insert, one, rows, run, scalar, upsert
from bot.ledger.orders import FLYING
from bot.model.amounts import CENT
from bot.model.leader import Holding, LeaderFill, Wallet
from bot.model.market import ConditionId, Side, TokenId
from bot.model.signal import Signal
from bot.model.units import MICRO

#: An exit that did not come through is tried again after this long, and at most this long.
FIRST_RETRY_S = 10
LAST_RETRY_S = 60
#: No source shows rows older than its cursor by more than this.
REPLAY_S = 86_400


@dataclass(frozen=True, slots=True)
class TradeRow:
    """A stored leader trade with every source's running total (shares, usdc)."""

    id: int
    totals: dict[str, tuple[int, int]]
    emitted: tuple[int, int]
    signals: int


def follow(tx: Tx, leaders: Sequence[tuple[str, str]], *, now_s: int) -> None:
    """Make `leaders` (wallet, label) the followed ones. A known leader keeps its watch start.

    One who is not followed any more is watched (`active` = 2, leaving) until we hold nothing of him.
    """
    run(
        tx,
        "UPDATE leader SET active = CASE WHEN EXISTS (SELECT 1 FROM position p"
        f" WHERE p.wallet = leader.wallet AND p.shares >= {CENT})"
        f" OR EXISTS (SELECT 1 FROM orders o WHERE o.wallet = leader.wallet AND o.{FLYING})"
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


def advance(tx: Tx, source: str, wallet: str, position_s: int, *, now_us: int) -> None:
    """Store a cursor. Call it in the transaction that stores the rows it covers."""
    values = {"source": source, "wallet": wallet, "position_s": position_s, "updated_us": now_us}
    upsert(tx, "cursor", ["source", "wallet"], values)


def trade(tx: Tx, group: tuple[str, str, str, str]) -> TradeRow | None:
    """Return the leader trade of a group key (tx, wallet, token, side), or None."""
    row = one(
        tx,
        "SELECT id, emitted_shares, emitted_usdc, signals FROM leader_trade"
        " WHERE tx = :tx AND wallet = :wallet AND token = :token AND side = :side",
        **dict(zip(("tx", "wallet", "token", "side"), group, strict=True)),
    )
    if row is None:
        return None
    totals = rows(
        tx,
        "SELECT source, shares, usdc FROM leader_trade_source WHERE trade_id = :id",
        id=row["id"],
    )
    return TradeRow(
        id=row["id"],
        totals={t["source"]: (t["shares"], t["usdc"]) for t in totals},
        emitted=(row["emitted_shares"], row["emitted_usdc"]),
        signals=row["signals"],
    )


def add_trade(tx: Tx, fill: LeaderFill, *, now_us: int) -> TradeRow:
    """Insert a leader trade with no totals yet."""
    values = {
        "tx": fill.tx,
        "wallet": fill.wallet,
        "token": fill.token,
        "side": str(fill.side),
        "condition": fill.condition,
        "outcome": fill.outcome,
        "title": fill.title,
        "shares": 0,
        "usdc": 0,
        "emitted_shares": 0,
        "emitted_usdc": 0,
        "signals": 0,
        "traded_s": fill.traded_s,
        "seen_us": now_us,
    }
    columns, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
    number = scalar(
        tx, f"INSERT INTO leader_trade ({columns}) VALUES ({marks}) RETURNING id", **values
    )
    return TradeRow(id=number, totals={}, emitted=(0, 0), signals=0)


def store_total(
    tx: Tx, trade_id: int, source: str, total: tuple[int, int], target: tuple[int, int]
) -> None:
    """Store one source's running total and the group's target, both as (shares, usdc)."""
    values = {"trade_id": trade_id, "source": source, "shares": total[0], "usdc": total[1]}
    upsert(tx, "leader_trade_source", ["trade_id", "source"], values)
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
        "SELECT shares, watched, peak FROM leader_position WHERE wallet = :wallet AND token = :token",
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


def emit(tx: Tx, signal: Signal) -> bool:
    """Store a signal; return True if it joined the trade's last, still undecided one."""
    joined = signal.seq > 0 and run(
        tx,
        "UPDATE signal SET shares = shares + :shares, usdc = usdc + :usdc, leader_after = :after,"
        " leader_peak = :peak, leader_watched = :watched"
        " WHERE trade_id = :trade_id AND decided = 0 AND source <> 'retry'",
        shares=signal.shares,
        usdc=signal.usdc,
        after=signal.leader_after,
        peak=signal.leader_peak,
        watched=signal.leader_watched,
        trade_id=signal.trade_id,
    )
    if not joined:
        values = {
            "id": signal.id,
            "trade_id": signal.trade_id,
            "seq": signal.seq,
            "shares": signal.shares,
            "usdc": signal.usdc,
            "leader_before": signal.leader_before,
            "leader_after": signal.leader_after,
            "leader_peak": signal.leader_peak,
            "leader_watched": signal.leader_watched,
            "source": signal.source,
            "seen_us": signal.seen_us,
            "decided": 0,
        }
        insert(tx, "signal", values)
    run(
        tx,
        "UPDATE leader_trade SET emitted_shares = :shares, emitted_usdc = :usdc, signals = signals + :new"
        " WHERE id = :id",
        shares=signal.group_shares,
        usdc=signal.group_usdc,
        new=0 if joined else 1,
        id=signal.trade_id,
    )
    return bool(joined)


def retry_exit(tx: Tx, signal_id: str, *, rest: int, now_us: int, progress: bool = False) -> None:
    """Emit a follow-up of an exit that did not sell `rest` of our shares, due after a pause.

    The pause doubles with every follow-up of the trade, from 10 s to a minute, and begins anew
    after `progress`: a leader who has left is followed for as long as it takes.
    """
    row = one(
        tx,
        "SELECT s.trade_id, s.leader_watched, t.signals FROM signal s"
        " JOIN leader_trade t ON t.id = s.trade_id WHERE s.id = :id",
        id=signal_id,
    )
    if row is None:
        return
    doublings = 0 if progress else min(row["signals"] - 1, 20)
    pause_us = min(FIRST_RETRY_S * 2**doublings, LAST_RETRY_S) * MICRO
    values = {
        "id": hashlib.sha256(f"{signal_id}|retry|{row['signals']}".encode()).hexdigest()[:32],
        "trade_id": row["trade_id"],
        "seq": row["signals"],
        "shares": rest,
        "usdc": 0,
        "leader_before": 0,
        "leader_after": 0,
        "leader_peak": 0,
        "leader_watched": row["leader_watched"],
        "source": "retry",
        "seen_us": now_us + pause_us,
        "decided": 0,
    }
    insert(tx, "signal", values)
    run(tx, "UPDATE leader_trade SET signals = signals + 1 WHERE id = :id", id=row["trade_id"])


_SIGNAL = (
    "SELECT s.id, s.trade_id, s.seq, t.tx, t.wallet, t.token, t.condition, t.side, s.shares, s.usdc,"
    " t.emitted_shares AS group_shares, t.emitted_usdc AS group_usdc, s.leader_before, s.leader_after,"
    " s.leader_peak, s.leader_watched, t.title, t.outcome, t.traded_s, s.seen_us, s.source"
    " FROM signal s JOIN leader_trade t ON t.id = s.trade_id"
)


def pending(tx: Tx, limit: int, *, now_us: int) -> list[Signal]:
    """Return the oldest undecided signals that are due, in the order they were seen."""
    return [
        _signal(r)
        for r in rows(
            tx,
            f"{_SIGNAL} WHERE s.decided = 0 AND s.seen_us <= :now ORDER BY s.seen_us, s.id LIMIT {limit:d}",
            now=now_us,
        )
    ]


def undecided(tx: Tx, signal_id: str) -> Signal | None:
    """Return a signal as it stands now, or None if it has been decided."""
    row = one(tx, f"{_SIGNAL} WHERE s.id = :id AND s.decided = 0", id=signal_id)
    return _signal(row) if row else None


def _signal(row: dict[str, object]) -> Signal:
    return Signal(**{**row, "side": Side(str(row["side"]))})  # type: ignore[arg-type]


def recent_markets(tx: Tx, since_us: int) -> list[tuple[ConditionId, TokenId]]:
    """Return (condition, token) that a leader traded or that we hold, to be kept ready."""
    found = rows(
        tx,
        f"SELECT condition, token FROM position WHERE shares >= {CENT}"
        " UNION SELECT condition, token FROM leader_position WHERE updated_us >= :since",
        since=since_us,
    )
    return [(ConditionId(row["condition"]), TokenId(row["token"])) for row in found]


def prune(tx: Tx, before_s: int) -> int:
    """Delete decided leader trades older than `before_s` and return how many.

    Never deletes what a source could still show: rows at or after the oldest cursor stay, and so
    do trades whose order still has an unsettled fill.
    """
    floor = scalar(tx, "SELECT MIN(position_s) FROM cursor WHERE source = 'data_api'")
    return run(
        tx,
        "DELETE FROM leader_trade WHERE traded_s < :before AND id NOT IN ("
        " SELECT s.trade_id FROM signal s WHERE s.decided = 0"
        " UNION SELECT s.trade_id FROM signal s JOIN orders o ON o.signal_id = s.id"
        "  WHERE o.state IN ('posting', 'unknown', 'open')"
        " UNION SELECT s.trade_id FROM signal s JOIN orders o ON o.signal_id = s.id"
        "  JOIN fill f ON f.order_id = o.id WHERE f.settlement NOT IN ('confirmed', 'failed'))",
        before=min(before_s, (floor or 0) - REPLAY_S),
    )


def standing_exits(tx: Tx, since_s: int) -> int:
    """Return how many exits of leaders' sales before `since_s` have not come through yet."""
    found = scalar(
        tx,
        "SELECT COUNT(DISTINCT t.id) FROM signal s JOIN leader_trade t ON t.id = s.trade_id"
        " WHERE s.decided = 0 AND s.source = 'retry' AND t.traded_s < :since",
        since=since_s,
    )
    return int(found)
