"""A funder that the key does not derive is refused before the exchange refuses every order."""

import json

import pytest
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.model.address import checksummed
from bot.polymarket.wallet import derived, prove
from tests.samples import SHARED, needs_shared

OWNER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
WALLETS = derived(OWNER)


@needs_shared
def test_wallets_are_derived_to_the_byte():
    told = json.loads((SHARED / "vectors_after.json").read_text())["create2"]["wallets"]
    assert len(told) >= 4
    for wallet in told:
        assert derived(wallet["eoa"]) == {
            1: (wallet["proxy"],),
            2: (wallet["safe"],),
            3: (wallet["deposit_beacon"], wallet["deposit_uups"]),
        }


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_a_derived_wallet_is_accepted_and_any_other_named_with_the_fix(kind):
    for wallet in WALLETS[kind]:
        prove(OWNER, kind, wallet)
    other = {1: 2, 2: 3, 3: 1}[kind]
    with pytest.raises(ConfigError, match=rf"set account.signature_type = {other}$"):
        prove(OWNER, kind, WALLETS[other][0])
    with pytest.raises(ConfigError, match=r"signature_type = 0, no funder"):
        prove(OWNER, kind, OWNER)
    with pytest.raises(ConfigError, match=rf"this key derives type 1: {WALLETS[1][0]}, type 2"):
        prove(OWNER, kind, "0x8F0Be2f4e0f8F1E5f6f2bE0E5C0b8dD11e1A52F3")


@given(st.binary(min_size=20, max_size=20))
def test_an_address_is_spelled_as_the_reference_spells_it(raw):
    assert checksummed("0x" + raw.hex()) == to_checksum_address(raw)
