"""Law 7: groups by maximum.

Any replay, order and loss of rows gives the exact totals or heals to them.
"""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bot.model import totals
from bot.model.leader import FactState, Holding, LeaderFill
from bot.model.market import Side

WALLETS = ["0x" + c * 40 for c in "ab"]


def fill(wallet=WALLETS[0], shares=10_000_000, tx="0x1", token="7", side=Side.BUY, price=420_000):
    return LeaderFill(
        tx,
        wallet,
        token,
        side,
        shares,
        shares * price // 1_000_000,
        "0xc",
        "Yes",
        "t",
        1_790_000_000,
    )


rows = st.builds(
    fill,
    wallet=st.sampled_from(WALLETS),
    shares=st.sampled_from([10_000_000, 25_000_000, 1]),
    tx=st.sampled_from(["0x1", "0x2"]),
    side=st.sampled_from(list(Side)),
)


@given(st.lists(rows, max_size=30), st.integers(1, 5), st.randoms())
def test_streams_never_exceed_and_complete_answers_always_reach_the_truth(facts, repeats, rng):
    truth = {group: total for group, (_, total) in totals.snapshot(facts).items()}
    replayed = facts * repeats
    rng.shuffle(replayed)
    lost = [row for row in replayed if rng.random() < 0.8]
    for group, total in truth.items():
        distinct = {f.amounts for f in lost if f.group == group}
        streamed = (sum(s for s, _ in distinct), sum(usdc for _, usdc in distinct))
        assert streamed <= total
        by_source = {"rtds:1": streamed, "rtds:2": streamed, "data_api": total}
        assert totals.target(by_source, FactState.MINED) == total
        assert totals.target(by_source, FactState.PROVISIONAL, provisional=True) == total


@given(st.lists(rows, min_size=1, max_size=30), st.randoms())
def test_emitted_growth_adds_up_to_the_target(facts, rng):
    seen: Counter = Counter()
    emitted, total = (0, 0), (0, 0)
    for row in facts:
        total = (total[0] + row.shares, total[1] + row.usdc)
        grown = totals.growth(total, emitted)
        if grown:
            seen["shares"] += grown[0]
            emitted = total
    assert seen["shares"] == emitted[0]
    assert total[0] - emitted[0] < max(
        totals.MIN_GROWTH_SHARES, total[0] // totals.MIN_GROWTH_RATIO
    )


def test_the_first_sight_of_dust_is_a_signal_and_its_growth_is_not():
    assert totals.growth((1, 0), (0, 0)) == (1, 0)
    assert totals.growth((9_999, 0), (1, 0)) is None
    assert totals.growth((0, 0), (0, 0)) is None


def test_identical_rows_of_a_complete_answer_both_count():
    twin = fill()
    assert totals.snapshot([twin, twin])[twin.group][1] == (20_000_000, 8_400_000)


def test_a_sale_seen_before_its_purchase_leaves_the_same_holding():
    early = totals.moved(totals.moved(Holding(), Side.SELL, 7), Side.BUY, 12)
    late = totals.moved(totals.moved(Holding(), Side.BUY, 12), Side.SELL, 7)
    assert early.shares == late.shares == early.watched == late.watched == 5


def test_the_peak_begins_anew_when_everything_is_sold():
    gone = totals.moved(Holding(9, 9, 1000), Side.SELL, 9)
    assert totals.moved(gone, Side.BUY, 20) == Holding(20, 20, 20)


def test_a_signal_is_identified_by_group_and_total():
    group = fill().group
    assert totals.signal_id(group, (1, 2), 0) == totals.signal_id(group, (1, 2), 0)
    assert len({totals.signal_id(group, (i, 0), n) for i in range(50) for n in (0, 1)}) == 100
