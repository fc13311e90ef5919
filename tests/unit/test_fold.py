"""Law 7 for what is stored together: as if one sight had come after the other."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot.detect.fold import Fold, Sight
from bot.ledger.facts import TradeRow
from bot.model.leader import FactState, Holding, LeaderFill
from bot.model.market import Side
from bot.model.signal import SignalKind

M = 1_000_000


def fill(number: int, token: str = "7", side: Side = Side.BUY) -> LeaderFill:
    return LeaderFill(f"0x{number}", "0xA", token, side, 0, 0, "0xC", "Yes", "t", 1_000)


def sight(number: int, shares: int, source: str = "rtds:1", **more) -> Sight:
    state = FactState.MINED if source == "data_api" else FactState.PROVISIONAL
    return Sight(source, fill(number, **more), (shares, shares // 2), 5_000 + number, state)


def fold(sights, rows, held):
    """Return the facts with news and the holdings that moved, where streams count."""
    near = [
        LeaderFill(*group[:3], Side(group[3]), 0, 0, "0xC", "Yes", "t", 1_000) for group in rows
    ]
    found = Fold(rows, held, provisional=True, near=near).take(sights)
    return list(found.trades.values()), found.moved


sights = st.builds(
    sight,
    st.integers(1, 3),
    st.integers(1, 500).map(lambda n: n * 5_000),
    st.sampled_from(["rtds:1", "rtds:2", "data_api"]),
    token=st.sampled_from(["7", "8"]),
    side=st.sampled_from(list(Side)),
)


def stored(trades: list, rows: dict) -> dict:
    """Return what is stored after a fold, on top of what was."""
    now = dict(rows)
    for trade in trades:
        number = trade.id or len(now) + 1
        signals = trade.signals + (trade.grown is not None)
        stands = (trade.emitted, signals, trade.state, trade.block)
        now[trade.fill.group] = TradeRow(number, dict(trade.by_source), *stands)
    return now


@given(st.lists(sights, max_size=30))
def test_together_comes_to_the_same_as_one_by_one(seen):
    rows: dict = {}
    held: dict = {}
    grown: dict = {}
    for each in seen:
        trades, moved = fold([each], rows, held)
        rows = stored(trades, rows)
        held |= {pair: after.holding for pair, after in moved.items()}
        for trade in trades:
            if trade.grown is not None:
                shares, usdc = grown.get(trade.fill.group[1:], (0, 0))
                grown[trade.fill.group[1:]] = (shares + trade.grown.shares, usdc + trade.grown.usdc)
    trades, moved = fold(seen, {}, {})
    assert {t.fill.group: (t.by_source, t.emitted) for t in trades} == {
        group: (row.totals, row.emitted) for group, row in rows.items()
    }
    # By way: what was told of one hash may turn out to be of another.
    at_once: Counter = Counter()
    for trade in trades:
        if trade.grown is not None:
            at_once[trade.fill.group[1:]] += trade.grown.shares
    assert at_once == {way: shares for way, (shares, _) in grown.items()}
    assert {pair: after.holding for pair, after in moved.items()} == held


def test_what_grows_twice_is_one_signal_of_all_of_it():
    (trade,), moved = fold(
        [sight(1, 10 * M), sight(1, 10 * M, "rtds:2"), sight(1, 30 * M, "data_api")], {}, {}
    )
    found = trade.signal(4)
    assert (found.shares, found.usdc, found.group_shares) == (30 * M, 15 * M, 30 * M)
    assert (found.kind, found.side, found.trade_id) == (SignalKind.INCREASE, Side.BUY, 4)
    assert found.seq == 0
    assert (found.source, found.seen_us) == ("rtds", 5_001)  # who saw it first, and when
    assert found.leader_watched == moved["0xA", "7"].holding.watched == 30 * M


def test_more_of_a_stored_trade_is_its_next_signal():
    row = TradeRow(9, {"rtds:1": (10 * M, 5 * M)}, (10 * M, 5 * M), 1, FactState.PROVISIONAL)
    (trade,), moved = fold(
        [sight(1, 25 * M)], {fill(1).group: row}, {("0xA", "7"): Holding(3, 2, 3)}
    )
    found = trade.signal(9)
    assert (trade.id, found.seq, found.shares, found.group_shares) == (9, 1, 15 * M, 25 * M)
    assert moved["0xA", "7"].holding == Holding(15 * M + 3, 15 * M + 2, 15 * M + 3)


def test_what_is_known_or_hardly_more_moves_nothing():
    row = TradeRow(9, {"rtds:1": (10 * M, 5 * M)}, (10 * M, 5 * M), 1, FactState.PROVISIONAL)
    assert fold([sight(1, 10 * M)], {fill(1).group: row}, {}) == ([], {})
    (trade,), moved = fold([sight(1, 10 * M + 9_000, "data_api")], {fill(1).group: row}, {})
    assert (trade.grown, trade.signal(9), moved) == (None, None, {})
    assert trade.target == (10 * M + 9_000, (10 * M + 9_000) // 2)


def test_sales_after_purchases_of_one_go_meet_in_one_holding():
    trades, moved = fold(
        [sight(1, 10 * M), sight(2, 4 * M, side=Side.SELL), sight(3, 1 * M, token="8")], {}, {}
    )
    assert moved["0xA", "7"].holding == Holding(6 * M, 6 * M, 10 * M)
    assert moved["0xA", "8"].holding == Holding(M, M, M)
    assert [t.signal(1).kind for t in trades] == ["increase", "decrease", "increase"]
    assert [t.grown.watched for t in trades] == [10 * M, 6 * M, M]


def chained(shares, state):
    return Sight("chain", fill(1), (shares, shares // 2), 5_000, state, 7)


def test_a_final_word_gives_way_to_its_own_correction_and_to_no_other():
    first = chained(1_500 * M, FactState.FINAL)
    for told in (500 * M, 0):
        second = replace(chained(told, FactState.FINAL), corrects=True)
        found = Fold({}, {}).take([first, second])
        assert found.trades[fill(1).group].emitted[0] == told
        assert found.moved["0xA", "7"].holding.shares == told
    less = chained(500 * M, FactState.FINAL)  # of a provider that leaves logs out
    for second in (less, chained(500, FactState.MINED), chained(0, FactState.PROVISIONAL)):
        found = Fold({}, {}).take([chained(1_500 * M, FactState.FINAL), second])
        assert found.trades[fill(1).group].emitted[0] == 1_500 * M


def test_who_has_not_seen_its_block_reverts_nothing_that_is_in_one():
    for state in (FactState.MINED, FactState.FINAL):
        found = Fold({}, {}).take([chained(10 * M, state), chained(0, FactState.REVERTED)])
        trade = found.trades[fill(1).group]
        assert (trade.state, trade.emitted[0]) == (state, 10 * M)
    lost = [chained(10 * M, FactState.MINED), chained(0, FactState.PROVISIONAL)]
    found = Fold({}, {}).take([*lost, chained(0, FactState.REVERTED)])
    assert found.trades[fill(1).group].state is FactState.REVERTED
    assert found.moved["0xA", "7"].holding.shares == 0
