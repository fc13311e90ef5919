"""What an answer to POST /order proves, for every documented text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.order import Accepted, Deferred, Outcome, Rejected, RejectReason, Unknown
from bot.polymarket.outcomes import REFUSALS, read_outcome

ID = "0x" + "ab" * 32


def read(status, body, maker_amount=10_000_000, retry_after=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_outcome(
        status, data, order_id=ID, maker_amount=maker_amount, retry_after=retry_after
    )


def matched(**change):
    body = {
        "success": True,
        "errorMsg": "",
        "orderID": ID,
        "status": "matched",
        "makingAmount": "5",
        "takingAmount": "10.2",
    }
    return {**body, **change}


TEXTS = [
    ("Invalid order payload", RejectReason.PAYLOAD),
    ("the order owner has to be the owner of the API KEY", RejectReason.CREDENTIALS),
    ("the order signer address has to be the address of the API KEY", RejectReason.CREDENTIALS),
    ("'0xabc' address banned", RejectReason.BANNED),
    ("'0xabc' address in closed only mode", RejectReason.BANNED),
    ("maker address not allowed, please use the deposit wallet flow", RejectReason.WALLET),
    ("Too many orders in payload: 16, max allowed: 15", RejectReason.PAYLOAD),
    (
        f"order {ID} is invalid. Price (0.123) breaks minimum tick size rule: 0.01",
        RejectReason.TICK,
    ),
    (f"order {ID} is invalid. Size (3) lower than the minimum: 5", RejectReason.MIN_SIZE),
    (f"order {ID} crosses the book", RejectReason.CROSSES_BOOK),
    ("invalid post-only order: order crosses book", RejectReason.CROSSES_BOOK),
    (
        "not enough balance / allowance: the balance is not enough -> balance: 1, order amount: 2",
        RejectReason.NO_BALANCE,
    ),
    (
        "not enough balance / allowance: the allowance is not enough -> spender",
        RejectReason.NO_ALLOWANCE,
    ),
    ("Trading restricted in your region, please refer to available regions", RejectReason.GEOBLOCK),
    ("invalid nonce", RejectReason.PAYLOAD),
    ("invalid expiration", RejectReason.PAYLOAD),
    ("invalid signature", RejectReason.SIGNATURE),
    ("order_version_mismatch", RejectReason.VERSION),
    ("invalid amount for a marketable BUY order ($0.5), min size: $1", RejectReason.MIN_SIZE),
    (
        "invalid amounts, the market buy orders maker amount supports a max accuracy of 2 decimals",
        RejectReason.AMOUNTS,
    ),
    ("the market is not yet ready to process new orders", RejectReason.MARKET_NOT_READY),
    ("order canceled in the CTF exchange contract", RejectReason.EXCHANGE),
    ("the trade contains rounding issues", RejectReason.AMOUNTS),
    (
        "the price of the taker's order has a discrepancy greater than allowed"
        " with the worst maker order",
        RejectReason.CROSSES_BOOK,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), TEXTS, ids=[t[:40] for t, _ in TEXTS])
def test_a_documented_refusal_is_typed_in_both_shapes(text, reason):
    assert read(400, {"error": text}) == Rejected(
        reason, text[:119] + "…" if len(text) > 120 else text
    )
    assert read(200, {"success": False, "errorMsg": text, "orderID": ID}).reason is reason


def test_every_fragment_of_the_table_is_documented():
    for fragment, reason in REFUSALS:
        assert (
            any(fragment in text.lower() for text, _ in TEXTS) or reason is RejectReason.NOT_FOUND
        ), fragment


@pytest.mark.parametrize(
    "text",
    [
        "order couldn't be fully filled. FOK orders are fully filled or killed.",
        "no orders found to match with FAK order."
        " FAK orders are partially filled or killed if no match is found.",
        "there are no matching orders",
    ],
)
def test_killed_is_an_order_that_reached_the_book(text):
    for status, body in (
        (400, {"error": text}),
        (200, {"success": False, "errorMsg": text, "orderID": ID}),
    ):
        found = read(status, body)
        assert isinstance(found, Accepted) and (
            found.status,
            found.maker_amount,
            found.taker_amount,
        ) == (
            "killed",
            0,
            0,
        )


def test_duplicated_means_landed():
    assert read(400, {"error": f"order {ID} is invalid. Duplicated."}) == Accepted("duplicate")


@pytest.mark.parametrize("status", [500, 502, 504, 520])
def test_a_server_error_proves_nothing(status):
    assert isinstance(read(status, {"error": "could not run the execution"}), Unknown)


@pytest.mark.parametrize("status", [425, 429, 503])
def test_busy_is_a_definite_no_that_may_be_sent_again(status):
    assert read(status, b"", retry_after="7") == Deferred(f"HTTP {status}", 7)
    assert read(status, b"", retry_after="soon").retry_after_s is None
    assert read(status, {"error": "post-only mode", "retry_after_seconds": 9}).retry_after_s == 9


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b"<html>", b'{"success":true}', b"\xff\xfe"]
)
def test_an_unreadable_answer_proves_nothing(body):
    assert isinstance(read(200, body), Unknown)
    assert isinstance(read(400, body), Unknown)


def test_unauthorised_and_geoblocked_are_definite():
    assert read(401, {"error": "Unauthorized/Invalid api key"}).reason is RejectReason.CREDENTIALS
    region = "Trading restricted in your region, please refer to available regions"
    assert read(403, {"error": region}).reason is RejectReason.GEOBLOCK


def test_a_page_of_a_gateway_is_weather():
    assert read(403, b"<html>") == Deferred("HTTP 403 page")


def test_amounts_are_decimal_text_and_what_does_not_fit_proves_nothing():
    assert read(200, matched()) == Accepted("matched", 5_000_000, 10_200_000)
    # A millionth above what was offered was once taken for base units: 19 micro-shares.
    above = read(200, matched(makingAmount="10.000001", takingAmount="19.980000"))
    assert above == Accepted("matched", 10_000_000, 19_980_000)
    assert read(200, matched(makingAmount="5000000", takingAmount="10200000")) == Accepted(
        "matched"
    )
    assert read(200, matched(status="live", makingAmount="", takingAmount="")) == Accepted("live")


@pytest.mark.parametrize(
    "change",
    [{"orderID": "0x1"}, {"status": "odd"}, {"makingAmount": "x"}, {"makingAmount": "NaN"},
     {"makingAmount": "-1"}, {"takingAmount": "-1"}, {"makingAmount": "Infinity"}],
)  # fmt: skip
def test_an_impossible_acceptance_proves_nothing(change):
    assert isinstance(read(200, matched(**change)), Unknown)


@given(st.integers(100, 599), st.binary(max_size=200))
def test_no_answer_raises(status, body):
    assert isinstance(read(status, body), Outcome)
