"""CLOSE: a market has ended; what is held of it becomes a receivable, once, and its intents end."""

from bot import failpoints
from bot.config.schema import RiskSettings
from bot.execution import fills
from bot.ledger import control, intents, markets, orders, positions
from bot.ledger.db import Tx
from bot.model.units import decimal_text


def settle(tx: Tx, condition: str, limits: RiskSettings, *, now_us: int) -> int:
    """Settle every position in an ended market at its payouts; return how many there were.

    A position that changes afterwards, by a fill that shows late or fails on the chain, is settled
    again by the difference. Dust goes with the rest: nothing is left. A second report, or a second
    call, changes nothing.
    """
    ended = markets.ended(tx, condition)
    if ended is None:
        return 0
    settled = 0
    for held in positions.in_condition(tx, condition):
        numerator, total = ended.share_of(held.token), sum(ended.payouts)
        usdc = held.shares * numerator // total
        before = positions.folded(tx, held.portfolio, held.token)
        positions.add_settlement(tx, held, usdc, source=ended.source, now_us=now_us)
        fills.store(tx, held.portfolio, condition, held.token, before, now_us=now_us)
        what = f"{decimal_text(held.shares)} shares of {held.portfolio} pay {decimal_text(usdc)}"
        control.record(tx, "executor", "market.settled", f"{what} in {condition}", now_us=now_us)
        settled += 1
    orders.market_is_over(tx, condition, now_us=now_us)
    intents.end_in_market(tx, ended.tokens, now_us=now_us)
    fills.guard_breaker(tx, limits, failed=None, now_us=now_us)
    failpoints.reach("settle.written")
    return settled
