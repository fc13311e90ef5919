"""A recorded session: every field checked, repeats told from genuine twins."""

import json
import random
from collections import Counter

import pytest

from bot.errors import ConfigError
from bot.sim.feed import load
from tests.samples import SAMPLES, needs_shared

EVENT = {
    "trader": "0x" + "a" * 40, "market_id": "0x" + "b" * 64, "token_id": "7", "outcome": "Up",
    "side": "BUY", "price": 0.42, "size": 20, "tx_hash": "0x" + "c" * 64,
    "source_ts_ms": 1_787_107_543_000, "title": "t", "slug": "s",
}  # fmt: skip


def play(tmp_path, events):
    path = tmp_path / "feed.json"
    path.write_text(events if isinstance(events, str) else json.dumps({"events": events}))
    return load(path, random.Random(1), 1_790_000_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": float("nan")}, "size: expected a number"),
        ({"size": -1}, "size: expected a number"), ({"size": 1e30}, "size: expected a number"),
        ({"size": 0}, "expected a size above 0"), ({"price": 1}, "price between 0 and 1"),
        ({"price": "x"}, "price: expected a number"),
        ({"side": "HOLD"}, "side: expected BUY or SELL"),
        ({"trader": "0x1"}, "trader: expected 0x and 40 hex digits"),
        ({"tx_hash": None}, "tx_hash: expected text"),
        ({"token_id": "-1"}, "token_id: expected a decimal uint256"),
        ({"source_ts_ms": 1.5}, "source_ts_ms: expected milliseconds"),
        ({"title": "x" * 2001}, "title: expected text"),
    ],
)  # fmt: skip
def test_a_bad_event_is_refused_by_number_and_field(tmp_path, change, message):
    with pytest.raises(ConfigError) as refused:
        play(tmp_path, [EVENT, {**EVENT, **change}])
    assert "event 2" in str(refused.value)
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "text", ["", "{", '{"events": [', '{"events": 7}', "null", '{"events": []}', "[" * 100_000]
)
def test_a_broken_file_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"feed\.json"):
        play(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.json", random.Random(1), 0)


def twins():
    maker = {**EVENT, "trader": "0x" + "d" * 40, "size": 10, "side": "SELL"}
    return [EVENT, maker, maker]


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_genuine_twins_count_twice_however_often_the_feed_repeats(tmp_path, repeats):
    events = twins() * repeats
    random.Random(repeats).shuffle(events)
    _, recorded = play(tmp_path, events)
    assert sorted(row.shares for row in recorded[0].facts) == [10_000_000, 10_000_000, 20_000_000]
    assert len(recorded[0].sent) == 3 * repeats


@needs_shared
@pytest.mark.parametrize("repeats", [1, 3])
def test_the_recorded_session_has_the_same_totals_however_often_it_repeats(tmp_path, repeats):
    text = (SAMPLES / "01_rtds_session_120_events_2026-08-19.json").read_text()
    events = json.loads(text)["events"]
    truth: Counter = Counter()
    for e in events:
        truth[e["tx_hash"], e["trader"], e["token_id"], e["side"]] += round(e["size"] * 1_000_000)
    shuffled = events * repeats
    random.Random(7).shuffle(shuffled)
    _, recorded = play(tmp_path, shuffled)
    found: Counter = Counter()
    for tx in recorded:
        for row in tx.facts:
            found[row.group()] += row.shares
    assert len(recorded) == 49
    assert found == truth
