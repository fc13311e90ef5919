"""Rows of a match that a stream tells of: repeated ones, and those that were filled twice."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot.detect.match import Match
from bot.model.leader import LeaderFill
from bot.model.market import Side

M = 1_000_000
ROW = LeaderFill("0x1", "0xa", "7", Side.BUY, 0, 0, "0xc", "Yes", "t", 1_000)


def row(wallet: str, shares: int) -> LeaderFill:
    return replace(ROW, wallet=wallet, shares=shares * M, usdc=shares * M // 2)


def told(*rows: LeaderFill, watched: str = "0xa") -> list[tuple[str, int]]:
    """Return (wallet, shares) of what is news, in its order."""
    match = Match()
    return [
        (fill.wallet, total[0] // M)
        for one in rows
        for fill, total in match.add(one, watched=one.wallet in watched)
    ]


def test_a_row_that_is_repeated_counts_once():
    a = row("0xa", 10)
    assert told(a, a, replace(a, title="another", traded_s=2)) == [("0xa", 10)]
    assert told(a, a, replace(a, usdc=a.usdc + 1)) == [("0xa", 10), ("0xa", 20)]


def test_a_row_that_was_filled_twice_counts_twice_once_the_takers_shares_say_so():
    taker, a, b = row("0xt", 25), row("0xa", 10), row("0xb", 5)
    assert told(taker, a, a, b) == [("0xa", 10), ("0xa", 20)]
    assert told(taker, b, a, a) == [("0xa", 10), ("0xa", 20)]
    assert told(row("0xt", 15), a, a, b) == [("0xa", 10)], "the taker met no more"


def test_what_is_told_of_others_makes_his_own_row_sure():
    taker, a, b = row("0xt", 25), row("0xa", 10), row("0xb", 5)
    assert told(a, taker, a, b) == [("0xa", 10)], "the taker's row was not the first"
    assert told(taker, a, b, watched="0xb") == [("0xb", 5)]
    assert told(taker, a, a, b, watched="none") == []


def test_a_stream_that_repeats_everything_proves_nothing():
    taker, a, b = row("0xt", 20), row("0xa", 10), row("0xb", 10)
    assert told(taker, taker, a, a, b, b) == [("0xa", 10)]


def test_where_more_than_one_choice_fits_none_is_made():
    a, b, c = row("0xa", 10), row("0xb", 10), row("0xc", 15)
    assert told(row("0xt", 45), a, a, b, b, c) == [("0xa", 10)], "his, or the other one's?"
    assert told(row("0xt", 40), a, a, b, b) == [("0xa", 10), ("0xa", 20)], "both"


makers = st.lists(
    st.builds(row, st.sampled_from(["0xa", "0xb", "0xc"]), st.sampled_from([5, 10, 17])),
    min_size=1, max_size=7,
)  # fmt: skip


@given(makers, st.randoms())
def test_a_match_whose_rows_come_once_each_is_never_told_too_high(rows, rng):
    taker = row("0xt", sum(r.shares for r in rows) // M)
    rng.shuffle(rows)
    truth: Counter = Counter()
    for one in rows:
        truth[one.wallet] += one.shares // M
    seen = told(taker, *rows, watched="0xa 0xb 0xc 0xt")
    assert all(shares <= truth[wallet] for wallet, shares in seen if wallet != "0xt")
    distinct = {(r.wallet, r.shares) for r in rows}
    if len(distinct) == len(rows) or len({r.wallet for r in rows}) == len(distinct) == 1:
        assert {w: s for w, s in seen if w != "0xt"} == dict(truth)
