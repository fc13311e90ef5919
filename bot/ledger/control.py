"""Control, breaker, locks, boots, events and alerts: how the bot is steered and watched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.errors import InvariantBroken
from bot.ledger import intents
from bot.ledger.db import Tx, insert, one, rows, run, scalar, upsert
from bot.model.control import ControlMode

#: Locks of all entries: not compared with the exchange yet; trades of ours that the ledger does not
#: know; and an exchange that takes none from this account or from here.
UNCOMPARED, FORGOTTEN, RESTRICTED = "uncompared", "forgotten", "restricted"
#: No source that tells only what is in a block is heard.
UNSEEN = "unseen"
EVERYWHERE = (UNCOMPARED, FORGOTTEN, RESTRICTED, UNSEEN)
#: And a token of which the exchange knows trades that the ledger does not: exits wait as well.
IN_TOKEN = "token:"  # noqa: S105 (an outcome token is no secret)
FOREVER_US = 2**62


def position(portfolio: str, token: str) -> str:
    """Return the lock scope of one position: the operator has closed it."""
    return f"position:{portfolio}|{token}"


@dataclass(frozen=True, slots=True)
class ControlState:
    """What the bot may do now, and the breaker's counters."""

    mode: ControlMode
    reason: str
    actor: str
    errors: int  #: consecutive errors since the last success or resume
    loss_day: str  #: UTC day of `loss_base`
    loss_base: int  #: realised PnL of that day when the operator last resumed

    def loss(self, day: str, realized: int) -> int:
        """Return the day's realised loss since the last resume, at least 0, in micro-USDC."""
        return max(0, (self.loss_base if day == self.loss_day else 0) - realized)


def read(tx: Tx, *, now_us: int) -> ControlState:
    """Return the control row; a pause whose time is over counts as running."""
    row = one(tx, "SELECT * FROM control WHERE id = 1")
    assert row is not None
    mode = ControlMode(row["mode"])
    over = mode == ControlMode.PAUSED and row["until_us"] is not None and row["until_us"] <= now_us
    return ControlState(
        mode=ControlMode.RUNNING if over else mode,
        **{name: row[name] for name in ("reason", "actor", "errors", "loss_day", "loss_base")},
    )


def steer(
    tx: Tx, mode: ControlMode, *, reason: str, actor: str, now_us: int, until_us: int | None = None
) -> bool:
    """Set the mode and record the event; return False where what stands is as strict already.

    A halt is softened by nothing but `running`, and keeps its first reason. A pause that lasts
    longer is not cut short by another one: a restored ledger waits for whoever restored it.
    """
    changed = run(
        tx,
        "UPDATE control SET mode = :mode, reason = :reason, actor = :actor, since_us = :now,"
        " until_us = :until WHERE id = 1 AND (:mode = 'running' OR NOT ("
        "  mode = 'halted' OR mode = 'paused' AND :mode = 'paused'"
        "  AND COALESCE(until_us, :forever) > :now"
        "  AND COALESCE(until_us, :forever) >= COALESCE(:until, :forever)))",
        mode=str(mode),
        reason=reason,
        actor=actor,
        now=now_us,
        until=until_us,
        forever=FOREVER_US,
    )
    if changed:
        record(tx, actor, f"control.{mode}", reason, now_us=now_us)
    if mode is ControlMode.RUNNING:
        # Exits that stand have their next attempt at once.
        intents.wake(tx, now_us=now_us)
    return changed == 1


def rearm(tx: Tx, day: str, realized: int) -> None:
    """Reset the breaker: errors to 0, and losses counted from the day's present PnL."""
    run(
        tx,
        "UPDATE control SET errors = 0, loss_day = :day, loss_base = :base WHERE id = 1",
        day=day,
        base=realized,
    )


def count_error(tx: Tx, *, reset: bool) -> int:
    """Count one more consecutive error, or start again at 0; return the count."""
    run(tx, f"UPDATE control SET errors = {'0' if reset else 'errors + 1'} WHERE id = 1")
    return int(scalar(tx, "SELECT errors FROM control WHERE id = 1"))


def locks(tx: Tx, scopes: Sequence[str], *, now_us: int) -> dict[str, str]:
    """Return the locks on any of `scopes` that hold now, in their order: scope -> reason."""
    marks = ", ".join(f":s{i}" for i in range(len(scopes)))
    found = {
        row["scope"]: row["reason"]
        for row in rows(
            tx,
            f"SELECT scope, reason FROM lock WHERE scope IN ({marks}) AND until_us > :now",
            now=now_us,
            **{f"s{i}": scope for i, scope in enumerate(scopes)},
        )
    }
    return {scope: found[scope] for scope in scopes if scope in found}


def locked(tx: Tx, scopes: Sequence[str], *, now_us: int) -> str | None:
    """Return the reason of a lock on any of `scopes`, of the first that has one, or None."""
    return next(iter(locks(tx, scopes, now_us=now_us).values()), None)


def lock(tx: Tx, scope: str, reason: str, *, until_us: int = FOREVER_US) -> None:
    """Stop entries in a scope until it is unlocked.

    The scope is one of `EVERYWHERE`, 'leader:0x…', 'market:0x…'.
    """
    upsert(tx, "lock", ["scope"], {"scope": scope, "until_us": until_us, "reason": reason})


