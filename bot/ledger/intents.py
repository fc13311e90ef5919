"""Intents: what every portfolio wishes to hold, and how far it has got."""

from collections.abc import Sequence

from bot.ledger.db import Tx, added, one, rows, run, scalar
from bot.ledger.orders import FLYING
from bot.model.amounts import CENT
from bot.model.intent import Intent, IntentKind, IntentState, Portfolio
from bot.model.market import ConditionId, TokenId
from bot.model.order import Order, OrderState
from bot.model.units import MICRO

#: An exit looks again after this long, and at most this long, while nothing comes of it.
FIRST_LOOK_S = 10
LAST_LOOK_S = 60
#: So often an entry is attempted: what nobody offers then is not bought.
ENTRY_ATTEMPTS = 3
#: Ends of an attempt after which another may be made: it was at the exchange and is over.
_PROVEN = frozenset({OrderState.FILLED, OrderState.PARTIAL, OrderState.CANCELLED})
_ON = "SELECT * FROM intent WHERE portfolio = :portfolio AND token = :token"


def get(tx: Tx, intent_id: int | None) -> Intent | None:
    """Return an intent, or None."""
    return _first(tx, "SELECT * FROM intent WHERE id = :id", id=intent_id)


def open_on(tx: Tx, portfolio: str, token: str) -> Intent | None:
    """Return the one open intent of a (portfolio, token), or None."""
    return _first(tx, f"{_ON} AND state = 'open'", portfolio=portfolio, token=token)


def latest_on(tx: Tx, portfolio: str, token: str) -> Intent | None:
    """Return the newest intent of a (portfolio, token), open or ended, or None."""
    return _first(tx, f"{_ON} ORDER BY id DESC LIMIT 1", portfolio=portfolio, token=token)


def _first(tx: Tx, sql: str, **values: object) -> Intent | None:
    row = one(tx, sql, **values)
    return _intent(row) if row else None


def _intent(row: dict[str, object]) -> Intent:
    kind, state = IntentKind(str(row["kind"])), IntentState(str(row["state"]))
    return Intent(**{**row, "kind": kind, "state": state})  # type: ignore[arg-type]


def exits(tx: Tx) -> list[Intent]:
    """Return every exit that stands, those that are due longest first."""
    found = rows(
        tx, "SELECT * FROM intent WHERE state = 'open' AND kind = 'exit' ORDER BY due_us, id"
    )
    return [_intent(row) for row in found]


def exit_stands_in(tx: Tx, token: str) -> bool:
    """Return whether any portfolio's exit of a token stands: we do not trade with ourselves.

    A sale counts until its end is proven, also one whose exit the operator has withdrawn.
    """
    sql = (
        "SELECT 1 FROM intent WHERE token = :token AND state = 'open' AND kind = 'exit'"
        " UNION ALL SELECT 1 FROM orders"
        f" WHERE token = :token AND side = 'SELL' AND {FLYING} LIMIT 1"
    )
    return scalar(tx, sql, token=token) is not None


def add(
    tx: Tx,
    kind: IntentKind,
    portfolio: Portfolio,
    condition: ConditionId,
    token: TokenId,
    *,
    target: int,
    price: int | None,
    budget: int = 0,
    deadline_us: int | None = None,
    burst_us: int | None = None,
    signal_id: str,
    now_us: int,
) -> Intent:
    """Open an intent. Raises a constraint error where one is open already."""
    values = {
        "portfolio": portfolio,
        "condition": condition,
        "token": token,
        "kind": str(kind),
        "target": target,
        "price": price,
        "budget": budget,
        "signal_id": signal_id,
        "state": str(IntentState.OPEN),
        "opened_us": now_us,
        "due_us": now_us,
        "tries": 0,
        "waits": "",
        "deadline_us": deadline_us,
        "burst_us": burst_us,
    }
    return _intent(added(tx, "intent", [values])[0])


def change(tx: Tx, intent: Intent, *, target: int, price: int | None, now_us: int) -> None:
    """Give a standing exit another target and price; its next look comes at once."""
    run(
        tx,
        "UPDATE intent SET target = :target, price = :price WHERE id = :id AND state = 'open'",
        target=target,
        price=price,
        id=intent.id,
    )
    _soon(tx, intent, now_us)


def _soon(tx: Tx, intent: Intent, now_us: int) -> None:
    """Let an exit look at once, and count its looks from there."""
    run(
        tx,
        "UPDATE intent SET due_us = CASE WHEN due_us < :now THEN due_us ELSE :now END, tries = 0"
        " WHERE id = :id",
        now=now_us,
        id=intent.id,
    )


