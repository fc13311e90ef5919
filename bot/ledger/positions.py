"""Positions: what we hold, for whom, and what is used of every limit."""

from dataclasses import dataclass

from bot.ledger.db import Tx, insert, one, rows, run, scalar, upsert
from bot.ledger.orders import FLYING, UNSETTLED, fills_of
from bot.model.amounts import CENT
from bot.model.fill import Payout
from bot.model.intent import EXTERNAL, Portfolio
from bot.model.market import ConditionId, TokenId
from bot.model.pnl import Fold, fold
from bot.model.position import Position
from bot.model.signal import Signal
from bot.model.units import MICRO

#: Shares that were matched so long ago and have not arrived do not come soon.
STUCK_S = 600
#: A trade's time is that of its block, which may be so long after its match.
SETTLED_S = 60
#: What is not nothing, and what is to be redeemed: the words of the partial indexes.
HELD = "shares <> 0"
OWED = "redeemed_us IS NULL AND usdc <> 0"


def store_position(
    tx: Tx, portfolio: str, condition: str, token: str, position: Position, *, now_us: int
) -> None:
    """Store a position."""
    values = {
        "portfolio": portfolio,
        "token": token,
        "condition": condition,
        "shares": position.shares,
        "cost": position.cost,
        "realized": position.realized,
        "updated_us": now_us,
    }
    upsert(tx, "position", ["portfolio", "token"], values)


def mark_orphan(tx: Tx, portfolio: str, token: str, *, orphan: bool) -> None:
    """Store that a position follows nobody any more, or somebody again."""
    run(
        tx,
        "UPDATE position SET orphan = :orphan WHERE portfolio = :portfolio AND token = :token"
        " AND orphan <> :orphan",
        orphan=int(orphan),
        portfolio=portfolio,
        token=token,
    )


def is_orphan(tx: Tx, portfolio: str, token: str) -> bool:
    """Return whether a position follows nobody any more."""
    sql = "SELECT orphan FROM position WHERE portfolio = :portfolio AND token = :token"
    return bool(scalar(tx, sql, portfolio=portfolio, token=token))


def folded(tx: Tx, portfolio: str, token: str) -> Fold:
    """Return what the fills and payouts of a position amount to."""
    paid = rows(
        tx,
        "SELECT at_us, shares, usdc FROM settlement WHERE portfolio = :portfolio"
        " AND token = :token",
        portfolio=portfolio,
        token=token,
    )
    return fold(fills_of(tx, portfolio, token), [Payout(**row) for row in paid])


@dataclass(frozen=True, slots=True)
class Held:
    """What an entry must know about holdings, in micro-shares.

    `copied_before`: his trade was copied, or the token was bought since by nobody's decision here,
    which may have been its copy. `complement_by_anyone` counts what is being bought too: two
    leaders may be milliseconds apart.
    """

    ours: int
    complement_by_anyone: int
    copied_before: int


def held(tx: Tx, signal: Signal, complement: str) -> Held:
    """Return what is held around a signal, in one query."""
    # Less than a sellable unit is nothing: it makes no side taken and no leader held.
    ours = f"SELECT SUM(shares) FROM position WHERE shares >= {CENT} AND token = "
    row = one(
        tx,
        f"SELECT COALESCE(({ours}:token AND portfolio = :portfolio), 0) AS ours,"
        f" COALESCE(({ours}:other), 0) + COALESCE((SELECT SUM(taker_amount) FROM orders"
        f"  WHERE token = :other AND side = 'BUY' AND {FLYING}), 0) AS complement_by_anyone,"
        " EXISTS (SELECT 1 FROM decision d JOIN signal s ON s.id = d.signal_id"
        "  WHERE s.trade_id = :trade_id AND d.verdict = 'copied')"
        # A restored ledger has forgotten that it copied him; what was bought it has found again.
        " OR EXISTS (SELECT 1 FROM orders o JOIN fill f ON f.order_id = o.id"
        f"  WHERE o.portfolio IN (:portfolio, '{EXTERNAL}') AND o.token = :token"
        "  AND o.intent_id IS NULL AND o.side = 'BUY' AND f.settlement <> 'failed'"
        "  AND f.matched_us >= :since) AS copied_before",
        token=signal.token,
        other=complement,
        portfolio=signal.portfolio,
        trade_id=signal.trade_id,
        since=(signal.traded_s - SETTLED_S) * MICRO,
    )
    assert row is not None
    return Held(**row)


