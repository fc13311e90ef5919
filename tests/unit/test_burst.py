"""Which purchases of a leader belong together."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.burst import GAP_US, LONGEST_US, Burst, joined

M = 1_000_000
NOW = 1_790_000_000 * M
FIRST = joined(None, NOW, NOW, 20 * M, 10 * M, 7 * M)


def test_a_first_purchase_begins_a_burst_at_what_is_held():
    assert Burst(NOW, NOW, 20 * M, 10 * M, 500_000, 7 * M) == FIRST


def test_what_follows_soon_belongs_to_it_at_any_price():
    found = joined(FIRST, NOW + GAP_US, NOW + GAP_US, 10 * M, 6 * M, 99 * M)
    assert found == Burst(NOW, NOW + GAP_US, 30 * M, 16 * M, 600_000, 7 * M)


def test_a_gap_ends_it_unless_the_price_is_that_of_a_resting_order():
    late = NOW + GAP_US + 1
    assert joined(FIRST, late, late, 10 * M, 6 * M, 0).first_us == late
    assert joined(FIRST, late, late, 10 * M, 5 * M, 0) == replace(
        FIRST, last_us=late, shares=30 * M, usdc=15 * M
    )


@pytest.mark.parametrize(("off", "joins"), [(-50, True), (50, True), (-51, False), (51, False)])
def test_a_price_is_the_same_within_half_of_the_finest_tick(off, joins):
    late = NOW + GAP_US + 1
    found = joined(FIRST, late, late, 10 * M, 5 * M + 10 * off, 0)
    assert (found.first_us == NOW) is joins


def test_a_part_of_it_that_is_seen_late_belongs_to_it_by_his_own_time():
    late = NOW + 30 * M
    found = joined(FIRST, late, NOW + 2 * M, 10 * M, 6 * M, 0)
    assert found == Burst(NOW, NOW + 2 * M, 30 * M, 16 * M, 600_000, 7 * M)
    # What follows that is told by when he did it, not by when it was heard of.
    assert joined(found, late + M, late + M, 10 * M, 7 * M, 0).first_us == late + M
    assert joined(FIRST, late, NOW + GAP_US + 1, 10 * M, 6 * M, 0).first_us == late


@pytest.mark.parametrize("step", [GAP_US, 8 * M])
def test_it_ends_after_a_while_whatever_follows(step):
    burst, at = FIRST, NOW
    while at + step <= NOW + LONGEST_US:
        at += step
        burst = joined(burst, at, at, M, M // 2, 0)
        assert burst.first_us == NOW
    assert (
        joined(burst, NOW + LONGEST_US + 1, NOW + LONGEST_US + 1, M, M // 2, 0).first_us
        == NOW + LONGEST_US + 1
    )


def test_a_clock_that_was_set_back_begins_a_new_one():
    before = NOW - GAP_US - 1
    assert joined(FIRST, before, before, M, M // 2, 0).first_us == before
    assert joined(FIRST, NOW - GAP_US, NOW - GAP_US, M, M // 2, 0).first_us == NOW


@given(st.lists(st.tuples(st.integers(0, 10 * M), st.integers(1, 10**9)), min_size=1, max_size=60))
def test_no_burst_is_longer_than_it_may_be_and_none_of_it_is_lost(purchases):
    burst, at = None, NOW
    for gap, bought in purchases:
        at += gap
        fresh = joined(burst, at, at, bought, bought // 2 + 1, 0)
        if burst is not None and fresh.first_us == burst.first_us:
            assert fresh.shares == burst.shares + bought
            assert fresh.last_us - fresh.first_us <= LONGEST_US
        else:
            assert fresh.shares == bought
        burst = fresh
