"""ALLOW: what counts against the limits, read in the transaction that reserves."""

from bot.config.schema import Settings
from bot.ledger import control, positions
from bot.ledger.db import Tx
from bot.model.decision import Proposal, Skip
from bot.model.fees import highest_fee
from bot.model.intent import Portfolio, leader_of
from bot.model.market import Market
from bot.model.units import utc_day
from bot.risk.breaker import tripped
from bot.risk.guards import Usage, check


def refused(
    tx: Tx,
    portfolio: Portfolio,
    proposal: Proposal,
    market: Market,
    settings: Settings,
    *,
    skew_s: int,
    now_us: int,
) -> Skip | None:
    """Return why a portfolio's purchase may not become an order now, or None where it may."""
    used = positions.budget(tx, market.condition, utc_day(now_us))
    scopes = [
        *control.EVERYWHERE,
        f"leader:{leader_of(portfolio)}",
        f"market:{market.condition}",
        f"{control.IN_TOKEN}{proposal.token}",
    ]
    closed = control.position(portfolio, proposal.token)
    locks = control.locks(tx, [*scopes, closed], now_us=now_us)
    state = control.read(tx, now_us=now_us)
    loss = state.loss(utc_day(now_us), used.realized)
    usage = Usage(
        mode=state.mode,
        tripped=tripped(loss, state.errors, settings.risk),
        lock=next((why for scope, why in locks.items() if scope != closed), None),
        position_lock=locks.get(closed),
        market_stake=used.stake_market + used.reserved_market,
        total_stake=used.stake + used.reserved,
        bought_today=used.bought + used.reserved,
        cash=used.cash - used.reserved,
        fee=highest_fee(proposal.usdc, market.fee_rate),
        skew_s=skew_s,
    )
    return check(proposal, usage, settings.risk)
