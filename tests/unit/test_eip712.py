"""Ids and signatures are those of the official builder, whatever the order."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_clob_client_v2.order_utils import ExchangeOrderBuilderV2, OrderDataV2, SignatureTypeV2
from py_clob_client_v2.order_utils import Side as ClientSide
from py_clob_client_v2.signer import Signer

from bot.config.venue import Contracts
from bot.model.amounts import Amounts
from bot.model.market import Side, TokenId
from bot.polymarket.signer import OrderSigner

KEY = "0x" + "1f" * 32
FUNDER = "0x36Fe8cCAf0d4D8fAc0D2d6F5AB0eD5BF0d1F3aB1"
CONTRACTS = Contracts()
#: By contract: (a token of it, neg-risk, domain version). Bits 40 to 103 of V3's are zero.
KINDS = {
    "standard": (1 << 60, False, "2"),
    "neg_risk": (1 << 60, True, "2"),
    "v3": (7 << 150, False, "3"),
}
uint = st.integers(min_value=1, max_value=2**96)


def official(contract, version, signature_type, maker, fields):
    """Return (id, signature) as the official builder makes them."""
    signer = Signer(KEY, 137)
    builder = ExchangeOrderBuilderV2(contract, 137, signer, lambda: str(fields["salt"]), version)
    deposit = signature_type == SignatureTypeV2.POLY_1271
    order = builder.build_order(
        OrderDataV2(
            maker=maker,
            signer=maker if deposit else signer.address(),
            tokenId=str(fields["token"]),
            makerAmount=str(fields["maker_amount"]),
            takerAmount=str(fields["taker_amount"]),
            side=ClientSide.BUY if fields["side"] is Side.BUY else ClientSide.SELL,
            signatureType=SignatureTypeV2(signature_type),
            timestamp=str(fields["now_us"] // 1000),
        )
    )
    typed = builder.build_order_typed_data(order)
    return builder.build_order_hash(typed), builder.build_order_signature(typed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signature_type", [0, 1, 2, 3])
@settings(max_examples=10, deadline=None)
@given(
    high=st.integers(min_value=0, max_value=2**48 - 1),
    salt=st.integers(min_value=0, max_value=2**53 - 1),
    maker_amount=uint,
    taker_amount=uint,
    side=st.sampled_from(Side),
    now_us=st.integers(min_value=1, max_value=2**52),
)
def test_id_and_signature_are_the_official_builders(
    kind, signature_type, high, salt, maker_amount, taker_amount, side, now_us
):
    base, neg_risk, version = KINDS[kind]
    token = base | high << 208
    signer = OrderSigner(
        KEY,
        chain_id=137,
        contracts=CONTRACTS,
        signature_type=signature_type,
        funder=FUNDER if signature_type else None,
    )
    signed = signer.sign(
        TokenId(str(token)),
        side,
        Amounts(maker_amount, taker_amount),
        neg_risk=neg_risk,
        owner="owner",
        now_us=now_us,
        salt=salt,
    )
    fields = {
        "salt": salt,
        "token": token,
        "maker_amount": maker_amount,
        "taker_amount": taker_amount,
        "side": side,
        "now_us": now_us,
    }
    order_id, signature = official(
        getattr(CONTRACTS, kind), version, signature_type, signer.maker, fields
    )
    assert signed.id == order_id
    assert json.loads(signed.body)["order"]["signature"] == signature