def finish(tx: Tx, intent: Intent, state: IntentState, *, now_us: int, why: str = "") -> None:
    """End an intent that is open; one that has ended stays as it is."""
    run(
        tx,
        "UPDATE intent SET state = :state, ended_us = :now, waits = :why"
        " WHERE id = :id AND state = 'open'",
        state=str(state),
        now=now_us,
        why=why,
        id=intent.id,
    )


def wait(tx: Tx, intent: Intent, why: str, *, now_us: int, seconds: int | None = None) -> None:
    """Note what an intent waits for, and when it looks again: pauses double unless told."""
    pause_s = min(FIRST_LOOK_S * 2 ** min(intent.tries, 10), LAST_LOOK_S)
    run(
        tx,
        "UPDATE intent SET waits = :why, due_us = :due, tries = tries + :one WHERE id = :id",
        why=why[:200],
        due=now_us + (pause_s if seconds is None else seconds) * MICRO,
        one=int(seconds is None),
        id=intent.id,
    )


def attempted(tx: Tx, intent: Intent) -> int:
    """Note that an attempt goes out; return which it is, from 1."""
    if intent.waits:
        run(tx, "UPDATE intent SET waits = '' WHERE id = :id", id=intent.id)
    sql = "SELECT COALESCE(MAX(attempt), 0) + 1 FROM orders WHERE intent_id = :id"
    return int(scalar(tx, sql, id=intent.id))


def wake(tx: Tx, *, now_us: int) -> None:
    """Let every standing exit look at once: resumed, or compared with the exchange."""
    run(
        tx,
        "UPDATE intent SET due_us = :now, tries = 0 WHERE state = 'open' AND due_us > :now",
        now=now_us,
    )


def doubted(tx: Tx, intent: Intent) -> bool:
    """Return whether the end of the last sale of its (portfolio, token) was once in doubt (law 2).

    Of whatever intent it was: the shares that may have gone are the same. The last is told by
    numbers, not by a clock that may have been set.
    """
    found = scalar(
        tx,
        "SELECT doubted FROM orders WHERE portfolio = :portfolio AND token = :token"
        " AND side = 'SELL' AND intent_id IS NOT NULL"
        " ORDER BY intent_id DESC, attempt DESC LIMIT 1",
        portfolio=intent.portfolio,
        token=intent.token,
    )
    return bool(found)


def asked_by_operator(tx: Tx, intent: Intent) -> bool:
    """Return whether an intent is the operator's: no leader changes what it is about."""
    sql = "SELECT 1 FROM signal WHERE id = :id AND kind = 'operator'"
    return scalar(tx, sql, id=intent.signal_id) is not None


def take_over(tx: Tx, intent: Intent, signal_id: str) -> None:
    """Let a standing intent be for another signal from now on."""
    run(tx, "UPDATE intent SET signal_id = :signal WHERE id = :id", signal=signal_id, id=intent.id)


def flying(tx: Tx, portfolio: str, token: str) -> list[tuple[str, int]]:
    """Return (side, shares) of orders of a (portfolio, token) whose end is not proven."""
    found = rows(
        tx,
        "SELECT side, CASE side WHEN 'BUY' THEN taker_amount ELSE maker_amount END AS shares"
        f" FROM orders WHERE portfolio = :portfolio AND token = :token AND {FLYING}",
        portfolio=portfolio,
        token=token,
    )
    return [(row["side"], row["shares"]) for row in found]


def coming(tx: Tx, portfolio: str, token: str) -> int:
    """Return the shares that purchases of a (portfolio, token) in flight may bring."""
    return sum(shares for side, shares in flying(tx, portfolio, token) if side == "BUY")


def concerned(tx: Tx, portfolio: str, token: str) -> bool:
    """Return whether a portfolio has, wishes for, or is buying anything of a token."""
    if open_on(tx, portfolio, token) is not None:
        return True
    return _held(tx, portfolio, token) + coming(tx, portfolio, token) >= CENT


def _held(tx: Tx, portfolio: str, token: str) -> int:
    sql = "SELECT shares FROM position WHERE portfolio = :portfolio AND token = :token"
    return int(scalar(tx, sql, portfolio=portfolio, token=token) or 0)


