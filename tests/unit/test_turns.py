"""Where rules turn: at the edge itself, and one unit beside it; and every number that is told."""

from dataclasses import replace

import pytest

from bot.config.schema import RiskSettings
from bot.model import totals
from bot.model.burst import Burst, Spent, joined
from bot.model.decision import Proposal, Skip, SkipReason
from bot.model.intent import DUST_SHARES, Cover, exit_target
from bot.model.leader import Holding
from bot.model.market import Book, Side
from bot.model.order import OrderKind
from bot.risk import breaker, guards
from bot.strategy.leave import NO_BIDS, Sale, attempt, floor
from bot.strategy.walk import Walk, walk
from tests.unit.test_mirror import BOOK, MARKET, NOW, SETTINGS, VIEW, M, decide
from tests.unit.test_risk import ENTRY, IDLE, LIMITS

CENT = 10_000
HIS = {"leader_price": 500_000, "leader_usdc": 50 * M}
OURS = {**HIS, "held": 0, "spent_usdc": 0}


# exits


def test_who_has_dust_left_or_less_than_a_part_of_his_peak_has_gone():
    cover = Cover(20 * M, 100 * M)
    assert exit_target(cover, DUST_SHARES, DUST_SHARES, 50_000) == 20 * M * DUST_SHARES // (100 * M)
    assert exit_target(cover, DUST_SHARES - 1, DUST_SHARES, 50_000) == 0
    assert exit_target(cover, 50 * M, 1000 * M, 50_000) == 10 * M
    assert exit_target(cover, 50 * M - 1, 1000 * M, 50_000) == 0
    assert exit_target(Cover(5, 1), 10 * M, 10 * M, 50_000) == 50 * M
    for leader in (0, -1):
        assert exit_target(Cover(5, leader), 10 * M, 10 * M, 50_000) == 0


def sale(shares=20 * M, left_at=490_000, market=MARKET, book=BOOK, now=NOW):
    return attempt(shares, left_at, market, book, SETTINGS, now)


def test_an_exit_turns_at_a_hundredth_at_the_age_of_a_book_and_at_what_can_rest():
    assert sale(CENT).shares == CENT
    assert sale(CENT - 1) == "a whole hundredth of a share"
    oldest = NOW + SETTINGS.book_max_age_s * M
    assert isinstance(sale(now=oldest), Sale)
    assert sale(now=oldest + 1) == "a fresh book"
    assert sale(market=replace(MARKET, accepting=False)) == "the market to take orders"
    empty = Book((), BOOK.asks, NOW)
    assert sale(MARKET.min_shares, book=empty) == Sale(OrderKind.GTD, 420_000, MARKET.min_shares)
    assert sale(MARKET.min_shares - CENT, book=empty) == NO_BIDS
    assert sale(left_at=None, book=empty) == NO_BIDS
    assert sale(left_at=0, book=empty) == NO_BIDS


def test_an_exit_slips_three_ticks_and_never_under_its_floor():
    assert sale().price == 460_000
    assert sale(left_at=530_000).price == 460_000  # its floor is 0.4505, on the grid 0.46
    assert sale(left_at=0, book=Book(((20_000, M),), (), NOW)).price == 10_000
    assert (floor(500_000, 10_000, 150_000), floor(500_000, 1_000, 150_000)) == (430_000, 425_000)
    assert floor(500_001, 1_000, 150_000) == 425_000
    assert floor(500_002, 1_000, 150_000) == 426_000  # a millionth above the grid
    assert floor(501_177, 1_000, 150_000) == 426_000


# entries


def test_a_book_is_walked_to_the_limit_and_no_further():
    book = Book((), ((500_000, 10 * M), (510_000, 10 * M), (520_000, 10 * M)), NOW)
    assert walk(book, 510_000, 100 * M, 100 * M, M) == Walk(500_000, 20 * M, 20 * M, 10_100_000)
    assert walk(book, 510_000, 15 * M, 100 * M, M) == Walk(500_000, 20 * M, 15 * M, 7_550_000)
    assert walk(book, 509_999, 100 * M, 100 * M, M) == Walk(500_000, 10 * M, 10 * M, 5 * M)
    assert walk(book, 510_000, 100 * M, 100 * M, 250_000) == Walk(500_000, 20 * M, 5 * M, 2_500_000)
    # Of two cents the second level has a hundredth: what cannot be paid for is not counted.
    assert walk(book, 510_000, 100 * M, 5_005_100, M) == Walk(500_000, 20 * M, 10_010_000, 5 * M)
    assert walk(book, 499_999, 100 * M, 100 * M, M) == Walk(500_000, 0, 0, 0)
    assert walk(Book((), (), NOW), 510_000, M, M, M) == Walk(None, 0, 0, 0)
    assert walk(book, 510_000, 0, M, M) == Walk(500_000, 20 * M, 0, 0)


