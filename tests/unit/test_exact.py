"""Money and shares are whole numbers, everywhere; what is kept in words is kept whole."""

import hashlib
from dataclasses import replace

import pytest

from bot.model import totals
from bot.model.amounts import Amounts, check_price, floor_to_tick, limit_amounts, market_amounts
from bot.model.fill import Fill, Settlement
from bot.model.leader import FactState
from bot.model.market import Facts, Market, Side
from bot.model.pnl import Day, fold
from bot.model.units import MICRO, parse_micros, printable, rfc3339, utc_day
from bot.strategy import build
from bot.strategy.walk import walk
from tests.unit.test_mirror import BOOK, MARKET, SETTINGS, VIEW, M, decide

DAY_US = 86_400 * M
MARK = "\N{REPLACEMENT CHARACTER}"


def whole(*numbers: object) -> None:
    assert {type(number) for number in numbers} == {int}


def test_every_amount_is_a_whole_number():
    for side in Side:
        whole(*limit_amounts(side, 333_000, 7 * M, 1_000))
        whole(*market_amounts(side, 333_000, 7 * M, 1_000))
    found = walk(BOOK, 520_000, 100 * M, 7_000_001, 500_000)
    whole(found.best, found.inside, found.shares, found.usdc)
    entry = decide()
    whole(entry.price, entry.shares, entry.usdc, *entry.numbers.values())
    blind = SETTINGS.model_copy(update={"book": "if_fresh"})
    unseen = decide(replace(VIEW, book=replace(BOOK, seen_us=0)), blind)
    whole(unseen.price, unseen.shares, unseen.usdc)
    stale = decide(traded_s=VIEW.now_us // MICRO - 60)
    whole(stale.numbers["age_s"])


def test_a_sale_at_market_gets_what_its_price_times_its_shares_is():
    assert market_amounts(Side.SELL, 570_000, 7_770_000, 10_000) == Amounts(7_770_000, 4_428_900)
    assert market_amounts(Side.SELL, 999_000, 10_000, 1_000) == Amounts(10_000, 9_990)
    assert market_amounts(Side.BUY, 999_000, 10_000, 1_000) == Amounts(10_000, 10_010)
    assert market_amounts(Side.BUY, 990_000, 10_000, 10_000) == Amounts(10_000, 10_100)


def test_prices_are_on_the_grid_between_one_tick_and_a_dollar_less_one():
    for price in (10_000, 20_000, 990_000):
        check_price(price, 10_000)
    for price in (0, 9_999, 15_000, 991_000, MICRO, MICRO + 10_000):
        with pytest.raises(ValueError) as refused:
            check_price(price, 10_000)
        assert str(refused.value) == (
            f"price: expected a multiple of 10000 from 10000 to 990000, found {price}"
        )
    with pytest.raises(ValueError, match=r"^tick: expected one of \[100, .*\], found 7$"):
        check_price(14, 7)
    assert (floor_to_tick(0, 10_000), floor_to_tick(MICRO, 10_000)) == (10_000, 990_000)
    assert (floor_to_tick(999_999, 1_000), floor_to_tick(19_999, 10_000)) == (999_000, 10_000)


def test_a_market_knows_its_other_token_and_tells_all_its_facts():
    assert (MARKET.complement("7"), MARKET.complement("8")) == ("8", "7")
    market = Market("0xc", ("7", "8"), ("Up", "Down"), 1_000, 5 * M, True, "v2", 40_000, 2, False)
    assert market.facts() == Facts(
        condition="0xc", tokens=("7", "8"), outcomes=("Up", "Down"), tick=1_000,
        min_shares=5 * M, neg_risk=True, version="v2", fee_rate=40_000, fee_exponent=2,
        accepting=False,
    )  # fmt: skip


def fill(number: int, side: Side, shares: int, usdc: int, fee: int, day: int = 0) -> Fill:
    return Fill(
        f"t{number}", "0xo", "0xc", "7", side, shares, usdc, fee, Settlement.CONFIRMED, None,
        day * DAY_US + number,
    )  # fmt: skip


def test_a_day_adds_up_what_was_bought_sold_and_paid():
    found = fold(
        [
            fill(1, Side.BUY, 10 * M, 4 * M, 10), fill(2, Side.BUY, 10 * M, 5 * M, 20),
            fill(3, Side.SELL, 5 * M, 3 * M, 30), fill(4, Side.SELL, 5 * M, 2 * M, 40),
            fill(5, Side.BUY, 2 * M, M, 50, day=1),
        ]
    )  # fmt: skip
    first, second = found.days["1970-01-01"], found.days["1970-01-02"]
    assert (first.fees, first.bought, first.sold) == (100, 9 * M, 5 * M)
    assert second == Day(0, 50, M, 0)
    assert found.cash == -(9 * M) - 30 + 5 * M - 70 - M - 50
    whole(found.cash, first.realized, found.position.cost)


def test_a_position_that_closes_takes_all_of_its_cost_and_no_rounding_along():
    bought, sold = fill(1, Side.BUY, 3, 10, 0), fill(2, Side.SELL, 3, 7, 0)
    found = fold([bought, sold])
    assert (found.position.shares, found.position.cost, found.position.realized) == (0, 0, -3)
    part = fold([bought, fill(2, Side.SELL, 1, 7, 0)])
    assert (part.position.cost, part.position.realized) == (10 - 10 // 3, 7 - 10 // 3)
    over = fold([bought, fill(2, Side.SELL, 7, 10, 0)])
    assert (over.position.shares, over.position.cost, over.position.realized) == (-4, -5, -5)


def test_nothing_in_nothing_out():
    for state in FactState:
        assert (
            totals.target({}, state) == totals.target({}, state, provisional=lambda: True) == (0, 0)
        )
    empty = fold([fill(1, Side.BUY, 0, 0, 0)])
    assert (empty.position.shares, empty.position.cost, empty.position.realized) == (0, 0, 0)


def test_a_signal_is_known_by_all_that_it_is_made_of():
    group = ("0x1", "0xA", "7", "BUY")
    found = totals.signal_id(group, (1, 2), 0)
    assert found == hashlib.sha256(b"0x1|0xA|7|BUY|1|2|0").hexdigest()[:32]
    others = {
        totals.signal_id(("0x2", *group[1:]), (1, 2), 0),
        totals.signal_id(group, (1, 3), 0),
        totals.signal_id(group, (2, 2), 0),
        totals.signal_id(group, (1, 2), 1),
        totals.signal_id(("0x1", "0xA", "7B", "UY"), (1, 2), 0),
    }
    assert len(others | {found}) == 6


def test_growth_is_compared_in_whole_shares():
    # A thousandth of what is odd is rounded down.
    assert totals.growth((20_000_999, 0), (20_000_999 - 20_000, 0)) == (20_000, 0)


def test_what_is_printed_is_cut_and_marked():
    assert printable("a\x1bb\u202ec") == f"a{MARK}b{MARK}c"
    assert printable("abcd", 4) == "abcd"
    assert printable("abcde", 4) == "abc…"
    assert printable("\x00" * 50, 4) == MARK * 3 + "…"


def test_long_text_is_refused_by_its_beginning():
    assert parse_micros("0" * 63 + "1", field="size") == M
    for value, beginning in (("-" + "1" * 40, "-" + "1" * 22 + "…"), ("1" * 30, "1" * 23 + "…")):
        with pytest.raises(ValueError) as refused:
            parse_micros(value, field="size", at_most=M)
        assert str(refused.value).endswith(f"found {beginning}")


def test_the_last_moment_of_a_second_and_of_a_day_belong_to_them():
    assert rfc3339(1_999_500) == "1970-01-01T00:00:01.999Z"
    assert rfc3339(1_999_999) == "1970-01-01T00:00:01.999Z"
    assert rfc3339(253_402_300_799 * M + 999_999) == "9999-12-31T23:59:59.999Z"
    assert utc_day(253_402_300_799 * M + 999_999) == "9999-12-31"


def test_a_strategy_is_built_with_its_own_settings():
    strict = SETTINGS.model_copy(update={"min_leader_usdc": 51 * M})
    assert build(strict).evaluate(VIEW).reason == "too_small"