def review(tx: Tx, portfolio: str, token: str, *, now_us: int, news: bool = False) -> None:
    """Hold a (portfolio, token) against its standing exit, and end one that is reached.

    Reached: what is held and what may still be bought is at most the target, and the end of its
    own last attempt is proven. `news`: shares have come or gone, so its next look comes at once.
    """
    standing = open_on(tx, portfolio, token)
    if standing is None or standing.kind is not IntentKind.EXIT:
        return
    moving = flying(tx, portfolio, token)
    maybe = _held(tx, portfolio, token) + sum(n for side, n in moving if side == "BUY")
    over = maybe - standing.target >= CENT
    if not over and not any(side == "SELL" for side, _ in moving):
        finish(tx, standing, IntentState.REACHED, now_us=now_us)
    elif news:
        _soon(tx, standing, now_us)


def reopen(tx: Tx, order: Order, *, now_us: int) -> bool:
    """Let the last exit of a token stand again when a sale of ours has failed.

    Return whether it does. Its own sale, or one of an exit before it: the shares are there again,
    and he has left with them. Nothing else reopens an exit: shares that come later are not what it
    was about.
    """
    intent = latest_on(tx, order.portfolio, order.token)
    if intent is None or intent.kind is not IntentKind.EXIT or order.intent_id is None:
        return False
    if intent.state is IntentState.REACHED:
        if _held(tx, order.portfolio, order.token) - intent.target < CENT:
            return True
        sql = "UPDATE intent SET state = 'open', ended_us = NULL, waits = '' WHERE id = :id"
        run(tx, sql, id=intent.id)
        _soon(tx, intent, now_us)
    return True


def tried(tx: Tx, order: Order, held: int, *, now_us: int) -> None:
    """Let an intent go on after the end of an attempt, whose fills are booked; `held` is with them.

    An exit that sold something looks again at once, one that sold nothing after a pause. An entry
    looks again in a second, unless it is reached, its attempt was in doubt (law 2), or it had
    enough of them.
    """
    intent = get(tx, order.intent_id)
    if intent is None or intent.state is not IntentState.OPEN:
        return
    if intent.kind is IntentKind.EXIT:
        sql = "SELECT COALESCE(SUM(shares), 0) FROM fill WHERE order_id = :id"
        if scalar(tx, sql, id=order.id) >= CENT:
            _soon(tx, intent, now_us)
        else:
            wait(tx, intent, order.reason or "nothing was taken", now_us=now_us)
    elif held + CENT > intent.target:
        finish(tx, intent, IntentState.REACHED, now_us=now_us)
    elif order.doubted or order.state not in _PROVEN or order.attempt >= ENTRY_ATTEMPTS:
        finish(tx, intent, IntentState.EXPIRED, now_us=now_us, why=str(order.state))
    else:
        wait(tx, intent, "the rest of what was wanted", now_us=now_us, seconds=1)


def entries(tx: Tx, now_us: int) -> list[Intent]:
    """Return the entries that wait for their next look and are due, or whose time is over."""
    found = rows(
        tx,
        "SELECT * FROM intent i WHERE state = 'open' AND kind = 'entry'"
        " AND (due_us <= :now OR due_us > :far OR deadline_us <= :now)"
        f" AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.intent_id = i.id AND o.{FLYING})"
        " ORDER BY due_us, id",
        now=now_us,
        far=now_us + LAST_LOOK_S * MICRO,
    )
    return [_intent(row) for row in found]


def bought(tx: Tx, intent: Intent) -> tuple[int, int]:
    """Return (attempts, micro-USDC spent) of an entry none of whose attempts is in flight."""
    row = one(
        tx,
        "SELECT COUNT(DISTINCT o.id) AS attempts, COALESCE(SUM(f.usdc), 0) AS usdc FROM orders o"
        " LEFT JOIN fill f ON f.order_id = o.id WHERE o.intent_id = :id",
        id=intent.id,
    )
    assert row is not None
    return row["attempts"], row["usdc"]


def standing_since(tx: Tx, before_us: int) -> int:
    """Return how many exits that were opened before a moment still stand."""
    sql = (
        "SELECT COUNT(*) FROM intent WHERE state = 'open' AND kind = 'exit' AND opened_us < :before"
    )
    return int(scalar(tx, sql, before=before_us))


def end_in_market(tx: Tx, tokens: Sequence[str], *, now_us: int) -> None:
    """End every open intent in tokens of a market that has ended."""
    for token in tokens:
        run(
            tx,
            "UPDATE intent SET state = 'market_ended', ended_us = :now, waits = ''"
            " WHERE token = :token AND state = 'open'",
            now=now_us,
            token=token,
        )
