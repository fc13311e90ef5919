"""Fees are cut on the average price, and a mint may be off by a millionth, never past the limit."""

import random

import pytest

from bot.model.fees import taker_fee
from bot.sim.book import fee
from bot.sim.entities import MICRO, Account, Piece, SimOrder, new_market
from bot.sim.exchange import Exchange

M = MICRO


def market(**facts):
    return new_market(random.Random(1), "Will it be cut?", **facts)


def resting(where, price, shares, token=0, side="SELL"):
    return SimOrder(
        id="0x1",
        account=Account("0x" + "1" * 40),
        owner_key="",
        market=where,
        token=where.tokens[token],
        side=side,
        price=price,
        making=shares,
        taking=shares * price // M,
        kind="GTC",
        size=shares,
        number=0,
        created_s=0,
    )


@pytest.mark.parametrize(
    ("shares", "usdc", "rate", "charged"),
    [
        (261 * M, 234_660_000, 50_000, 1_184_080), (260_430_000, 247_483_630, 40_000, 492_110),
        (580_677_591, 306_051_099, 70_000, 10_132_090), (25 * M, 16 * M, 70_000, 403_200),
    ],
)  # fmt: skip
def test_a_fee_is_cut_to_five_decimals_as_real_charges_are(shares, usdc, rate, charged):
    where = market(fee_rate=rate)
    piece = Piece(resting(where, usdc * M // shares, shares), shares, usdc, usdc, mint=False)
    assert fee(where, [piece]) == charged


def test_a_fee_is_of_the_average_price_not_of_each_level():
    where = market(fee_rate=40_000)
    pieces = [
        Piece(resting(where, price, 100 * M), 100 * M, price * 100, price * 100, mint=False)
        for price in (200_000, 800_000)
    ]
    # Level by level it would be 2 x 0.64; at the average price of 0.5 it is 2.
    assert fee(where, pieces) == 2 * M


def test_bot_and_simulation_charge_the_same():
    rng = random.Random(3)
    for _ in range(500):
        where = market(
            fee_rate=rng.choice((0, 30_000, 40_000, 50_000, 70_000)),
            fee_exponent=rng.choice((1, 1, 2)),
        )
        pieces = []
        for _ in range(rng.randrange(1, 6)):
            shares, price, mint = (
                rng.randrange(1, 10**9),
                rng.randrange(10_000, 990_000),
                rng.random() < 0.5,
            )
            usdc = shares * price // M
            pieces.append(
                Piece(
                    resting(where, price, shares),
                    shares,
                    usdc,
                    shares - usdc if mint else usdc,
                    mint,
                )
            )
        shares, usdc = sum(p.shares for p in pieces), sum(p.taker_usdc for p in pieces)
        assert fee(where, pieces) == taker_fee(shares, usdc, where.fee_rate, where.fee_exponent)


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_grit_moves_a_mint_by_a_millionth_and_stays_within_the_limit(side):
    seen = set()
    for seed in range(60):
        exchange = Exchange(random.Random(seed), grit=True)
        where = exchange.add_market(market())
        maker, taker = (
            exchange.add_account(Account("0x" + c * 40, collateral=10**12)) for c in "12"
        )
        for account in (maker, taker):
            account.shares = dict.fromkeys(where.tokens, 10**12)
        exchange.inside(maker, where.tokens[1], side, 400_000, 33_333_333, "GTC")
        limit, size = (610_000, 50 * M) if side == "BUY" else (590_000, 33_333_333)
        (trade,) = exchange.inside(taker, where.tokens[0], side, limit, size, "FAK")
        plain = trade.shares - trade.pieces[0].maker_usdc
        assert trade.pieces[0].mint
        assert (
            (trade.usdc * M <= limit * trade.shares)
            if side == "BUY"
            else (trade.usdc * M >= limit * trade.shares)
        )
        seen.add(trade.usdc - plain)
    assert seen == {-1, 0, 1}


def test_grit_leaves_a_match_within_one_token_alone():
    for seed in range(20):
        exchange = Exchange(random.Random(seed), grit=True)
        where = exchange.add_market(market())
        maker, taker = (exchange.add_account(Account("0x" + c * 40)) for c in "12")
        exchange.inside(maker, where.tokens[0], "SELL", 400_000, 33_333_333, "GTC")
        (trade,) = exchange.inside(taker, where.tokens[0], "BUY", 610_000, 50 * M, "FAK")
        assert trade.usdc == trade.pieces[0].maker_usdc == 33_333_333 * 400_000 // M
