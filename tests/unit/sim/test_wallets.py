"""Wallets are derived as their factories derive them."""

import random

import pytest
from polymarket._internal import wallet as official
from polymarket._internal.environment import PRODUCTION_CONFIG

from bot.sim import crypto, wallets

CONFIG = PRODUCTION_CONFIG.wallet_derivation


def test_a_known_key_has_its_known_wallets():
    owner = crypto.address_of("0x" + "11" * 32)
    assert owner == "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
    assert wallets.proxy(owner) == "0x6Cd089333445c89b55B7693c6009DCc229613738"
    assert wallets.safe(owner) == "0x75F00B003FBBBA193FABEB06284c3187a4C1232E"
    assert wallets.deposit(owner) == "0x8154deDBDAAA46c07453E47b5b6C0Ff60B8542b9"
    assert wallets.deposit(owner, beacon=False) == "0x7a57144fAfde87F5cE4a880D570BAe58eeBC83f2"


@pytest.mark.parametrize("seed", range(20))
def test_every_wallet_is_the_official_clients(seed):
    owner = crypto.random_address(random.Random(seed))
    assert wallets.proxy(owner) == official.derive_proxy_wallet_address(owner, CONFIG)
    assert wallets.safe(owner) == official.derive_safe_wallet_address(owner, CONFIG)
    assert wallets.deposit(owner) == official.derive_beacon_deposit_wallet_address(owner, CONFIG)
    assert wallets.deposit(owner, beacon=False) == official.derive_uups_deposit_wallet_address(
        owner, CONFIG
    )


def test_a_type_names_its_wallet():
    owner = crypto.random_address(random.Random(7))
    expected = [owner, wallets.proxy(owner), wallets.safe(owner), wallets.deposit(owner)]
    assert [wallets.derived(owner.lower(), kind) for kind in range(4)] == expected