def lock_only(tx: Tx, prefix: str, reasons: Mapping[str, str]) -> None:
    """Make the locks whose scope begins with `prefix` exactly these (scope -> reason)."""
    for row in rows(tx, "SELECT scope FROM lock"):
        if row["scope"].startswith(prefix) and row["scope"] not in reasons:
            unlock(tx, row["scope"])
    for scope, reason in reasons.items():
        lock(tx, scope, reason)


def unlock(tx: Tx, scope: str) -> bool:
    """Take a lock away; return whether it was there."""
    return run(tx, "DELETE FROM lock WHERE scope = :scope", scope=scope) > 0


def boot(tx: Tx, worker: str, pid: int, pid_started_us: int, config: str, *, now_us: int) -> int:
    """Insert a boot row and return its id. An earlier row left open stays: it was killed."""
    values = {
        "worker": worker,
        "pid": pid,
        "pid_started_us": pid_started_us,
        "state": "starting",
        "config": config,
        "started_us": now_us,
        "beat_us": now_us,
        "detail": "",
    }
    insert(tx, "boot", values)
    return int(scalar(tx, "SELECT MAX(id) FROM boot WHERE worker = :worker", worker=worker))


def at_work(tx: Tx) -> set[int]:
    """Return the pids of lives that have begun work and have not ended, as far as is known."""
    return {
        row["pid"]
        for row in rows(tx, "SELECT pid FROM boot WHERE ready_us IS NOT NULL AND ended_us IS NULL")
    }


def newest_boot(tx: Tx, worker: str) -> int:
    """Return the id of a worker's newest boot; an older one must not write orders any more."""
    return int(
        scalar(tx, "SELECT COALESCE(MAX(id), 0) FROM boot WHERE worker = :worker", worker=worker)
    )


def fence(tx: Tx, boot_id: int) -> None:
    """Raise InvariantBroken if another executor has been started on this ledger."""
    if newest_boot(tx, "executor") != boot_id:
        raise InvariantBroken("another executor was started on this ledger; this one stops")


def stalled(tx: Tx, since_us: int) -> list[str]:
    """Return workers that lived before `since_us`, still beat, and have got no work done since.

    One that does not beat any more is hung or gone: a restored ledger has such lives.
    """
    found = rows(
        tx,
        "SELECT worker FROM boot b WHERE ended_us IS NULL"
        " AND id = (SELECT MAX(id) FROM boot WHERE worker = b.worker)"
        " AND started_us < :since AND beat_us >= :since AND COALESCE(progress_us, 0) < :since",
        since=since_us,
    )
    return [row["worker"] for row in found]


def beat(
    tx: Tx,
    boot_id: int,
    state: str,
    detail: str,
    *,
    now_us: int,
    progress_us: int | None,
    ready_us: int | None,
) -> None:
    """Store that a worker lives, what it does, and when it last got work done."""
    run(
        tx,
        "UPDATE boot SET state = :state, detail = :detail, beat_us = :now, progress_us = :progress,"
        " ready_us = :ready WHERE id = :id",
        state=state,
        detail=detail,
        now=now_us,
        progress=progress_us,
        ready=ready_us,
        id=boot_id,
    )


def end_boot(tx: Tx, boot_id: int, exit_code: int, detail: str, *, now_us: int) -> None:
    """Store how a worker's life ended."""
    run(
        tx,
        "UPDATE boot SET state = 'ended', ended_us = :now, exit_code = :code, detail = :detail"
        " WHERE id = :id",
        now=now_us,
        code=exit_code,
        detail=detail,
        id=boot_id,
    )


def unclean_boots(tx: Tx, worker: str, since_us: int) -> int:
    """Return how many boots of a worker since `since_us` ended by a crash or never ended.

    A crash is an exit code other than 0, 75 or 78.
    """
    return int(
        scalar(
            tx,
            "SELECT COUNT(*) FROM boot WHERE worker = :worker AND started_us >= :since"
            " AND (exit_code IS NULL OR exit_code NOT IN (0, 75, 78))",
            worker=worker,
            since=since_us,
        )
    )


def record(tx: Tx, worker: str, kind: str, text: str, *, now_us: int) -> None:
    """Append an event that an operator should be able to read later."""
    insert(tx, "event", {"at_us": now_us, "worker": worker, "kind": kind, "text": text})


def alert(tx: Tx, key: str, severity: str, text: str, *, now_us: int) -> bool:
    """Raise an alert once per key; return True if it is new."""
    if scalar(tx, "SELECT 1 FROM alert WHERE key = :key AND cleared_us IS NULL", key=key):
        return False
    insert(tx, "alert", {"at_us": now_us, "severity": severity, "key": key, "text": text})
    return True


def clear_alerts(tx: Tx, keep: set[str], prefix: str, *, now_us: int) -> None:
    """Clear every open alert whose key starts with `prefix` and is not in `keep`."""
    for row in rows(tx, "SELECT id, key FROM alert WHERE cleared_us IS NULL"):
        if row["key"].startswith(prefix) and row["key"] not in keep:
            run(tx, "UPDATE alert SET cleared_us = :now WHERE id = :id", now=now_us, id=row["id"])
