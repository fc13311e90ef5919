"""What is known of a source: how late, what it misses, how much of it is nothing."""

import asyncio
from dataclasses import replace

import pytest

from bot.detect.fold import Sight
from bot.detect.health import IN_TIME_US, STREAM, Health
from bot.model.leader import FactKind, FactState, LeaderFill
from bot.model.market import Side
from bot.model.source import ENOUGH, Rate, SourceHealth
from bot.model.totals import CHAIN, INDEX

M = 1_000_000
BEGAN_S = 1_790_000_000
FILL = LeaderFill(
    "0x1", "0xa", "1", Side.BUY, M, M, "0xc", "Yes", "t", BEGAN_S + 10, FactKind.TRADE
)


class World:
    """Sources that tell of trades, and a clock."""

    def __init__(self, **watched):
        self.now_us = BEGAN_S * M
        on = {CHAIN: True, STREAM: True, INDEX: True} | watched
        self.health = Health(None, lambda: self.now_us, on)

    def tells(self, source, tx, after_s, state=FactState.MINED):
        fill = replace(FILL, tx=tx)
        self.now_us = int((fill.traded_s + after_s) * M)
        self.health.note(Sight(source, fill, fill.amounts, self.now_us, state, 1))

    def judged(self):
        self.now_us += max(IN_TIME_US.values())
        self.health.judge()
        return self.health.found


def test_a_rate_says_nothing_until_enough_is_known_and_forgets_slowly():
    rate = Rate()
    for _ in range(int(ENOUGH)):
        assert rate.share is None
        rate = rate.add(good=True)
    rate = rate.add(good=True).add(good=True).add(good=True)
    assert rate.share == 1
    for _ in range(100):
        rate = rate.add(good=False)
    assert 0.1 < rate.share < 0.2, "a hundred bad ones weigh more than what was before"
    assert rate.good + rate.bad <= 100


def test_lag_is_a_running_mean():
    found = SourceHealth("rtds").saw(2 * M)
    assert found.lag_us == 2 * M
    for _ in range(200):
        found = found.saw(4 * M)
    assert abs(found.lag_us - 4 * M) < M // 10


def test_who_tells_in_time_has_hit_and_who_does_not_has_missed():
    w = World()
    w.tells("rtds:1.1:trades", "0x1", 1, FactState.PROVISIONAL)
    w.tells(CHAIN, "0x1", 2)
    w.tells(INDEX, "0x1", 60)
    w.tells(INDEX, "0x1", 90)  # again: it was told of before
    w.tells(CHAIN, "0x2", 2)
    w.tells(INDEX, "0x2", 121)
    found = w.judged()
    assert (found[CHAIN].hits.good, found[CHAIN].hits.bad) == (1.99, 0)
    assert found[STREAM].hits.good == pytest.approx(0.99) and found[STREAM].hits.bad == 1
    assert found[INDEX].hits.good == pytest.approx(0.99) and found[INDEX].hits.bad == 1
    assert (found[CHAIN].lag_us, found[STREAM].lag_us, found[INDEX].lag_us) == (2 * M, M, 60 * M)


def test_nothing_is_judged_before_everybody_had_the_time():
    w = World()
    w.tells(CHAIN, "0x1", 2)
    w.health.judge()
    assert w.health.found[STREAM].hits.bad == 0
    assert w.judged()[STREAM].hits.bad == 1


def test_what_the_stream_tells_first_is_proven_or_is_nothing():
    w = World()
    w.tells("rtds:1.1:trades", "0x1", 1, FactState.PROVISIONAL)
    w.tells(CHAIN, "0x1", 2)
    w.tells("rtds:1.1:trades", "0x2", 1, FactState.PROVISIONAL)
    w.tells(CHAIN, "0x2", 25, FactState.REVERTED)
    w.tells(CHAIN, "0x3", 1)
    w.tells("rtds:1.1:trades", "0x3", 2, FactState.PROVISIONAL)  # late words are no early ones
    w.tells("rtds:1.1:trades", "0x4", 1, FactState.PROVISIONAL)  # nobody knows
    found = w.judged()
    assert found[STREAM].real.good == pytest.approx(0.99) and found[STREAM].real.bad == 1
    assert found[STREAM].hits.bad == 0, "what did not happen nobody has missed"


def test_a_stream_that_tells_too_often_of_nothing_is_believed_no_more():
    w = World()
    for n in range(100):
        w.tells("rtds:1.1:trades", f"0x{n}", 1, FactState.PROVISIONAL)
        w.tells(CHAIN, f"0x{n}", 2, FactState.REVERTED if n in (90, 98) else FactState.MINED)
        w.judged()
        assert w.health.haunted is (n >= 98), n
    assert 0.02 < w.health.found[STREAM].phantoms < 0.04


def test_trades_of_before_and_what_moves_without_an_order_are_not_judged():
    w = World()
    early = replace(FILL, tx="0x1", traded_s=BEGAN_S - 1)
    w.health.note(Sight(CHAIN, early, early.amounts, w.now_us, FactState.FINAL, 1))
    moved = replace(FILL, tx="0x2", kind=FactKind.TRANSFER)
    w.health.note(Sight(CHAIN, moved, moved.amounts, w.now_us, FactState.FINAL, 1))
    assert all(found.hits == Rate() for found in w.judged().values())


def test_a_source_that_is_switched_off_is_not_judged():
    w = World(**{STREAM: False})
    w.tells(CHAIN, "0x1", 2)
    assert set(w.judged()) == {CHAIN, INDEX} and not w.health.haunted


async def test_what_is_known_outlives_a_life(tmp_path):
    from bot.ledger.db import Ledger
    from bot.ledger.files import migrate
    from bot.report.reader import read
    from bot.report.sources import sources

    path = tmp_path / "ledger-demo.db"
    await asyncio.to_thread(migrate, path, "demo")
    w = World()
    async with Ledger(path).open() as ledger:
        w.health._ledger = ledger
        for n in range(40):
            w.tells(CHAIN, f"0x{n}", 2)
        w.judged()
        await w.health.store({CHAIN: (w.now_us, "2 of 2"), STREAM: (None, "")})
        again = Health(ledger, lambda: w.now_us, {CHAIN: True, INDEX: True})
        await again.load()
        before, after = w.health.found[CHAIN], again.found[CHAIN]
        assert after.hits.good == pytest.approx(before.hits.good)
        assert replace(after, hits=before.hits) == before
        with read(path, now_us=w.now_us + 5 * M) as found:
            told = {s.name: s for s in sources(found)}
        assert (told[CHAIN].state, told[CHAIN].heard_s, told[CHAIN].hit_share) == ("live", 5, 1.0)
        assert told[STREAM].state == told[INDEX].state == "silent"
        assert told[CHAIN].note == "2 of 2" and told[CHAIN].lag_s == 2.0
        w.health.found = {CHAIN: w.health.found[CHAIN], INDEX: w.health.found[INDEX]}
        await w.health.store({INDEX: (w.now_us, "")})
        with read(path, now_us=w.now_us) as found:
            told = {s.name: s for s in sources(found)}
        assert set(told) == {CHAIN, INDEX} and told[INDEX].state == "degraded"
        with read(path, now_us=w.now_us + 90 * M) as found:
            assert {s.state for s in sources(found)} == {"unknown"}
