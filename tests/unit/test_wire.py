"""Outside JSON becomes bounded types or BadInput, nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.fees import highest_fee, taker_fee
from bot.model.fill import Settlement
from bot.model.market import Market, Side
from bot.polymarket import trades, wire
from tests.samples import SAMPLES, needs_shared

M = 1_000_000
HEX = "0x" + "ab" * 32
ACTIVITY = {
    "type": "TRADE", "proxy_wallet": "0x" + "1" * 40, "condition_id": HEX, "token_id": "123",
    "side": "BUY", "size": 12.5, "usdc_size": 6.25, "price": 0.5, "outcome": "Yes", "title": "t",
    "timestamp": 1_790_000_000, "transaction_hash": HEX,
}  # fmt: skip
MARKET = Market(HEX, ("123", "456"), ("Yes", "No"), 10_000, 5 * M, False, "v1", 70_000, 1, True)


def activity(**change):
    return wire.activity(json.dumps({**ACTIVITY, **change}).encode())


def test_an_activity_row_becomes_integers():
    found = activity(size="12.5", title="\x1b[31mred\x00")
    assert (found.shares, found.usdc, found.side) == (12_500_000, 6_250_000, Side.BUY)
    assert found.title.isprintable()


def test_other_activity_is_no_trade():
    bare = {"token_id": "", "side": "", "price": 0}
    assert activity(type="REWARD", condition_id="", **bare) is None
    for kind in ("REDEEM", "CONVERSION", "MIGRATION"):
        assert activity(type=kind, **bare) == HEX, "how many of which it does not say"
    for kind, made in (("SPLIT", True), ("MERGE", False)):
        told = activity(type=kind, size=0, usdc_size="12.5", **bare)
        assert (told.condition, told.shares, told.made) == (HEX, 12_500_000, made)
    with pytest.raises(wire.BadInput, match="condition"):
        activity(type="SPLIT", **bare | {"condition_id": "0x12"})
    with pytest.raises(wire.BadInput, match="timestamp"):
        activity(type="MERGE", **bare | {"timestamp": 12})


def test_a_row_of_everybody_is_read_only_where_its_wallet_is_followed():
    row = json.dumps({k: v for k, v in ACTIVITY.items() if k != "type"}).encode()
    at_s, fill = wire.trade(row, lambda wallet: wallet == ACTIVITY["proxy_wallet"].lower())
    assert (at_s, fill.shares) == (ACTIVITY["timestamp"], activity().shares)
    assert wire.trade(row, lambda _: False) == (at_s, None)


def test_how_far_behind_an_index_says_it_is():
    assert wire.lag_s(b'{"serving": {"lag_seconds": 12.7}, "age_seconds": 5}') == 17
    assert wire.lag_s(b'{"serving": {"lag_seconds": "7"}}') == 7
    for other in (b"{}", b"[]", b"<html>", b'{"serving": {"lag_seconds": null}}'):
        assert wire.lag_s(other) is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"side": "HOLD"}, "side"), ({"size": 0}, "size"), ({"size": -1}, "size"),
        ({"size": 1e30}, "size"), ({"size": "NaN"}, "size"), ({"price": 1.01}, "price"),
        ({"price": "Infinity"}, "price"), ({"timestamp": 12}, "timestamp"),
        ({"timestamp": 10**14}, "timestamp"), ({"token_id": "0x12"}, "token"),
        ({"token_id": str(2**256)}, "token"), ({"proxy_wallet": "0x12"}, "wallet"),
        ({"transaction_hash": "' OR 1=1"}, "transaction hash"), ({"condition_id": ""}, "condition"),
        ({"size": None}, "size"), ({"usdc_size": [1]}, "usdc_size"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_by_field(change, field):
    with pytest.raises(wire.BadInput) as refused:
        activity(**change)
    assert field in str(refused.value)
    assert str(refused.value).isprintable()


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_bad_input(data):
    for read in (
        wire.activity,
        wire.rtds,
        wire.market,
        wire.page,
        wire.position,
        lambda d: wire.book(d, now_us=0),
    ):
        try:
            read(data)
        except wire.BadInput as error:
            assert str(error).isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.sampled_from(sorted(ACTIVITY)), json_values)
def test_any_value_in_any_field_is_taken_or_refused(field, value):
    try:
        found = activity(**{field: value})
        assert found is None or 0 < found.shares <= 10**18
    except wire.BadInput:
        pass


def test_half_a_surrogate_pair_costs_neither_the_row_nor_its_page():
    row = json.dumps({**ACTIVITY, "title": "a@b"}).encode().replace(b"@", b"\\ud800")
    page = wire.page(b'{"data":[' + row + b'],"pagination":{}}')
    assert wire.activity(bytes(page.data[0])).title == "a\N{REPLACEMENT CHARACTER}b"
    whole = row.replace(b"\\ud800", b"\\ud83d\\ude00")
    assert wire.activity(whole).title == "a\N{GRINNING FACE}b"


def test_deep_nesting_is_refused():
    with pytest.raises(wire.BadInput):
        wire.activity(b'{"type":' + b"[" * 100_000)


@needs_shared
def test_recorded_stream_frames_are_read():
    lines = (SAMPLES / "27_rtds_activity_trades_frames_2026-07_08.jsonl").read_text().splitlines()
    found = [wire.rtds(line) for line in lines if line.strip()]
    assert [(kind, fill.shares, fill.usdc) for kind, fill in found] == [
        ("trades", 4_330_000, 1_948_500), ("trades", 2_702_700, 702_702),
    ]  # fmt: skip
    assert all(fill.wallet == fill.wallet.lower() for _, fill in found)


@needs_shared
@pytest.mark.parametrize("name", ["06_clob_book_2026-04-18.json", "07_clob_book_2026-05-02.json"])
def test_recorded_books_have_the_best_level_first(name):
    shown = wire.book((SAMPLES / name).read_bytes(), now_us=7)
    book = shown.book
    assert (shown.condition[:2], shown.tick) in {("0x", 1_000), ("0x", 10_000)}
    assert list(book.bids) == sorted(book.bids, reverse=True)
    assert list(book.asks) == sorted(book.asks)
    assert book.bids[0][0] < book.asks[0][0]


def trade(**change):
    maker = {
        "order_id": "0xm",
        "matched_amount": "10",
        "price": "0.4",
        "asset_id": "123",
        "side": "SELL",
    }
    body = {
        "id": "t", "taker_order_id": "0xt", "market": HEX, "asset_id": "123", "side": "BUY",
        "size": "10", "price": "0.4", "status": "TRADE_STATUS_MATCHED", "match_time": "1790000000",
        "maker_orders": [maker], "transaction_hash": "",
    }  # fmt: skip
    return wire.decode(json.dumps({**body, **change}).encode(), trades.Trade)


def test_our_taker_fill_pays_the_resting_price_and_the_fee():
    fill = trades.our_fill(trade(), "0xt", MARKET)
    assert (fill.shares, fill.usdc, fill.fee) == (
        10 * M,
        4 * M,
        taker_fee(10 * M, 4 * M, 70_000, 1),
    )
    assert (fill.settlement, fill.tx) == (Settlement.MATCHED, None)


def test_a_mint_costs_the_rest_of_the_dollar():
    maker = {
        "order_id": "0xm",
        "matched_amount": "3.333333",
        "price": "0.57",
        "asset_id": "456",
        "side": "BUY",
    }
    fill = trades.our_fill(trade(maker_orders=[maker]), "0xt", MARKET)
    assert fill.shares == 3_333_333
    assert fill.usdc == 3_333_333 - 3_333_333 * 570_000 // M


def test_our_maker_fill_pays_no_fee_and_has_its_own_token_and_side():
    maker = {"order_id": "0xm", "matched_amount": "10", "price": "0.6", "asset_id": "456"}
    fill = trades.our_fill(trade(maker_orders=[maker]), "0xm", MARKET)
    assert (fill.token, fill.side, fill.usdc, fill.fee) == ("456", Side.BUY, 6 * M, 0)


def test_a_strangers_trade_is_not_ours():
    assert trades.our_fill(trade(), "0xother", MARKET) is None


def test_an_unknown_settlement_is_refused():
    assert trades.status_of("MATCHED_NOT_BROADCASTED") is Settlement.MATCHED
    with pytest.raises(wire.BadInput, match="trade status"):
        trades.status_of("MAYBE")


def test_fees_match_the_documented_example_and_are_never_above_the_reservation():
    assert taker_fee(25 * M, 16 * M, 70_000, 1) == 403_200
    assert taker_fee(2, 1, 70_000, 1) == 0
    assert taker_fee(0, 0, 70_000, 1) == 0


@pytest.mark.parametrize(
    ("shares", "usdc", "rate", "charged"),
    [
        (261 * M, 234_660_000, 50_000, 1_184_080), (260_430_000, 247_483_630, 40_000, 492_110),
        (580_677_591, 306_051_099, 70_000, 10_132_090),
    ],
)  # fmt: skip
def test_fees_are_cut_as_in_real_charges(shares, usdc, rate, charged):
    assert taker_fee(shares, usdc, rate, 1) == charged


@given(
    st.integers(1, 999_999), st.integers(M, 1000 * M), st.integers(0, 100_000), st.integers(1, 3)
)
def test_the_reserved_fee_covers_every_fill(price, budget, rate, exponent):
    assert taker_fee(budget * M // price, budget, rate, exponent) <= highest_fee(budget, rate)