def test_why_his_trade_is_none_to_follow_is_told_with_its_numbers():
    age = SETTINGS.max_signal_age_s
    assert decide(traded_s=NOW // M - age - 1) == Skip(
        SkipReason.STALE, {**HIS, "age_s": age + 1, "max_signal_age_s": age}
    )
    assert isinstance(decide(traded_s=NOW // M - age), Proposal)
    least = SETTINGS.min_leader_usdc
    small = decide(group_usdc=least - 1, group_shares=2 * least)
    assert small.reason is SkipReason.TOO_SMALL
    assert small.numbers == {
        "leader_price": 500_000, "leader_usdc": least - 1, "min_leader_usdc": least
    }  # fmt: skip
    assert isinstance(decide(group_usdc=least, group_shares=2 * least), Proposal)
    band = {"min_price": SETTINGS.min_price, "max_price": SETTINGS.max_price}
    for price, inside in [(79_999, False), (80_000, True), (920_000, True), (920_001, False)]:
        found = decide(group_usdc=1000 * price, group_shares=1000 * M)
        told = {"leader_price": price, "leader_usdc": 1000 * price, **band}
        assert (found == Skip(SkipReason.PRICE_BAND, told)) is not inside


def test_why_we_cannot_follow_is_told_with_its_numbers():
    closed = decide(replace(VIEW, market=replace(MARKET, accepting=False)))
    assert closed == Skip(SkipReason.MARKET_CLOSED, OURS)
    assert decide(replace(VIEW, exit_stands=True)) == Skip(SkipReason.OWN_EXIT_STANDS, OURS)
    other = decide(replace(VIEW, held_opposite=1))
    assert other == Skip(SkipReason.OPPOSITE_HELD, {**OURS, "held_opposite": 1})
    both = decide(replace(VIEW, lately=(70 * M, 30 * M)))
    assert both == Skip(SkipReason.BOTH_SIDES, {**OURS, "this_way": 70 * M, "other_way": 30 * M})
    assert isinstance(decide(replace(VIEW, lately=(70 * M + 1, 30 * M))), Proposal)
    assert isinstance(decide(replace(VIEW, lately=(0, 0))), Proposal)
    old = SETTINGS.book_max_age_s * M
    stale = decide(replace(VIEW, book=replace(BOOK, seen_us=NOW - old - 1)))
    assert stale == Skip(SkipReason.BOOK_STALE, {**OURS, "book_age_us": old + 1})
    assert isinstance(decide(replace(VIEW, book=replace(BOOK, seen_us=NOW - old))), Proposal)


def test_what_a_burst_has_brought_is_told_apart_from_what_is_held():
    spent = replace(VIEW, spent=Spent(10 * M, 20 * M), held=20 * M)
    had = {**OURS, "held": 20 * M, "spent_usdc": 10 * M}
    assert decide(spent) == Skip(SkipReason.ALREADY_COPIED, had)
    # He has sold more than half of what it brought: he is out, and we with him.
    assert decide(replace(spent, held=10 * M - 1)).reason is SkipReason.BURST_SPENT
    assert decide(replace(spent, held=10 * M)).reason is SkipReason.ALREADY_COPIED
    assert decide(replace(VIEW, copied_before=True)).reason is SkipReason.ALREADY_COPIED
    odd = replace(VIEW, spent=Spent(10 * M, 3), held=1)  # half of three is one
    assert decide(odd).reason is SkipReason.ALREADY_COPIED
    assert decide(replace(odd, held=0)).reason is SkipReason.BURST_SPENT
    # A dollar of its budget is left, or a cent less.
    assert isinstance(decide(replace(VIEW, spent=Spent(9 * M, 18 * M), held=18 * M)), Proposal)
    last = decide(replace(VIEW, spent=Spent(9 * M + 1, 18 * M), held=18 * M))
    assert last.reason is SkipReason.ALREADY_COPIED


def test_what_the_book_offers_is_told_with_its_numbers():
    seen = {**OURS, "limit": 520_000, "best_ask": 510_000, "inside": 800 * M, "wanted": 20 * M}
    found = decide()
    assert found == Proposal("7", 520_000, found.shares, found.usdc, seen)
    none = {**seen, "best_ask": None, "inside": 0}
    empty = decide(replace(VIEW, book=Book((), (), NOW)))
    assert empty == Skip(SkipReason.NO_LIQUIDITY, none)
    dear = decide(replace(VIEW, book=Book((), ((530_000, M),), NOW)))
    assert dear == Skip(SkipReason.PRICE_MOVED, {**none, "best_ask": 530_000})
    cheap = Book((), ((424_999, 400 * M),), NOW)
    fell = decide(replace(VIEW, book=cheap))
    assert fell == Skip(SkipReason.PRICE_FELL, {**seen, "best_ask": 424_999, "inside": 400 * M})
    held = decide(replace(VIEW, book=Book((), ((425_000, 400 * M),), NOW)))
    assert isinstance(held, Proposal)
    few = decide(replace(VIEW, book=Book((), ((500_000, 3_980_000),), NOW)))
    assert few.reason is SkipReason.BELOW_MIN_NOTIONAL
    assert few.numbers == {
        **seen, "best_ask": 500_000, "inside": 3_980_000, "usdc": 990_000
    }  # fmt: skip
    enough = decide(replace(VIEW, book=Book((), ((500_000, 4 * M),), NOW)))
    assert (enough.shares, enough.usdc) == (2 * M, M)


def test_the_limit_is_his_price_and_what_worse_may_cost():
    for price, limit in [(500_000, 520_000), (100_000, 105_000), (910_000, 920_000)]:
        book = Book((), ((price, 400 * M),), NOW)
        fine = replace(VIEW, book=book, market=replace(MARKET, tick=1_000))
        assert decide(fine, group_usdc=1000 * price, group_shares=1000 * M).price == limit


def test_by_ratio_what_is_wanted_is_a_part_of_his_holding():
    part = SETTINGS.model_copy(update={"sizing": "proportional", "ratio": 200_000})
    found = decide(VIEW, part)
    assert (found.numbers["wanted"], found.shares) == (20 * M, 20 * M)
    less = decide(replace(VIEW, held=5 * M), part)
    assert less.numbers["wanted"] == 15 * M
    sold = replace(
        VIEW, burst=Burst(NOW, NOW, 100 * M, 50 * M, 500_000, 4 * M), spent=Spent(M, 3 * M)
    )
    assert decide(sold, part).numbers["wanted"] == 13 * M
    assert decide(VIEW, part, leader_watched=-1).reason is SkipReason.ALREADY_COPIED


def test_blind_an_entry_pays_its_limit_for_whole_hundredths():
    blind = SETTINGS.model_copy(update={"book": "if_fresh"})
    unseen = replace(VIEW, book=Book((), (), 0))
    told = {**OURS, "limit": 520_000, "wanted": 20 * M, "best_ask": None}
    assert decide(unseen, blind) == Proposal("7", 520_000, 19_230_000, 10 * M, told)
    part = blind.model_copy(update={"sizing": "proportional", "ratio": 20_000})
    found = decide(unseen, part)  # two shares at 0.52
    assert (found.usdc, found.shares) == (1_040_000, 2 * M)
    odd = decide(unseen, part, leader_watched=100_700_000)  # 2.014 shares cost 1.04728
    assert (odd.usdc, odd.shares) == (1_040_000, 2 * M)
    dollar = blind.model_copy(update={"sizing": "proportional", "ratio": 19_231})  # 1.9231 shares
    assert decide(unseen, dollar).usdc == M
    little = decide(unseen, blind.model_copy(update={"sizing": "proportional", "ratio": 19_200}))
    assert little == Skip(
        SkipReason.BELOW_MIN_NOTIONAL,
        {**told, "wanted": 1_920_000, "usdc": 990_000},
    )


@pytest.mark.parametrize(
    ("later_us", "price", "joins"),
    [
        (5 * M, 400_000, True), (5 * M + 1, 400_000, False), (5 * M + 1, 500_000, True),
        (90 * M, 500_000, True), (90 * M + 1, 500_000, False), (-5 * M, 400_000, True),
        (-5 * M - 1, 500_000, False),
    ],
)  # fmt: skip
def test_a_burst_goes_on_over_a_gap_at_his_price_and_not_for_ever(later_us, price, joins):
    burst = Burst(NOW, NOW, 10 * M, 5 * M, 500_000, 3)
    found = joined(burst, NOW + later_us, NOW + later_us, 10 * M, 10 * price, 7)
    if joins:
        last = max(NOW, NOW + later_us)
        assert found == Burst(NOW, last, 20 * M, 5 * M + 10 * price, price, 3)
    else:
        assert found == Burst(NOW + later_us, NOW + later_us, 10 * M, 10 * price, price, 7)


# law 7


def test_growth_is_worth_a_signal_from_a_hundredth_and_a_thousandth_on():
    assert totals.growth((1, 0), (0, 0)) == (1, 0)
    assert totals.growth((0, 5), (0, 0)) is None
    assert totals.growth((M + CENT, 9), (M, 7)) == (CENT, 2)
    assert totals.growth((M + CENT - 1, 9), (M, 7)) is None
    assert totals.growth((100 * M, 0), (100 * M - 100_000, 7)) == (100_000, 0)
    assert totals.growth((100 * M, 0), (100 * M - 99_999, 7)) is None


def test_a_peak_begins_anew_where_he_had_left():
    held = Holding(DUST_SHARES, 3, 50 * M)
    assert totals.moved(held, Side.BUY, 1) == Holding(DUST_SHARES + 1, 4, 50 * M)
    dust = Holding(DUST_SHARES - 1, 3, 50 * M)
    assert totals.moved(dust, Side.BUY, 1) == Holding(DUST_SHARES, 4, DUST_SHARES)
    assert totals.moved(Holding(), Side.SELL, 5) == Holding(-5, -5, 0)


# limits


def refused(proposal=ENTRY, **usage) -> Skip | None:
    return guards.check(proposal, replace(IDLE, **usage), LIMITS)


def test_every_limit_tells_its_numbers():
    def over(reason, wanted, used, limit) -> Skip:
        return Skip(reason, {"wanted_usdc": wanted, "used_usdc": used, "limit_usdc": limit})

    fee = {"fee": 2 * M}
    assert refused(**fee, market_stake=39 * M) == over(
        SkipReason.MARKET_LIMIT, 12 * M, 39 * M, LIMITS.max_market_usdc
    )
    assert refused(**fee, total_stake=489 * M) == over(
        SkipReason.EXPOSURE, 12 * M, 489 * M, LIMITS.max_exposure_usdc
    )
    assert refused(**fee, bought_today=9_991 * M) == over(
        SkipReason.DAILY_VOLUME, 10 * M, 9_991 * M, LIMITS.max_daily_volume_usdc
    )
    assert refused(**fee, cash=11 * M) == over(SkipReason.NO_BALANCE, 12 * M, 0, 11 * M)
    assert refused(replace(ENTRY, shares=5 * M - 1)) == Skip(
        SkipReason.BELOW_MIN_SIZE, {"shares": 5 * M - 1, "min_shares": 5 * M}
    )
    assert refused(replace(ENTRY, shares=5 * M)) is None


def test_what_stops_entries_says_why():
    assert refused(mode=guards.ControlMode.HALTED) == Skip(SkipReason.HALTED, {})
    assert refused(mode=guards.ControlMode.PAUSED) == Skip(SkipReason.PAUSED, {})
    assert refused(tripped="loss", lock="later") == Skip(SkipReason.PAUSED, {"reason": "loss"})
    assert refused(lock="later") == Skip(SkipReason.PAUSED, {"reason": "later"})
    assert refused(position_lock="closed") == Skip(SkipReason.POSITION_LOCKED, {"reason": "closed"})
    for skew in (3, -3):
        assert refused(skew_s=skew) == Skip(SkipReason.CLOCK_SKEW, {"skew_s": skew, "at_most_s": 2})
    assert refused(skew_s=2) is refused(skew_s=-2) is None
    assert refused(cash="broken") == Skip(
        SkipReason.GUARD_ERROR, {"guard": "balance", "error": "TypeError"}
    )


def test_the_breaker_trips_at_its_limits():
    limits = RiskSettings()
    loss, errors = limits.breaker_loss_usdc, limits.breaker_errors
    assert breaker.tripped(loss - 1, errors - 1, limits) is None
    assert breaker.tripped(loss, 0, limits) == "breaker: daily loss limit reached"
    assert breaker.tripped(0, errors, limits) == f"breaker: {errors} consecutive errors"
