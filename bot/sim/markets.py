"""How a market ends: open, closed, proposed, disputed, resolved, paid.

It never goes back, but for a dispute, which asks for a new proposal. Closing cancels what rests
and takes the book away. The payouts are known once it is resolved; to be paid means that the
operator has redeemed everybody's shares. What each source makes of it is in bot/sim/catalogue.py.
"""

from collections.abc import Sequence

from bot.errors import ConfigError
from bot.sim import cancels, logs
from bot.sim.entities import MICRO, SimMarket
from bot.sim.exchange import Exchange

STAGES = ("open", "closed", "proposed", "disputed", "resolved", "paid")


def advance(
    exchange: Exchange, market: SimMarket, stage: str, payouts: Sequence[int] = (1, 0)
) -> None:
    """Bring a market to a later stage; raises ConfigError for one that cannot follow.

    `payouts` are the numerators of the two outcomes; they count once it is resolved.
    """
    if stage not in STAGES[1:]:
        raise ConfigError(f"stage {stage[:40]!a}: expected one of {', '.join(STAGES[1:])}")
    again = market.stage == "disputed" and stage == "proposed"
    if STAGES.index(stage) <= STAGES.index(market.stage) and not again:
        raise ConfigError(f"stage {stage}: {market.slug} is {market.stage} already")
    if stage == "paid" and market.payouts is None:
        advance(exchange, market, "resolved", payouts)
    if stage == "resolved":
        _resolve(exchange, market, payouts)
    close(exchange, market)
    market.stage = stage
    market.history.append((stage, exchange.now_us))


def close(exchange: Exchange, market: SimMarket) -> None:
    """End trading: nothing is accepted any more, and what rests is cancelled."""
    market.accepting = False
    for order in list(exchange.books[market.condition].orders.values()):
        exchange.cancel(order.id, order.owner_key, cancels.OVER)


def final_price(market: SimMarket, index: int) -> int | None:
    """Return what one share of an outcome pays, in millionths, or None before it is known."""
    if market.payouts is None:
        return None
    return market.payouts[index] * MICRO // sum(market.payouts)


def since_us(market: SimMarket, stage: str) -> int | None:
    """Return when a market last came to a stage, or None."""
    return next((at for name, at in reversed(market.history) if name == stage), None)


def _resolve(exchange: Exchange, market: SimMarket, payouts: Sequence[int]) -> None:
    good = len(payouts) == 2 and all(type(n) is int and n >= 0 for n in payouts)
    if not good or not sum(payouts):
        raise ConfigError("payouts: expected two numerators, at least one of them above 0")
    if market.neg_risk and 0 not in payouts:
        raise ConfigError("payouts: the operator of neg-risk markets refuses a split")
    market.payouts = (payouts[0], payouts[1])
    market.resolved_tx = exchange.hash()
    market.last_price = payouts[0] * MICRO // sum(payouts)
    exchange.chain.include(logs.resolution(market))
