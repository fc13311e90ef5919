"""Exits, pure: how much is left to hold, and how the rest is sold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config.schema import StrategySettings
from bot.model.intent import Cover, exit_target, leader_of, mirror
from bot.model.market import Book, Market
from bot.model.order import OrderKind
from bot.strategy.leave import NO_BIDS, Sale, attempt, floor

M = 1_000_000
NOW = 1_790_000_000 * M
SETTINGS = StrategySettings()
GONE = SETTINGS.full_exit_below_ratio
MARKET = Market("0xc", ("7", "8"), ("Yes", "No"), 10_000, 5 * M, False, "v1", 40_000, 1, True)
BOOK = Book(((490_000, 400 * M),), ((510_000, 400 * M),), NOW)
COVER = Cover(20 * M, 1000 * M)


def left(exposure: int, cover: Cover | None = COVER, peak: int = 1000 * M) -> int:
    return exit_target(cover, exposure, peak, GONE)


def test_two_sales_of_ten_percent_leave_sixteen_of_twenty():
    """Story 1."""
    assert (left(900 * M), left(800 * M)) == (18 * M, 16 * M)


def test_half_an_entry_follows_half_a_sale():
    """Story 2."""
    assert left(500 * M, Cover(12 * M, 1000 * M)) == 6 * M


def test_an_increase_that_was_passed_over_sets_another_part():
    """Story 3."""
    assert left(750 * M, Cover(20 * M, 1500 * M), 1500 * M) == 10 * M


def test_what_he_buys_back_is_held_again():
    """Story 4."""
    assert (left(500 * M), left(750 * M)) == (10 * M, 15 * M)


@pytest.mark.parametrize(
    ("exposure", "peak", "cover"),
    [
        (49 * M, 1000 * M, COVER),
        (5 * M - 1, 6 * M, Cover(20 * M, 6 * M)),
        (900 * M, 1000 * M, None),
    ],
)
def test_who_has_left_takes_all_along(exposure, peak, cover):
    assert left(exposure, cover, peak) == 0


@given(st.integers(0, 10**9 * M), st.integers(1, 10**9 * M), st.integers(0, 2 * 10**9 * M))
def test_a_target_is_never_more_than_our_part(shares, leader, exposure):
    target = exit_target(Cover(shares, leader), exposure, leader, GONE)
    assert 0 <= target * leader <= shares * exposure


def sale(shares: int = 20 * M, left_at: int | None = 490_000, market=MARKET, book=BOOK):
    return attempt(shares, left_at, market, book, SETTINGS, NOW)


def test_what_is_bid_is_taken_from_the_best_bid_down():
    assert sale(20_008_235) == Sale(OrderKind.FAK, 460_000, 20_000_000)


def test_nothing_at_a_cent_but_resting_at_the_floor():
    """Story 24."""
    fallen = Book(((10_000, 400 * M),), (), NOW)
    assert sale(left_at=600_000, book=fallen) == Sale(OrderKind.GTD, 510_000, 20 * M)
    assert sale(4_990_000, left_at=600_000, book=fallen) == NO_BIDS


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"book": replace(BOOK, seen_us=NOW - 31 * M)}, "a fresh book"),
        ({"market": replace(MARKET, accepting=False)}, "the market to take orders"),
        ({"shares": 9_999}, "a whole hundredth of a share"),
        ({"left_at": None, "book": replace(BOOK, bids=())}, NO_BIDS),
    ],
)
def test_an_exit_waits_and_says_for_what(change, why):
    assert sale(**change) == why


def test_where_he_left_at_no_price_the_first_fresh_bid_counts():
    assert sale(left_at=None).price == 460_000


def test_at_any_price_any_bid_will_do():
    assert sale(left_at=0, book=replace(BOOK, bids=((10_000, M),))).price == 10_000
    assert sale(left_at=0, book=replace(BOOK, bids=())) == NO_BIDS, "a tick is no price to rest at"


@given(st.integers(1, 99), st.integers(1, 99), st.sampled_from([1_000, 10_000]))
def test_nothing_is_ever_offered_below_its_floor(bid, at, tick):
    at, bid = at * 10_000, bid * 10_000
    least = at * 85 // 100
    found = sale(left_at=at, market=replace(MARKET, tick=tick), book=Book(((bid, M),), (), NOW))
    assert found.price % tick == 0 and found.price >= min(least, M - tick)
    assert found.kind is (OrderKind.FAK if bid >= floor(at, tick, 150_000) else OrderKind.GTD)
    assert found.kind is OrderKind.GTD or found.price <= bid


def test_a_portfolio_names_its_leader():
    assert leader_of(mirror("0xAb")) == "0xAb"
    assert leader_of("external") is None
