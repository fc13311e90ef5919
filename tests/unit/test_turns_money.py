"""Where the rules of money turn: at the edge itself, and one unit beside it."""

import pytest

from bot.model.amounts import Amounts, limit_amounts, market_amounts
from bot.model.fees import highest_fee, taker_fee
from bot.model.fill import Fill, Payout, Settlement
from bot.model.market import Side
from bot.model.pnl import Day, fold
from bot.model.units import average_price, decimal_text, money, parse_micros, rfc3339, utc_day

M = 1_000_000
CENT = 10_000


# units


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0"), (1, "0.000001"), (-1, "-0.000001"), (10 * M, "10"), (570_000, "0.57"),
        (-1_500_000, "-1.5"), (100 * M, "100"), (1_000_100, "1.0001"),
    ],
)  # fmt: skip
def test_decimal_text_is_exact_and_short(micros, text):
    assert decimal_text(micros) == text


@pytest.mark.parametrize(
    ("micros", "signed", "text"),
    [
        (0, False, "0.00"), (0, True, "0.00"), (4_999, True, "0.00"), (5_000, True, "+0.01"),
        (-4_999, True, "0.00"), (-5_000, False, "-0.01"), (1, True, "0.00"),
        (12_400_000, False, "12.40"), (1_234_567_890, True, "+1,234.57"),
    ],
)  # fmt: skip
def test_money_is_rounded_half_up_and_nothing_has_no_sign(micros, signed, text):
    assert money(micros, signed=signed) == text


