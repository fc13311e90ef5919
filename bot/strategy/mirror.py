"""Follow a leader in: enter near his price, once for all that he does at one go.

How he is followed out stands in `model.intent` and `leave`. Reasons for every stage and default are
in the comments; amounts are integer millionths.
"""

from bot.config.schema import StrategySettings
from bot.model.amounts import CENT, floor_to_tick
from bot.model.decision import Numbers, Proposal, Skip, SkipReason, View
from bot.model.units import MICRO, average_price, notional
from bot.strategy.walk import walk

#: The exchange refuses a marketable BUY below one dollar.
MIN_BUY_USDC = MICRO
#: So much of what he did lately must go one way: who trades both sides hedges, or scalps.
ONE_WAY = 700_000


class Mirror:
    """The default strategy, with the settings of one leader."""

    def __init__(self, settings: StrategySettings) -> None:
        self._settings = settings

    def evaluate(self, view: View) -> Proposal | Skip:
        """Return an entry, or the reason for none."""
        return _entry(view, self._settings)


def _entry(view: View, s: StrategySettings) -> Proposal | Skip:
    # The dearer of two prices is not followed: his trade's own, and that of all he does at one go.
    leader_price = min(
        average_price(view.signal.group_usdc, view.signal.group_shares),
        average_price(view.burst.usdc, view.burst.shares),
    )
    leader_usdc = max(view.signal.group_usdc, view.burst.usdc)
    numbers: dict[str, int | str | None] = {
        "leader_price": leader_price,
        "leader_usdc": leader_usdc,
    }
    reason = _his_trade(view, s, leader_price, leader_usdc)
    if reason is not None:
        return Skip(reason[0], numbers | reason[1])
    shares, usdc = _wanted(view, s, leader_price)
    numbers |= {"held": view.held, "spent_usdc": view.spent.usdc}
    reason = _our_side(view, s, shares, usdc)
    if reason is not None:
        return Skip(reason[0], numbers | reason[1])
    return _offered(view, s, leader_price, (shares, usdc), numbers)


_Reason = tuple[SkipReason, dict[str, int]]


def _his_trade(view: View, s: StrategySettings, price: int, usdc: int) -> _Reason | None:
    """Return why his trade is none to follow, or None."""
    age_s = view.now_us // MICRO - view.signal.traded_s
    # All of the burst is judged, not this growth of it: $500 of $10 fills is not small.
    if age_s > s.max_signal_age_s:
        return SkipReason.STALE, {"age_s": age_s, "max_signal_age_s": s.max_signal_age_s}
    if usdc < s.min_leader_usdc:
        return SkipReason.TOO_SMALL, {"min_leader_usdc": s.min_leader_usdc}
    if not s.min_price <= price <= s.max_price:
        return SkipReason.PRICE_BAND, {"min_price": s.min_price, "max_price": s.max_price}
    return None


def _our_side(view: View, s: StrategySettings, shares: int, usdc: int) -> _Reason | None:
    """Return why we cannot follow just now, or None."""
    if not view.market.accepting:
        return SkipReason.MARKET_CLOSED, {}
    if view.exit_stands:
        # We do not trade with ourselves.
        return SkipReason.OWN_EXIT_STANDS, {}
    if view.held_opposite > 0:
        # Both sides at once lock in the spread and two fees.
        return SkipReason.OPPOSITE_HELD, {"held_opposite": view.held_opposite}
    if shares <= 0 or usdc < MIN_BUY_USDC:
        # He has sold within his burst, and we with him, or we hold what we want of it.
        spent = view.spent.shares > 0 and view.held < view.burst.base + view.spent.shares // 2
        return (SkipReason.BURST_SPENT if spent else SkipReason.ALREADY_COPIED), {}
    this_way, other_way = view.lately
    if other_way > 0 and this_way <= notional(this_way + other_way, ONE_WAY):
        return SkipReason.BOTH_SIDES, {"this_way": this_way, "other_way": other_way}
    if s.book == "required" and not _is_fresh(view, s):
        return SkipReason.BOOK_STALE, {"book_age_us": view.now_us - view.book.seen_us}
    return None


def _is_fresh(view: View, s: StrategySettings) -> bool:
    return view.now_us - view.book.seen_us <= s.book_max_age_s * MICRO


def _wanted(view: View, s: StrategySettings, leader_price: int) -> tuple[int, int]:
    """Return the shares to have on top of what is held, and the money to pay for them at most."""
    shares, usdc = _whole(view, s, leader_price)
    if not view.provisional:
        return shares, usdc
    # What no block has yet may never have happened.
    part = min(notional(usdc, s.provisional_ratio), s.provisional_usdc)
    return min(shares, part * MICRO // leader_price), part


def _whole(view: View, s: StrategySettings, leader_price: int) -> tuple[int, int]:
    if s.sizing == "fixed":
        usdc = 0 if view.copied_before else s.fixed_usdc - view.spent.usdc
        return usdc * MICRO // leader_price, usdc
    target = notional(max(view.signal.leader_watched, 0), s.ratio)
    # What a burst has brought once is not bought twice: also where he has sold it since.
    shares = target - max(view.held, view.burst.base + view.spent.shares)
    return shares, notional(shares, s.max_price)


def _offered(
    view: View, s: StrategySettings, leader_price: int, wanted: tuple[int, int], numbers: Numbers
) -> Proposal | Skip:
    worst = min(s.max_worse_price, notional(leader_price, s.max_worse_ratio))
    limit = floor_to_tick(min(leader_price + worst, s.max_price), view.market.tick)
    if not _is_fresh(view, s):
        return _unseen(view, limit, wanted, numbers)
    found = walk(view.book, limit, *wanted, s.max_depth_ratio)
    seen = {**numbers, "limit": limit, "best_ask": found.best, "inside": found.inside}
    seen |= {"wanted": wanted[0]}
    if found.best is None:
        return Skip(SkipReason.NO_LIQUIDITY, seen)
    if found.inside == 0:
        return Skip(SkipReason.PRICE_MOVED, seen)
    if found.best < notional(leader_price, MICRO - s.max_better_ratio):
        return Skip(SkipReason.PRICE_FELL, seen)
    if found.usdc < MIN_BUY_USDC:
        return Skip(SkipReason.BELOW_MIN_NOTIONAL, {**seen, "usdc": found.usdc})
    return Proposal(view.signal.token, limit, found.shares, found.usdc, seen)


def _unseen(view: View, limit: int, wanted: tuple[int, int], numbers: Numbers) -> Proposal | Skip:
    """Return an entry in a book that nobody has seen: on its limit alone, at what that may cost."""
    usdc = min(notional(wanted[0], limit), wanted[1])
    usdc -= usdc % CENT
    seen = {**numbers, "limit": limit, "wanted": wanted[0], "best_ask": None}
    if usdc < MIN_BUY_USDC:
        return Skip(SkipReason.BELOW_MIN_NOTIONAL, {**seen, "usdc": usdc})
    shares = usdc * MICRO // limit
    return Proposal(view.signal.token, limit, shares - shares % CENT, usdc, seen)
