"""Signals: what asks for a decision, and the queue of what has none yet."""

import secrets
from collections.abc import Sequence
from typing import Any

from bot.ledger.db import Tx, insert, insert_all, one, rows, run
from bot.model.intent import leader_of
from bot.model.market import Side
from bot.model.signal import Signal, SignalKind

_COLUMNS = (
    "id", "kind", "portfolio", "condition", "token", "trade_id", "note", "seq", "shares", "usdc",
    "leader_watched", "source", "seen_us",
)  # fmt: skip


def add(tx: Tx, signals: Sequence[Signal]) -> None:
    """Store the first signals of trades, which tell as much as is stored of them."""
    insert_all(tx, "signal", [_values(signal) for signal in signals])


def _values(signal: Signal) -> dict[str, Any]:
    values = {name: getattr(signal, name) for name in _COLUMNS}
    return values | {"kind": str(signal.kind), "decided": 0}


def emit(tx: Tx, signal: Signal) -> bool:
    """Store a trade's next signal; return True if it joined its last, still undecided one."""
    joined = signal.seq > 0 and run(
        tx,
        "UPDATE signal SET shares = shares + :shares, usdc = usdc + :usdc,"
        " leader_watched = :watched"
        " WHERE trade_id = :trade_id AND decided = 0",
        shares=signal.shares,
        usdc=signal.usdc,
        watched=signal.leader_watched,
        trade_id=signal.trade_id,
    )
    if not joined:
        insert(tx, "signal", _values(signal))
        count = "UPDATE leader_trade SET signals = signals + 1 WHERE id = :id"
        run(tx, count, id=signal.trade_id)
    return bool(joined)


def hand_over(tx: Tx, twin_id: int, trade_id: int) -> None:
    """Let what was told of one trade be told of another: they are one."""
    more = "UPDATE leader_trade SET signals = signals + (SELECT signals FROM leader_trade"
    run(tx, f"{more} WHERE id = :twin) WHERE id = :id", twin=twin_id, id=trade_id)
    run(tx, "UPDATE signal SET trade_id = :id WHERE trade_id = :twin", id=trade_id, twin=twin_id)


def take_back(tx: Tx, trade_id: int, shares: int) -> None:
    """Let the undecided signal of a trade tell of so many shares less."""
    run(
        tx,
        "UPDATE signal SET shares = CASE WHEN shares > :shares THEN shares - :shares ELSE 0 END"
        " WHERE trade_id = :id AND decided = 0",
        shares=shares,
        id=trade_id,
    )


def ask(tx: Tx, portfolio: str, condition: str, token: str, note: str, *, now_us: int) -> str:
    """Store an operator's wish about a position; return the signal's id.

    The wish is a `Wish`, and what follows it.
    """
    return _own(tx, SignalKind.OPERATOR, (portfolio, condition, token), note, now_us)


def correct(
    tx: Tx,
    portfolio: str,
    condition: str,
    token: str,
    note: str = "",
    *,
    fell: int = 0,
    now_us: int,
) -> str:
    """Store that a portfolio's shares, or its leader's, have changed; return the signal's id.

    Ours have changed outside a living entry, or his otherwise than by a trade of his: by `fell`
    shares, if that is less of them. One that waits for its decision already tells of both.
    """
    waiting = one(
        tx,
        "SELECT id FROM signal WHERE decided = 0 AND kind = 'correction' AND condition = :condition"
        " AND portfolio = :portfolio AND token = :token AND note = :note",
        condition=condition,
        portfolio=portfolio,
        token=token,
        note=note,
    )
    if waiting is None:
        where = (portfolio, condition, token)
        return _own(tx, SignalKind.CORRECTION, where, note, now_us, shares=fell)
    more = "UPDATE signal SET shares = shares + :fell WHERE id = :id"
    run(tx, more, fell=fell, id=waiting["id"])
    return str(waiting["id"])


def _own(
    tx: Tx,
    kind: SignalKind,
    where: tuple[str, str, str],
    note: str,
    now_us: int,
    *,
    shares: int = 0,
) -> str:
    portfolio, condition, token = where
    values = dict.fromkeys(_COLUMNS, 0) | {
        "id": secrets.token_hex(16),
        "kind": str(kind),
        "portfolio": portfolio,
        "condition": condition,
        "token": token,
        "trade_id": None,
        "note": note,
        "shares": shares,
        "source": str(kind),
        "seen_us": now_us,
        "decided": 0,
    }
    insert(tx, "signal", values)
    return str(values["id"])


#: A signal with what its leader trade says of it: `s` and `t`.
SIGNAL = (
    "SELECT s.id, s.kind, s.portfolio, s.condition, s.token, s.trade_id, s.note, s.seq,"
    " COALESCE(t.tx, '') AS tx, COALESCE(t.wallet, '') AS wallet, COALESCE(t.side, 'SELL') AS side,"
    " s.shares, s.usdc, COALESCE(t.emitted_shares, 0) AS group_shares,"
    " COALESCE(t.emitted_usdc, 0) AS group_usdc,"
    " s.leader_watched, COALESCE(t.title, '') AS title, COALESCE(t.outcome, '') AS outcome,"
    " COALESCE(t.traded_s, s.seen_us / 1000000) AS traded_s, s.seen_us, s.source"
    " FROM signal s LEFT JOIN leader_trade t ON t.id = s.trade_id"
)


def pending(tx: Tx, limit: int) -> list[Signal]:
    """Return undecided signals, those that increase nothing first, in the order they were seen."""
    return [
        to_signal(r)
        for r in rows(
            tx,
            f"{SIGNAL} WHERE s.decided = 0"
            # Ids of our own are random: what is of one moment goes by its token.
            f" ORDER BY s.kind = 'increase', s.seen_us, s.token, s.id LIMIT {limit:d}",
        )
    ]


def undecided(tx: Tx, signal_id: str) -> Signal | None:
    """Return a signal as it stands now, or None if it has been decided."""
    row = one(tx, f"{SIGNAL} WHERE s.id = :id AND s.decided = 0", id=signal_id)
    return to_signal(row) if row else None


def to_signal(row: dict[str, object]) -> Signal:
    """Return a row of `SIGNAL` as what it is."""
    # A wish, or a correction, has no trade: its leader is its portfolio's.
    row = {**row, "wallet": row["wallet"] or leader_of(str(row["portfolio"])) or ""}
    return Signal(
        **{  # type: ignore[arg-type]
            **row,
            "side": Side(str(row["side"])),
            "kind": SignalKind(str(row["kind"])),
        }
    )


def overtaken(tx: Tx, signal: Signal) -> list[Signal]:
    """Return undecided increases that were seen before a decrease.

    They are those of its own (portfolio, token).
    """
    found = rows(
        tx,
        f"{SIGNAL} WHERE s.decided = 0 AND s.kind = 'increase' AND s.portfolio = :portfolio"
        " AND s.condition = :condition AND s.token = :token AND s.seen_us <= :seen"
        " ORDER BY s.seen_us, s.id",
        portfolio=signal.portfolio,
        condition=signal.condition,
        token=signal.token,
        seen=signal.seen_us,
    )
    return [to_signal(row) for row in found]
