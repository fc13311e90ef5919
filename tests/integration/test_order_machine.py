"""The order life cycle as a state machine: any order of events, duplicates and deaths.

Hypothesis writes the story; the executor's own code lives it in virtual time, on a real ledger,
against the faulty exchange. Whatever happened: at most one order a decision, positions and PnL
follow from the fills, and in the end the ledger equals the exchange.
"""

import asyncio
import tempfile
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bot import report
from bot.lab.virtual.clock import VirtualLoop
from bot.lab.virtual.exchange import ANSWERS, WAYS
from bot.lab.virtual.run import VirtualRun
from bot.model.fill import Settlement
from bot.model.market import Side
from bot.report import audit, laws

#: (market, leader, side, shares): few of each, so that they meet.
MOVES = st.tuples(st.integers(0, 3), st.integers(0, 1), st.sampled_from(Side), st.integers(60, 300))


class OrderLife(RuleBasedStateMachine):
    """Leaders trade, the exchange answers as told, the process dies as told."""

    @initialize(seed=st.integers(0, 2**31))
    def begins(self, seed):
        self.folder = tempfile.TemporaryDirectory()
        self.loop = VirtualLoop()
        self.run = VirtualRun(Path(self.folder.name) / "ledger-demo.db", seed, self.loop.time)
        self.loop.set_exception_handler(self.run.unheard)
        self.starts()

    def starts(self):
        self.process = self.run.new_process()
        self.working = self.loop.create_task(self.process.work())
        self.passes(0.1)

    def passes(self, seconds):
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule(answers=st.lists(st.sampled_from(sorted(ANSWERS)), max_size=4))
    def the_exchange_will_answer(self, answers):
        self.run.exchange.answers = answers

    @rule(ways=st.lists(st.sampled_from(WAYS), min_size=1, max_size=4))
    def trades_will_settle(self, ways):
        self.run.exchange.ways = ways

    @rule(moves=st.lists(MOVES, min_size=1, max_size=4))
    def leaders_trade(self, moves):
        self.loop.run_until_complete(self.run.trade(self.process.intake, moves))

    @rule()
    def everything_is_shown_again(self):
        self.loop.run_until_complete(self.run.sources.replay(self.process.intake))

    @rule(seconds=st.sampled_from([0.02, 0.5, 2, 11, 40]))
    def time_passes(self, seconds):
        self.passes(seconds)

    @rule(times=st.integers(1, 3))
    def the_channel_repeats_old_news(self, times):
        trades = [t for order in self.run.exchange.orders.values() for t in order.trades]

        async def announce():
            for trade in trades[-3:] * times:
                self.run.exchange.announce(trade.fill(Settlement.MATCHED))

        self.loop.run_until_complete(announce())

    @rule()
    def the_process_dies(self):
        self.process.die()
        self.loop.run_until_complete(self.process.reap())
        self.starts()

    @invariant()
    def every_order_is_an_attempt_of_an_intent(self):
        with report.read(self.run.path, now_us=self.run.now_us()) as found:
            asked = {row["id"] for row in found.rows("SELECT id FROM orders")}
            assert laws.broken(found, at_rest=False) == []
        assert set(self.run.exchange.accepted) <= asked
        assert len(self.run.exchange.accepted) == len(set(self.run.exchange.accepted))
        assert not self.run.exchange.broken

    @invariant()
    def everything_follows_from_the_fills(self):
        with report.read(self.run.path, now_us=self.run.now_us()) as found:
            assert audit.mismatches(found) == []

    def teardown(self):
        if not hasattr(self, "run"):
            return
        self.run.exchange.calm, self.run.exchange.answers, self.run.exchange.ways = True, [], []
        for _ in range(240):
            self.passes(5)
            if self.run.rests():
                break
        verdict = self.run.judge()
        self.process.die()
        self.loop.run_until_complete(self.process.reap())
        self.loop.close()
        self.folder.cleanup()
        assert verdict.ok, verdict.problems


@pytest.fixture(autouse=True)
def quiet():
    """What a simulated life shouts as it dies is no news."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


TestOrderLife = OrderLife.TestCase
TestOrderLife.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
