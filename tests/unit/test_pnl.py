"""fold(fills): any order of evidence gives the same position, PnL and cash."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot.model.fill import Fill, Settlement
from bot.model.market import Side
from bot.model.pnl import fold

DAY = 86_400_000_000


def fill(
    number: int,
    side: Side,
    shares: int,
    usdc: int,
    fee: int = 0,
    day: int = 0,
    settlement=Settlement.CONFIRMED,
):
    return Fill(
        f"t{number}",
        "0xo",
        "0xc",
        "7",
        side,
        shares,
        usdc,
        fee,
        settlement,
        None,
        day * DAY + number,
    )


fills = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(1, 10**9),
        st.integers(0, 10**9),
        st.integers(0, 10**6),
        st.integers(0, 3),
        st.sampled_from(list(Settlement)),
    ),
    max_size=12,
).map(lambda rows: [fill(i, s, sh, u, f, d, st_) for i, (s, sh, u, f, d, st_) in enumerate(rows)])


@given(fills, st.randoms())
def test_the_order_of_evidence_does_not_matter(found, rng):
    shuffled = list(found)
    rng.shuffle(shuffled)
    assert fold(found) == fold(shuffled)


@given(fills)
def test_a_failed_fill_leaves_no_trace(found):
    kept = [f for f in found if f.settlement is not Settlement.FAILED]
    assert fold(found) == fold(kept)


@given(fills)
def test_cash_shares_and_days_add_up(found):
    result = fold(found)
    real = [f for f in found if f.settlement is not Settlement.FAILED]
    sign = {Side.BUY: 1, Side.SELL: -1}
    assert result.position.shares == sum(sign[f.side] * f.shares for f in real)
    assert result.cash == -sum(sign[f.side] * f.usdc + f.fee for f in real)
    assert result.position.realized == sum(day.realized for day in result.days.values())
    # Collateral is never made or lost: what left is cost or loss.
    assert result.cash == result.position.realized - result.position.cost


def test_a_sale_takes_its_part_of_the_cost_and_fees_count():
    result = fold(
        [
            fill(1, Side.BUY, 10_000_000, 4_000_000, 100_000),
            fill(2, Side.SELL, 5_000_000, 3_000_000, 50_000, 1),
        ]
    )
    assert result.position.shares == 5_000_000
    assert result.position.cost == 2_050_000
    assert result.position.realized == 3_000_000 - 50_000 - 2_050_000
    assert {day: d.realized for day, d in result.days.items()} == {
        "1970-01-01": 0,
        "1970-01-02": 900_000,
    }


def test_buying_never_raises_equity():
    bought = fold([fill(1, Side.BUY, 10_000_000, 5_000_000, 87_500)])
    assert bought.cash == -5_087_500
    assert bought.position.cost == 5_087_500


def test_settlement_but_failed_does_not_change_the_fold():
    one = fill(1, Side.BUY, 10, 5)
    assert fold([one]) == fold([replace(one, settlement=Settlement.MATCHED)])
