"""The mirror strategy: entries near the leader's price."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config.schema import StrategySettings
from bot.model.amounts import TICKS, market_amounts
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
VIEW = View(SIGNAL, MARKET, BOOK, 0, 0, False, False, NOW)


def decide(view=VIEW, settings=SETTINGS, **signal):
    return Mirror(settings).evaluate(replace(view, signal=replace(view.signal, **signal)))


def test_a_plain_entry_spends_the_fixed_budget_at_the_limit():
    found = decide()
    assert (found.token, found.price, found.usdc) == ("7", 520_000, 9_990_000)


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
    assert found.shares == 30 * M
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
