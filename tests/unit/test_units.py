"""Numbers and texts at the edge."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.units import (
    MAX_MICROS,
    MICRO,
    average_price,
    decimal_text,
    money,
    notional,
    parse_micros,
    parse_price,
    printable,
    rfc3339,
    utc_day,
)


@pytest.mark.parametrize(
    "value", ["NaN", "inf", "-1", "1e30", "abc", "", "9" * 65, True, None, 1.5, [], Decimal("NaN")]
)
def test_what_is_no_bounded_number_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^size: expected"):
        parse_micros(value, field="size")


@given(st.integers(0, MAX_MICROS))
def test_decimal_text_and_parsing_are_inverse(micros):
    assert parse_micros(decimal_text(micros), field="x") == micros


@given(st.text(max_size=80))
def test_no_text_raises_anything_but_value_error(text):
    try:
        assert 0 <= parse_micros(text, field="x") <= MAX_MICROS
    except ValueError as error:
        assert str(error).isprintable()


@given(st.text())
def test_printable_lets_no_control_character_through(text):
    assert printable(text).isprintable()


def test_binary_float_noise_is_rounded_to_the_micro():
    assert parse_micros("2.7026999999999997", field="x") == 2_702_700


@pytest.mark.parametrize(
    ("micros", "text"),
    [(12_400_000, "12.40"), (-5_000, "-0.01"), (-4_999, "0.00"), (1234567890123, "1,234,567.89")],
)
def test_money_has_two_decimals_and_no_minus_zero(micros, text):
    assert money(micros) == text


def test_signs_are_always_shown_where_asked():
    assert [money(m, signed=True) for m in (10_000, -10_000, 0)] == ["+0.01", "-0.01", "0.00"]


def test_prices_above_one_are_refused():
    with pytest.raises(ValueError, match="price: expected at most 1"):
        parse_price("1.01")


def test_notional_floors_and_average_rounds():
    assert notional(3, 500_000) == 1
    assert average_price(2, 3) == 666_667
    assert average_price(1, 0) == 0


def test_moments_are_utc():
    assert rfc3339(1_790_000_000_123_456) == "2026-09-21T14:13:20.123Z"
    assert utc_day(86_400 * MICRO - 1) == "1970-01-01"