def other_token(tx: Tx, signal: Signal) -> TokenId | None:
    """Return the other token of a signal's condition if its portfolio may have it.

    It may if it holds it or may be buying it.
    """
    found = scalar(
        tx,
        "SELECT token FROM position WHERE portfolio = :portfolio AND condition = :condition"
        f" AND token <> :token AND shares >= {CENT}"
        " UNION ALL SELECT token FROM orders WHERE portfolio = :portfolio"
        f" AND condition = :condition AND token <> :token AND side = 'BUY' AND {FLYING} LIMIT 1",
        portfolio=signal.portfolio,
        condition=signal.condition,
        token=signal.token,
    )
    return None if found is None else TokenId(found)


@dataclass(frozen=True, slots=True)
class InMarket:
    """What a portfolio holds of one token of a market."""

    portfolio: Portfolio
    condition: ConditionId
    token: TokenId
    shares: int


def assign(tx: Tx, token: str, owner: Portfolio) -> None:
    """Give the external fills and payouts of a token to another portfolio.

    The caller stores both anew.
    """
    for table in ("orders", "fill", "settlement"):
        run(
            tx,
            f"UPDATE {table} SET portfolio = :owner"
            " WHERE portfolio = 'external' AND token = :token",
            owner=owner,
            token=token,
        )


def in_condition(tx: Tx, condition: str) -> list[InMarket]:
    """Return every position in a condition that is not nothing, dust and shorts included."""
    found = rows(
        tx,
        "SELECT portfolio, condition, token, shares FROM position WHERE condition = :condition"
        " AND shares <> 0 ORDER BY portfolio, token",
        condition=condition,
    )
    return [InMarket(**row) for row in found]


def add_settlement(tx: Tx, held: InMarket, usdc: int, *, source: str, now_us: int) -> None:
    """Store what an ended market pays for a position: a receivable until it is redeemed."""
    values = {
        "portfolio": held.portfolio,
        "token": held.token,
        "at_us": now_us,
        "condition": held.condition,
        "shares": held.shares,
        "usdc": usdc,
        "source": source,
    }
    insert(tx, "settlement", values)
    run(
        tx,
        "DELETE FROM cover WHERE portfolio = :portfolio AND token = :token",
        portfolio=held.portfolio,
        token=held.token,
    )


@dataclass(frozen=True, slots=True)
class Receivable:
    """What an ended market owes for a token, whoever held it, as settled until `until_us`."""

    token: TokenId
    usdc: int
    until_us: int


def receivables(tx: Tx, after: str, limit: int) -> list[Receivable]:
    """Return what is to be redeemed, by token from the one `after` on."""
    found = rows(
        tx,
        "SELECT token, SUM(usdc) AS usdc, MAX(at_us) AS until_us FROM settlement"
        f" WHERE {OWED} AND token > :after GROUP BY token ORDER BY token LIMIT :limit",
        after=after,
        limit=limit,
    )
    return [Receivable(**row) for row in found]


