"""The mirror strategy: entries near the leader's price."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config.schema import StrategySettings
from bot.model.amounts import TICKS, market_amounts
from bot.model.burst import Burst, Spent, joined
from bot.model.decision import Proposal, SkipReason, View
from bot.model.market import Book, Market, Side
from bot.model.signal import Signal, SignalKind
from bot.strategy.mirror import Mirror

M = 1_000_000
NOW = 1_790_000_000 * M
SETTINGS = StrategySettings()
MARKET = Market("0xc", ("7", "8"), ("Yes", "No"), 10_000, 5 * M, False, "v1", 40_000, 1, True)
SIGNAL = Signal(
    id="s",
    kind=SignalKind.INCREASE,
    portfolio="mirror/0xw",
    note="",
    trade_id=1,
    seq=0,
    tx="0x1",
    wallet="0xw",
    token="7",
    condition="0xc",
    side=Side.BUY,
    shares=100 * M,
    usdc=50 * M,
    group_shares=100 * M,
    group_usdc=50 * M,
    leader_watched=100 * M,
    title="t",
    outcome="Yes",
    traded_s=NOW // M,
    seen_us=NOW,
    source="rtds",
)
BOOK = Book(((490_000, 400 * M),), ((510_000, 400 * M), (520_000, 400 * M)), NOW)
ONCE = Burst(NOW, NOW, 100 * M, 50 * M, 500_000, 0)
VIEW = View(SIGNAL, MARKET, BOOK, 0, 0, False, False, ONCE, Spent(), (100 * M, 0), False, NOW)


def decide(view=VIEW, settings=SETTINGS, **signal):
    """Decide on a trade that is all of its burst, unless the view has another one."""
    trade = replace(view.signal, **signal)
    if view.burst is ONCE:
        burst = joined(None, NOW, NOW, trade.group_shares, trade.group_usdc, 0)
        view = replace(view, burst=burst)
    return Mirror(settings).evaluate(replace(view, signal=trade))


def test_of_what_no_block_has_yet_a_part_is_bought_and_never_much():
    early = replace(VIEW, provisional=True)
    large = SETTINGS.model_copy(update={"fixed_usdc": 40 * M})
    assert decide(early, large).usdc <= 10 * M < decide(VIEW, large).usdc
    assert decide(early, large).usdc > 9 * M
    huge = SETTINGS.model_copy(update={"fixed_usdc": 400 * M, "max_depth_ratio": M})
    deep = replace(BOOK, asks=((510_000, 10**12),))
    assert 19 * M < decide(replace(early, book=deep), huge).usdc <= 20 * M
    assert decide(replace(VIEW, book=deep), huge).usdc > 300 * M
    ratio = SETTINGS.model_copy(update={"sizing": "proportional", "ratio": M})
    whole = decide(replace(VIEW, book=deep), ratio, leader_watched=40 * M)
    part = decide(replace(early, book=deep), ratio, leader_watched=40 * M)
    assert 0 < part.shares < whole.shares // 2


def test_a_plain_entry_spends_its_budget_on_the_shares_that_he_would_get_for_it():
    found = decide()
    # 20 shares at his 0.50 would cost 10.20 here: the money is what is kept to.
    assert (found.token, found.price, found.shares, found.usdc) == (
        "7",
        520_000,
        19_600_000,
        10 * M,
    )


def test_a_cheaper_book_brings_the_shares_that_were_wanted_and_no_more():
    cheap = replace(BOOK, asks=((450_000, 400 * M),))
    found = decide(replace(VIEW, book=cheap))
    assert (found.shares, found.usdc) == (20 * M, 9 * M)


def test_a_book_far_under_his_price_is_news():
    fallen = replace(BOOK, asks=((420_000, 400 * M),))
    assert decide(replace(VIEW, book=fallen)).reason is SkipReason.PRICE_FELL
    still = replace(BOOK, asks=((425_000, 400 * M),))
    assert isinstance(decide(replace(VIEW, book=still)), Proposal)


def test_the_money_is_what_the_shares_cost_from_the_best_ask_down():
    thin = replace(BOOK, asks=((500_000, 8 * M), (510_000, 10 * M), (520_000, 400 * M)))
    found = decide(replace(VIEW, book=thin))
    # 8 for 4.00, 10 for 5.10, and for the 0.90 that is left 1.73 at 0.52
    assert (found.price, found.shares, found.usdc) == (520_000, 19_730_000, 10 * M)


def test_no_more_than_a_part_of_what_is_offered_is_taken():
    thin = replace(BOOK, asks=((510_000, 12 * M),))
    found = decide(replace(VIEW, book=thin))
    assert (found.shares, found.usdc) == (6 * M, 3_060_000)


def test_a_burst_is_judged_whole():
    small = {"shares": 20 * M, "usdc": 10 * M, "group_shares": 20 * M, "group_usdc": 10 * M}
    two = joined(joined(None, NOW, NOW, 20 * M, 10 * M, 0), NOW + M, NOW + M, 20 * M, 10 * M, 0)
    assert decide(replace(VIEW, burst=two), **small).reason is SkipReason.TOO_SMALL
    three = joined(two, NOW + 2 * M, NOW + 2 * M, 20 * M, 10 * M, 0)
    assert isinstance(decide(replace(VIEW, burst=three), **small), Proposal)


def test_the_dearer_of_his_prices_is_not_followed():
    cheap_before = Burst(NOW, NOW, 200 * M, 90 * M, 500_000, 0)  # 0.45 on the average
    assert decide(replace(VIEW, burst=cheap_before)).reason is SkipReason.PRICE_MOVED
    dear_before = Burst(NOW, NOW, 200 * M, 110 * M, 500_000, 0)
    assert decide(replace(VIEW, burst=dear_before)).price == 520_000


@pytest.mark.parametrize("held", [20 * M, 11 * M])
def test_what_a_burst_has_spent_is_not_spent_again(held):
    view = replace(VIEW, held=held, spent=Spent(9_900_000, 20 * M))
    assert decide(view).reason is SkipReason.ALREADY_COPIED
    gone = replace(view, held=0)
    assert decide(gone).reason is SkipReason.BURST_SPENT
    rest = replace(view, held=8 * M, spent=Spent(4 * M, 8 * M))
    assert decide(rest).usdc == 6 * M


def test_a_part_of_him_that_was_sold_within_the_burst_is_not_bought_again():
    half = SETTINGS.model_copy(update={"sizing": "proportional", "ratio": 500_000})
    view = replace(VIEW, held=0, spent=Spent(25 * M, 50 * M))
    assert decide(view, half).reason is SkipReason.BURST_SPENT
    more = replace(view, spent=Spent(5 * M, 10 * M))
    assert decide(more, half).shares == 40 * M
    after = replace(view, held=10 * M, burst=replace(ONCE, base=10 * M), spent=Spent())
    assert decide(after, half).shares == 40 * M


def test_who_trades_both_sides_is_not_followed_in():
    assert decide(replace(VIEW, lately=(70 * M, 30 * M))).reason is SkipReason.BOTH_SIDES
    assert isinstance(decide(replace(VIEW, lately=(71 * M, 29 * M))), Proposal)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"now_us": NOW + 11 * M}, SkipReason.STALE),
        ({"held_opposite": 1}, SkipReason.OPPOSITE_HELD),
        ({"exit_stands": True}, SkipReason.OWN_EXIT_STANDS),
        ({"copied_before": True}, SkipReason.ALREADY_COPIED),
        ({"market": replace(MARKET, accepting=False)}, SkipReason.MARKET_CLOSED),
        ({"book": replace(BOOK, seen_us=NOW - 31 * M)}, SkipReason.BOOK_STALE),
        ({"book": replace(BOOK, asks=())}, SkipReason.NO_LIQUIDITY),
        ({"book": replace(BOOK, asks=((530_000, 400 * M),))}, SkipReason.PRICE_MOVED),
        ({"book": replace(BOOK, asks=((510_000, 3 * M),))}, SkipReason.BELOW_MIN_NOTIONAL),
    ],
)
def test_an_entry_is_skipped_with_its_reason(change, reason):
    assert decide(replace(VIEW, **change)).reason is reason


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        ({"group_usdc": 24 * M, "group_shares": 48 * M}, SkipReason.TOO_SMALL),
        ({"group_usdc": 95 * M}, SkipReason.PRICE_BAND),
        ({"group_usdc": 7 * M + 900_000, "group_shares": 100 * M}, SkipReason.TOO_SMALL),
        ({"group_usdc": 30 * M, "group_shares": 500 * M}, SkipReason.PRICE_BAND),
    ],
)
def test_the_whole_leader_trade_is_judged(signal, reason):
    assert decide(**signal).reason is reason


def test_a_large_trade_of_small_rows_is_not_too_small():
    assert isinstance(decide(shares=20 * M, usdc=10 * M), Proposal)


def test_max_worse_zero_means_the_leaders_price_or_better():
    strict = SETTINGS.model_copy(update={"max_worse_price": 0})
    assert decide(settings=strict).reason is SkipReason.PRICE_MOVED


def test_proportional_sizing_buys_the_difference_to_the_target():
    half = SETTINGS.model_copy(update={"sizing": "proportional", "ratio": 500_000})
    found = decide(replace(VIEW, held=20 * M), half)
    assert (found.shares, found.usdc) == (30 * M, 15_300_000)
    assert decide(replace(VIEW, held=50 * M), half).reason is SkipReason.ALREADY_COPIED


@given(
    tick=st.sampled_from(sorted(TICKS)),
    price=st.integers(80_000, 920_000),
    usdc=st.integers(25 * M, 10**6 * M),
    fixed=st.integers(M, 1000 * M),
    best=st.integers(1, 999_999),
)
def test_no_entry_ever_pays_beyond_guard_or_budget(tick, price, usdc, fixed, best):
    ask = max(tick, best - best % tick)
    book = Book((), ((ask, 10**6 * M),), NOW) if ask < M else BOOK
    view = replace(VIEW, market=replace(MARKET, tick=tick), book=book)
    shares = usdc * M // price
    settings = SETTINGS.model_copy(update={"fixed_usdc": fixed})
    found = decide(view, settings, group_usdc=usdc, group_shares=shares, leader_watched=shares)
    if isinstance(found, Proposal):
        assert found.price <= max(price * 1.05 + 1, tick) and found.price <= max(
            settings.max_price, tick
        )
        assert found.usdc <= fixed
        amounts = market_amounts(Side.BUY, found.price, found.usdc, tick)
        assert amounts.maker_amount <= fixed
        # The implied price still reaches an ask at the limit.
        assert amounts.maker_amount * M >= found.price * amounts.taker_amount


def test_without_a_fresh_book_an_entry_may_go_on_its_limit_alone():
    blind = SETTINGS.model_copy(update={"book": "if_fresh"})
    old = replace(VIEW, book=replace(BOOK, asks=((300_000, M),), seen_us=NOW - 31 * M))
    found = decide(old, blind)
    # 20 shares would cost 10.40 at the limit: no more than ten dollars are spent.
    assert (found.price, found.shares, found.usdc) == (520_000, 19_230_000, 10 * M)
    assert decide(VIEW, blind).shares == 19_600_000, "a fresh book is looked at all the same"
    assert decide(replace(old, spent=Spent(9_500_000, 19 * M), held=19 * M), blind).reason is (
        SkipReason.ALREADY_COPIED
    )