def test_moments_are_told_in_utc_to_the_millisecond(monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # fourteen hours ahead
    import time

    time.tzset()
    try:
        assert rfc3339(999_999) == "1970-01-01T00:00:00.999Z"
        assert rfc3339(1_790_000_000 * M + 1_001) == "2026-09-21T14:13:20.001Z"
        assert utc_day(86_400 * M - 1) == "1970-01-01"
        assert utc_day(86_400 * M) == "1970-01-02"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_average_is_rounded_half_up():
    assert [average_price(n, 2) for n in (1, 2, 3)] == [500_000, M, 1_500_000]
    assert (average_price(1, 3), average_price(2, 3), average_price(5, 0)) == (333_333, 666_667, 0)
    assert (average_price(1, 2 * M), average_price(3, 2 * M)) == (1, 2)


@pytest.mark.parametrize(
    ("value", "micros"), [("0", 0), ("0.0000005", 0), ("0.0000015", 2), ("1e-6", 1), (7, 7 * M)]
)
def test_decimals_beyond_the_sixth_are_rounded_half_even(value, micros):
    assert parse_micros(value, field="size") == micros


def test_what_is_refused_names_its_field_its_bound_and_what_was_found():
    assert parse_micros("2", field="size", at_most=2 * M) == 2 * M
    for value, message in [
        ("2.000001", "size: expected at most 2, found 2.000001"),
        ("-1", "size: expected a number of at least 0, found -1"),
        ("NaN", "size: expected a finite number, found NaN"),
        ("x", "size: expected a decimal number, found 'x'"),
        (True, "size: expected a decimal number, found bool"),
        ("1" * 65, "size: expected a decimal number, found '" + "1" * 23 + "…'"),
    ]:
        with pytest.raises(ValueError) as refused:
            parse_micros(value, field="size", at_most=2 * M)
        assert str(refused.value) == message


# amounts and fees


def test_sizes_are_cut_to_a_hundredth_and_one_is_enough():
    assert limit_amounts(Side.BUY, 570_000, CENT, 10_000) == Amounts(5_700, CENT)
    assert limit_amounts(Side.SELL, 570_000, 2 * CENT - 1, 10_000) == Amounts(CENT, 5_700)
    assert market_amounts(Side.BUY, 500_000, CENT, 10_000) == Amounts(CENT, 20_000)
    for make, word in ((limit_amounts, "size"), (market_amounts, "amount")):
        with pytest.raises(ValueError, match=rf"{word}: expected at least 0\.01.* found 9999 "):
            make(Side.SELL, 500_000, CENT - 1, 10_000)


def test_fees_are_cut_to_five_decimals_at_any_size():
    assert taker_fee(M, 500_000, 40_000, 1) == 10_000
    assert taker_fee(999, 500, 40_000, 1) == 0  # 9.99 millionths
    # A double has no room for this: it would be ten too many.
    assert taker_fee(10**15 + 1, 5 * 10**14, 999_999, 1) == 249_999_750_000_000
    assert highest_fee(1, 1) == 11


# positions


def fill(number: int, side: Side, shares: int, usdc: int, at_us: int, fee: int = 0) -> Fill:
    return Fill(
        f"t{number}", "0xo", "0xc", "7", side, shares, usdc, fee, Settlement.CONFIRMED, None, at_us
    )  # fmt: skip


def test_days_differ_field_by_field():
    assert Day(10, 20, 30, 40).minus(Day(1, 2, 3, 4)) == Day(9, 18, 27, 36)


def test_of_one_moment_purchases_come_before_sales_and_an_end_after_both():
    bought, sold = fill(2, Side.BUY, 10 * M, 4 * M, 5), fill(1, Side.SELL, 10 * M, 5 * M, 5)
    for order in ([bought, sold], [sold, bought]):
        found = fold(order)
        assert (found.position.realized, found.position.cost) == (M, 0)
    half = fill(3, Side.SELL, 5 * M, 3 * M, 5)
    found = fold([half, bought], [Payout(5, 5 * M, 5 * M)])
    assert (found.position.shares, found.position.realized) == (0, 4 * M)
    assert found.cash == -M  # a payout is owed, not paid


def test_of_one_moment_a_sale_takes_a_part_of_all_that_was_bought_by_then():
    before = fill(1, Side.BUY, 10 * M, 2 * M, 1)
    bought, sold = fill(3, Side.BUY, 10 * M, 6 * M, 5), fill(2, Side.SELL, 10 * M, 5 * M, 5)
    assert fold([before, bought, sold]).position.realized == M  # at an average of 0.40


def test_a_payout_takes_its_shares_and_realises_what_it_brings():
    found = fold([fill(1, Side.BUY, 10 * M, 4 * M, 1)], [Payout(2, 10 * M, 10 * M)])
    assert (found.position.shares, found.position.cost, found.position.realized) == (0, 0, 6 * M)


def test_what_was_sold_too_early_is_realised_when_it_is_bought_back():
    sold, bought = fill(1, Side.SELL, 10 * M, 5 * M, 1), fill(2, Side.BUY, 15 * M, 6 * M, 2)
    short = fold([sold]).position
    assert (short.shares, short.cost, short.realized) == (-10 * M, -5 * M, 0)
    found = fold([sold, bought]).position
    assert (found.shares, found.cost, found.realized) == (5 * M, 2 * M, M)


def test_one_unit_is_moved_like_any_other():
    found = fold([fill(1, Side.BUY, 1, 3, 1), fill(2, Side.SELL, 1, 5, 2)]).position
    assert (found.shares, found.cost, found.realized) == (0, 0, 2)
    found = fold([fill(1, Side.BUY, 2, 6, 1), fill(2, Side.SELL, 1, 5, 2)]).position
    assert (found.shares, found.cost, found.realized) == (1, 3, 2)
    found = fold([fill(1, Side.BUY, 2, 6, 1), fill(2, Side.BUY, 1, 5, 2)]).position
    assert (found.shares, found.cost, found.realized) == (3, 11, 0)
    found = fold([fill(1, Side.SELL, 2, 10, 1), fill(2, Side.BUY, 1, 3, 2)]).position
    assert (found.shares, found.cost, found.realized) == (-1, -5, 2)
    found = fold([fill(1, Side.SELL, 1, 5, 1), fill(2, Side.SELL, 1, 5, 2)]).position
    assert (found.shares, found.cost, found.realized) == (-2, -10, 0)
