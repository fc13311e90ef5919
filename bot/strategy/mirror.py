"""Follow a leader in: enter near his price.

How he is followed out stands in `model.intent` and `leave`. Reasons for every stage and default are
in the comments; amounts are integer millionths.
"""

from bot.config.schema import StrategySettings
from bot.model.amounts import CENT, floor_to_tick
from bot.model.decision import Numbers, Proposal, Skip, SkipReason, View
from bot.model.units import MICRO, average_price, notional

#: The exchange refuses a marketable BUY below one dollar.
MIN_BUY_USDC = MICRO


class Mirror:
    """The default strategy, with the settings of one leader."""

    def __init__(self, settings: StrategySettings) -> None:
        self._settings = settings

    def evaluate(self, view: View) -> Proposal | Skip:
        """Return an entry, or the reason for none."""
        return _entry(view, self._settings)


def _entry(view: View, s: StrategySettings) -> Proposal | Skip:
    leader_price = average_price(view.signal.group_usdc, view.signal.group_shares)
    limit = floor_to_tick(
        min(
            leader_price + s.max_worse_price,
            leader_price + notional(leader_price, s.max_worse_ratio),
            s.max_price,
        ),
        view.market.tick,
    )
    numbers: dict[str, int | str | None] = {
        "leader_price": leader_price,
        "leader_usdc": view.signal.group_usdc,
    }
    reason = _his_trade(view, s, leader_price) or _our_side(view, s)
    if reason is not None:
        return Skip(reason[0], numbers | reason[1])
    wanted = _wanted(view, s, limit)
    if wanted <= 0:
        return Skip(SkipReason.ALREADY_COPIED, numbers | {"held": view.held})
    return _walk(view, s, limit, wanted, numbers)


_Reason = tuple[SkipReason, dict[str, int]]


def _his_trade(view: View, s: StrategySettings, leader_price: int) -> _Reason | None:
    """Return why his trade is none to follow, or None."""
    age_s = view.now_us // MICRO - view.signal.traded_s
    # The whole leader trade is judged, not this growth of it: $500 of $10 fills is not small.
    if age_s > s.max_signal_age_s:
        return SkipReason.STALE, {"age_s": age_s, "max_signal_age_s": s.max_signal_age_s}
    if view.signal.group_usdc < s.min_leader_usdc:
        return SkipReason.TOO_SMALL, {"min_leader_usdc": s.min_leader_usdc}
    if not s.min_price <= leader_price <= s.max_price:
        return SkipReason.PRICE_BAND, {"min_price": s.min_price, "max_price": s.max_price}
    return None


def _our_side(view: View, s: StrategySettings) -> _Reason | None:
    """Return why we cannot follow just now, or None."""
    if not view.market.accepting:
        return SkipReason.MARKET_CLOSED, {}
    if view.exit_stands:
        # We do not trade with ourselves.
        return SkipReason.OWN_EXIT_STANDS, {}
    if view.held_opposite > 0:
        # Both sides at once lock in the spread and two fees.
        return SkipReason.OPPOSITE_HELD, {"held_opposite": view.held_opposite}
    if view.now_us - view.book.seen_us > s.book_max_age_s * MICRO:
        return SkipReason.BOOK_STALE, {"book_age_us": view.now_us - view.book.seen_us}
    return None


def _wanted(view: View, s: StrategySettings, limit: int) -> int:
    if s.sizing == "fixed":
        return 0 if view.copied_before else s.fixed_usdc * MICRO // limit
    return notional(max(view.signal.leader_watched, 0), s.ratio) - view.held


def _walk(
    view: View, s: StrategySettings, limit: int, wanted: int, numbers: Numbers
) -> Proposal | Skip:
    inside = sum(shares for price, shares in view.book.asks if price <= limit)
    best = view.book.asks[0][0] if view.book.asks else None
    seen = {**numbers, "limit": limit, "best_ask": best, "inside": inside, "wanted": wanted}
    if best is None:
        return Skip(SkipReason.NO_LIQUIDITY, seen)
    if inside == 0:
        return Skip(SkipReason.PRICE_MOVED, seen)
    shares = min(wanted, notional(inside, s.max_depth_ratio))
    budget = notional(shares, limit)
    budget -= budget % CENT
    if budget < MIN_BUY_USDC:
        return Skip(SkipReason.BELOW_MIN_NOTIONAL, {**seen, "usdc": budget})
    return Proposal(view.signal.token, limit, shares, budget, seen)
