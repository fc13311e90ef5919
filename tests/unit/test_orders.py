"""Orders reproduce the recorded vectors to the byte."""

import json
from decimal import Decimal

import pytest

from bot.config.venue import Contracts
from bot.model.amounts import Amounts, limit_amounts, market_amounts
from bot.model.market import Side
from bot.polymarket.auth import Credentials, l1_headers, l2_headers
from bot.polymarket.signer import OrderSigner, is_v3
from tests.samples import SHARED, needs_shared

pytestmark = needs_shared
VECTORS = (
    json.loads((SHARED / "vectors.json").read_text())
    if SHARED.exists()
    else {"orders": [], "l2": [], "rounding": []}
)
MICRO = Decimal(1_000_000)


def signer(signature_type: int = 0, funder: str | None = None) -> OrderSigner:
    return OrderSigner(
        VECTORS["private_key"],
        chain_id=137,
        contracts=Contracts(),
        signature_type=signature_type,
        funder=funder,
    )


@pytest.mark.parametrize("vector", VECTORS["orders"], ids=lambda v: v["label"])
def test_order_id_and_signature_match_the_recorded_bytes(vector):
    funder = vector["maker"] if vector["maker"] != VECTORS["address"] else None
    signed = signer(vector["signatureType"], funder).sign(
        vector["tokenId"],
        Side.SELL if vector["side"] else Side.BUY,
        Amounts(int(vector["makerAmount"]), int(vector["takerAmount"])),
        neg_risk=vector["exchange"] == Contracts().neg_risk,
        owner="owner",
        now_us=int(vector["timestamp"]) * 1000,
        salt=vector["salt"],
    )
    order = json.loads(signed.body)["order"]
    assert signed.id == vector["order_id"]
    assert order["signature"] == vector["signature"]
    assert order["signer"] == vector["signer"]
    assert is_v3(vector["tokenId"]) == (vector["domain_version"] == "3")


@pytest.mark.parametrize(
    "vector", VECTORS["rounding"], ids=lambda v: f"{v['kind']}-{v['side']}-{v['price']}-{v['tick']}"
)
def test_amounts_match_the_official_rounding(vector):
    build = limit_amounts if vector["kind"] == "limit" else market_amounts
    size = int(Decimal(vector.get("size") or vector["amount"]) * MICRO)
    price, tick = int(Decimal(vector["price"]) * MICRO), int(Decimal(vector["tick"]) * MICRO)
    assert build(Side(vector["side"]), price, size, tick) == (
        vector["makerAmount"],
        vector["takerAmount"],
    )


def test_wallet_header_signature_matches_the_recorded_bytes():
    headers = l1_headers(
        signer().signer, now_s=VECTORS["l1"]["timestamp"], nonce=VECTORS["l1"]["nonce"]
    )
    assert headers["POLY_SIGNATURE"] == VECTORS["l1"]["signature"]


@pytest.mark.parametrize("vector", VECTORS["l2"], ids=lambda v: f"{v['method']} {v['path']}")
def test_request_header_signature_matches_the_recorded_bytes(vector):
    credentials = Credentials("key", vector["secret"], "phrase")
    headers = l2_headers(
        signer().signer,
        credentials,
        vector["method"],
        vector["path"],
        vector["body"],
        now_s=vector["timestamp"],
    )
    assert headers["POLY_SIGNATURE"] == vector["signature"]


def test_the_key_shows_in_no_representation():
    assert "1111" not in repr(signer())
    assert "hush" not in repr(Credentials("id", "hush", "hush"))
