"""Covers: in which proportion to its leader's holding a portfolio leaves."""

from bot.ledger import intents, positions
from bot.ledger.db import Tx, one, upsert
from bot.model.intent import Cover, IntentKind
from bot.model.order import Order


def get(tx: Tx, portfolio: str, token: str) -> Cover | None:
    """Return the cover of a (portfolio, token), or None."""
    row = one(
        tx,
        "SELECT shares, leader FROM cover WHERE portfolio = :portfolio AND token = :token",
        portfolio=portfolio,
        token=token,
    )
    return Cover(**row) if row else None


def store(tx: Tx, portfolio: str, token: str, found: Cover, *, now_us: int) -> None:
    """Store a cover."""
    values = {"portfolio": portfolio, "token": token, "shares": found.shares}
    values |= {"leader": found.leader, "updated_us": now_us}
    upsert(tx, "cover", ["portfolio", "token"], values)


def recover(tx: Tx, portfolio: str, token: str, shares: int, *, now_us: int) -> None:
    """Correct our part of a cover; a standing exit's target S0 × L / L0 moves in proportion."""
    before, standing = get(tx, portfolio, token), intents.open_on(tx, portfolio, token)
    if before is None:
        return
    store(tx, portfolio, token, Cover(shares, before.leader), now_us=now_us)
    if standing is not None and standing.kind is IntentKind.EXIT and before.shares > 0:
        target = standing.target * shares // before.shares
        intents.change(tx, standing, target=target, price=standing.price, now_us=now_us)


def joined(tx: Tx, portfolio: str, token: str, shares: int, exposure: int, *, now_us: int) -> None:
    """Count shares that were given to a leader's portfolio into its cover: they follow him too.

    What was there before an exit that stands has its part of it sold still; what joins it is kept
    in the proportion in which he is kept from now on.
    """
    before, standing = get(tx, portfolio, token), intents.open_on(tx, portfolio, token)
    if standing is None or standing.kind is not IntentKind.EXIT:
        held = max(positions.shares_of(tx, portfolio, token), 0)
        store(tx, portfolio, token, Cover(held, exposure), now_us=now_us)
    elif before is not None and exposure > 0:
        kept = max(before.shares + shares * before.leader // exposure, 0)
        recover(tx, portfolio, token, kept, now_us=now_us)


def entered(tx: Tx, order: Order, held: int, exposure: int, *, now_us: int) -> None:
    """Set the cover anew when an attempt of an entry has ended: `held` is ours, `exposure` his."""
    positions.mark_orphan(tx, order.portfolio, order.token, orphan=False)
    standing = intents.open_on(tx, order.portfolio, order.token)
    if standing is not None and standing.kind is IntentKind.EXIT:
        # An exit stands: his part is counted from what he held when we bought.
        recover(tx, order.portfolio, order.token, held, now_us=now_us)
    else:
        store(tx, order.portfolio, order.token, Cover(held, exposure), now_us=now_us)


def bought_late(tx: Tx, order: Order, change_shares: int, *, now_us: int) -> None:
    """Count shares that came, or were taken back, after their entry's end into the cover."""
    found = get(tx, order.portfolio, order.token)
    if found is not None:
        shares = max(found.shares + change_shares, 0)
        recover(tx, order.portfolio, order.token, shares, now_us=now_us)