def redeemed(tx: Tx, paid: Receivable, *, now_us: int) -> None:
    """Note that what an ended market owed for a token is owed no more."""
    run(
        tx,
        f"UPDATE settlement SET redeemed_us = :now WHERE {OWED} AND token = :token"
        " AND at_us <= :until",
        now=now_us,
        token=paid.token,
        until=paid.until_us,
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """What is used of every limit, in micro-USDC; orders in flight count with what they reserve
    and have not spent yet.
    """

    reserved: int
    reserved_market: int
    stake: int
    stake_market: int
    bought: int
    realized: int
    cash: int


def budget(tx: Tx, condition: str, day: str) -> Budget:
    """Return what is used of every limit, in one query."""
    # What has filled is cost already: counted twice, it would keep others out of the market.
    flying = (
        "SELECT SUM(MAX(0, reserved - COALESCE((SELECT SUM(f.usdc + f.fee) FROM fill f"
        "  WHERE f.order_id = orders.id AND f.settlement <> 'failed'), 0)))"
        f" FROM orders WHERE {FLYING}"
    )
    row = one(
        tx,
        f"SELECT COALESCE(({flying}), 0) AS reserved,"
        f" COALESCE(({flying} AND condition = :condition), 0) AS reserved_market,"
        f" COALESCE((SELECT SUM(cost) FROM position WHERE {HELD} AND shares > 0), 0) AS stake,"
        " COALESCE((SELECT SUM(cost) FROM position"
        " WHERE condition = :condition AND shares > 0), 0) AS stake_market,"
        " COALESCE((SELECT bought FROM daily_pnl WHERE day = :day), 0) AS bought,"
        " COALESCE((SELECT realized FROM daily_pnl WHERE day = :day), 0) AS realized,"
        " COALESCE((SELECT SUM(cash) FROM account), 0) AS cash",
        condition=condition,
        day=day,
    )
    assert row is not None
    return Budget(**row)


def held_by_token(tx: Tx) -> list[tuple[TokenId, ConditionId, int]]:
    """Return (token, condition, shares) of what we hold in markets that trade, whoever it is for.

    Where a market has ended the wallet keeps what is settled here, until it is redeemed.
    """
    found = rows(
        tx,
        "SELECT token, condition, SUM(shares) AS shares FROM position"
        f" WHERE {HELD} AND NOT EXISTS (SELECT 1 FROM market m"
        "  WHERE m.condition = position.condition AND m.status = 'ended')"
        " GROUP BY token, condition HAVING SUM(shares) <> 0",
    )
    return [(TokenId(r["token"]), ConditionId(r["condition"]), r["shares"]) for r in found]


@dataclass(frozen=True, slots=True)
class Holder:
    """Which portfolio holds a token, how much of it, and at what cost."""

    portfolio: Portfolio
    shares: int
    cost: int


def holders(tx: Tx, token: str) -> list[Holder]:
    """Return which portfolios hold a token: `external` first, then most first."""
    found = rows(
        tx,
        "SELECT portfolio, shares, cost FROM position WHERE token = :token AND shares > 0"
        " ORDER BY portfolio = 'external' DESC, shares DESC, portfolio",
        token=token,
    )
    return [Holder(**row) for row in found]


def shares_of(tx: Tx, portfolio: str, token: str) -> int:
    """Return what a portfolio holds of a token."""
    found = scalar(
        tx,
        "SELECT shares FROM position WHERE portfolio = :portfolio AND token = :token",
        portfolio=portfolio,
        token=token,
    )
    return int(found or 0)


def whole_in_wallet(tx: Tx, token: str, *, now_us: int, skew_s: int) -> int | None:
    """Return the least that proves a wallet whole: that nothing was sold which nobody here knows.

    What all portfolios hold, and what is leaving and may be there still. Less than that proves
    nothing while shares are on their way in: those that have arrived may stand in for others that
    have gone. Shares that have not arrived for ten minutes are stuck, and hold up nothing but
    themselves. `skew_s` is the exchange's clock less ours.

    None: nothing would prove it. A purchase is in flight, or has ended in doubt lately and shows
    no fill: how many shares it brings, and whether they are there, nobody knows.
    """
    stuck_us = now_us - STUCK_S * MICRO
    maybe = scalar(
        tx,
        f"SELECT 1 FROM orders WHERE token = :token AND side = 'BUY' AND {FLYING}"
        " UNION ALL SELECT 1 FROM orders o WHERE o.created_us > :stuck AND o.token = :token"
        " AND o.side = 'BUY' AND o.doubted = 1"
        " AND NOT EXISTS (SELECT 1 FROM fill f WHERE f.order_id = o.id) LIMIT 1",
        token=token,
        stuck=stuck_us,
    )
    if maybe is not None:
        return None
    found = scalar(
        tx,
        "SELECT COALESCE((SELECT SUM(shares) FROM position WHERE token = :token), 0)"
        " + COALESCE((SELECT SUM(CASE WHEN side = 'SELL' THEN shares"
        "  WHEN matched_us < :stuck THEN -shares ELSE 0 END) FROM fill"
        f"  WHERE token = :token AND {UNSETTLED} AND settlement <> 'mined'), 0)",
        token=token,
        stuck=stuck_us + skew_s * MICRO,
    )
    return int(found)
