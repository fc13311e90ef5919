"""Follow a leader's net exposure: enter near the leader's price, leave in proportion.

Reasons for every stage and default are in the comments; amounts are integer millionths.
"""

from bot.config.schema import StrategySettings
from bot.model.amounts import CENT, floor_to_tick
from bot.model.decision import Numbers, Proposal, Skip, SkipReason, View
from bot.model.market import Book, Side, TokenId
from bot.model.signal import RETRY
from bot.model.units import MICRO, average_price, notional

#: The exchange refuses a marketable BUY below one dollar.
MIN_BUY_USDC = MICRO
#: Fewer shares than this cannot rest in a book: a leader left with them has left.
DUST_SHARES = 5 * MICRO


class Mirror:
    """The default strategy, with the settings of one leader."""

    def __init__(self, settings: StrategySettings) -> None:
        self._settings = settings

    def evaluate(self, view: View) -> Proposal | Skip:
        """Return an entry, an exit, or the reason for neither."""
        signal, settings = view.signal, self._settings
        if signal.source == RETRY:
            return _again(view, settings)
        if signal.side is Side.SELL:
            before = max(signal.leader_before, signal.shares)
            after = max(before - signal.shares, 0)
            full = (
                after < DUST_SHARES
                or notional(signal.leader_peak, settings.full_exit_below_ratio) > after
            )
            return _exit(
                view, settings, signal.token, view.held, view.book, (signal.shares, before), full
            )
        if view.held_complement > 0:
            # Buying the other side reduces the leader's net exposure: that is an exit, not an entry.
            before = max(view.leader_complement - signal.leader_before, signal.shares)
            full = before - signal.shares < DUST_SHARES
            token = view.market.complement(signal.token)
            book = view.complement_book
            return _exit(
                view, settings, token, view.held_complement, book, (signal.shares, before), full
            )
        return _entry(view, settings)


def _again(view: View, s: StrategySettings) -> Proposal | Skip:
    """Sell what an earlier exit left: an absolute number of shares, never more than is held."""
    if view.signal.side is Side.SELL:
        token, held, book = view.signal.token, view.held, view.book
    else:
        token, held, book = (
            view.market.complement(view.signal.token),
            view.held_complement,
            view.complement_book,
        )
    return _exit(view, s, token, held, book, (min(view.signal.shares, held), max(held, 1)), False)


def _entry(view: View, s: StrategySettings) -> Proposal | Skip:
    signal = view.signal
    leader_price = average_price(signal.group_usdc, signal.group_shares)
    age_s = view.now_us // MICRO - signal.traded_s
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
        "leader_usdc": signal.group_usdc,
    }
    # The whole leader trade is judged, not this growth of it: $500 of $10 fills is not small.
    if age_s > s.max_signal_age_s:
        return Skip(
            SkipReason.STALE, numbers | {"age_s": age_s, "max_signal_age_s": s.max_signal_age_s}
        )
    if signal.group_usdc < s.min_leader_usdc:
        return Skip(SkipReason.TOO_SMALL, numbers | {"min_leader_usdc": s.min_leader_usdc})
    if not s.min_price <= leader_price <= s.max_price:
        return Skip(
            SkipReason.PRICE_BAND, numbers | {"min_price": s.min_price, "max_price": s.max_price}
        )
    if not view.market.accepting:
        return Skip(SkipReason.MARKET_CLOSED, numbers)
    if view.held_opposite > 0:
        # Both sides at once lock in the spread and two fees.
        return Skip(SkipReason.OPPOSITE_HELD, numbers | {"held_opposite": view.held_opposite})
    if view.now_us - view.book.seen_us > s.book_max_age_s * MICRO:
        return Skip(
            SkipReason.BOOK_STALE, numbers | {"book_age_us": view.now_us - view.book.seen_us}
        )
    wanted = _wanted(view, s, limit)
    if wanted <= 0:
        return Skip(SkipReason.ALREADY_COPIED, numbers | {"held": view.held})
    return _walk(view, s, limit, wanted, numbers)


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
    return Proposal(view.signal.token, Side.BUY, limit, shares, budget, seen)


def _exit(
    view: View,
    s: StrategySettings,
    token: TokenId,
    held: int,
    book: Book,
    sold: tuple[int, int],
    full: bool,
) -> Proposal | Skip:
    part, whole = sold
    numbers: dict[str, int | str | None] = {
        "held": held,
        "leader_sold": part,
        "leader_before": whole,
    }
    if held < CENT:
        return Skip(SkipReason.NOT_HELD, numbers)
    shares = held if full else held * part // whole
    shares -= shares % CENT
    if shares == 0:
        return Skip(SkipReason.TOO_SMALL, numbers)
    numbers["exit_shares"] = shares
    if not view.market.accepting:
        return Skip(SkipReason.MARKET_CLOSED, numbers)
    if view.now_us - book.seen_us > s.book_max_age_s * MICRO:
        return Skip(SkipReason.BOOK_STALE, numbers | {"book_age_us": view.now_us - book.seen_us})
    floor = _floor(view, s, token)
    numbers["floor"] = floor
    if not book.bids or book.bids[0][0] < floor:
        return Skip(SkipReason.NO_LIQUIDITY, numbers)
    best = book.bids[0][0]
    slipped = floor_to_tick(best - s.exit_slip_ticks * view.market.tick, view.market.tick)
    limit = max(slipped, floor)
    return Proposal(
        token, Side.SELL, limit, shares, notional(shares, limit), numbers | {"best_bid": best}
    )


def _floor(view: View, s: StrategySettings, token: TokenId) -> int:
    """Return the least we take: so much under the price at which the leader left, on the grid."""
    signal, tick = view.signal, view.market.tick
    at = average_price(signal.group_usdc, signal.group_shares)
    # He may have left by buying the other side: what he got for ours is the rest of a dollar.
    left_at = at if token == signal.token else MICRO - at
    least = notional(left_at, MICRO - s.exit_floor_ratio)
    # On a coarse grid one tick is more than that: a tick under his price is always allowed.
    return floor_to_tick(min(least + tick - 1, max(left_at - tick, tick)), tick)
