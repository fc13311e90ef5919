"""Law 7 against all that sources do: facts, holdings and signals end exact, whatever comes when.

Streams lose, repeat and reorder rows, and show matches that are never mined, or under a hash that
was not theirs; answers are complete and late; blocks are put in other places and take their logs
along; leaders merge, split and transfer; balances are observed in between.
"""

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from bot.detect.fold import Fold, Sight
from bot.ledger.facts import TradeRow
from bot.model import totals
from bot.model.leader import FactKind, FactState, Holding, LeaderFill
from bot.model.market import Side

M = 1_000_000
WALLETS, TOKENS = ("0xA", "0xB"), ("7", "8", "9")
TRIALS = 400


@dataclass
class World:
    """What really happened, and what is believed of it."""

    rng: random.Random
    provisional: bool
    chainless: bool
    rows: dict = field(default_factory=dict)
    held: dict = field(default_factory=dict)
    told: Counter = field(default_factory=Counter)  #: shares by group, signals less corrections
    asked: set = field(default_factory=set)
    mined: dict = field(default_factory=dict)  #: block -> its facts
    otherwise: set = field(default_factory=set)  #: groups that another block had otherwise
    ghosts: list = field(default_factory=list)
    fills: dict = field(default_factory=dict)  #: one of each group
    twins: int = 0  #: facts that were told of before under another hash

    def take(self, sights: list[Sight]) -> None:
        """Store what a fold makes of sights, as the intake does."""
        near = [self.fills[group] for group, row in self.rows.items() if row.emitted[0]]
        found = Fold(self.rows, self.held, self.provisional, near).take(sights)
        told = {group: row.emitted[0] for group, row in self.rows.items()}
        for group, trade in found.trades.items():
            twin = trade.twin and trade.twin.fill.group
            if twin in told:  # what was told of the one is told of the other
                self.told[group] += told[twin]
                told[group], self.told[twin] = told.pop(twin), 0
            self.twins += twin is not None
        for group, trade in found.trades.items():
            self.fills[group] = trade.fill
            signals = trade.signals + (trade.grown is not None)
            number = trade.id or len(self.rows) + 1
            stands = (dict(trade.by_source), trade.emitted, signals, trade.state, trade.block)
            self.rows[group] = TradeRow(number, *stands)
            if trade.fill.kind is FactKind.TRADE:
                grown = trade.grown.shares if trade.grown else 0
                self.told[group] += grown
                fell = told.get(group, 0) + grown - trade.emitted[0]
                if fell:
                    self.told[group] -= fell
                    assert found.moved[trade.fill.wallet, trade.fill.token].asks
        for pair, after in found.moved.items():
            self.held[pair] = after.holding
        if not self.provisional:
            facts = totals.snapshot(f for facts in self.mined.values() for f in facts)
            for group in found.trades.keys() - self.otherwise:
                real = facts[group][1] if group in facts else (0, 0)
                assert self.rows[group].emitted <= real, "told more than there ever was"

    def observe(self, pair, block: int) -> None:
        """Read a balance at a block."""
        at = self.truth(pair, block)
        before = self.held.get(pair, Holding())
        now = replace(before, block=block, block_s=block)
        later = sum(
            _signed(group[3], row.emitted[0])
            for group, row in self.rows.items()
            if group[1:3] == pair and totals.counts(now, row.state, row.block, self.seconds(group))
        )
        self.held[pair] = totals.observed(before, at, later, block, block)

    def seconds(self, group) -> int:
        return next(
            (f.traded_s for facts in self.mined.values() for f in facts if f.group == group), 10**9
        )

    def truth(self, pair, block: int) -> int:
        return sum(
            _signed(fill.group[3], fill.shares)
            for number, facts in self.mined.items()
            if number <= block
            for fill in facts
            if (fill.wallet, fill.token) == pair
        )


def _signed(way: str, shares: int) -> int:
    return shares if way in ("BUY", "IN") else -shares


def fact(rng, tx, block, kind=FactKind.TRADE):
    side, shares = rng.choice(list(Side)), rng.choice((10, 10, 25, 60)) * M
    return LeaderFill(
        tx, rng.choice(WALLETS), rng.choice(TOKENS), side, shares, shares // 2, "0xC", "Yes", "t",
        block, kind,
    )  # fmt: skip


def happened(world: World) -> None:
    """Let blocks come, each with transactions of some facts, identical ones among them."""
    rng = world.rng
    for block in range(1, rng.randrange(3, 7)):
        facts = []
        for number in range(rng.randrange(1, 4)):
            tx = f"0x{block}.{number}"
            if rng.random() < 0.25:
                kind = rng.choice([k for k in FactKind if k is not FactKind.TRADE])
                facts.append(fact(rng, tx, block, kind))
                continue
            first = fact(rng, tx, block)
            facts += [first] * rng.randrange(1, 3) + [fact(rng, tx, block)] * rng.randrange(2)
        world.mined[block] = facts
    world.ghosts = [fact(rng, f"0xghost{i}", 1) for i in range(rng.randrange(3))]


def stream(world: World) -> list[list[Sight]]:
    """Return what connections of a stream tell, each in its own order."""
    rng, found = world.rng, []
    trades = [f for facts in world.mined.values() for f in facts if f.kind is FactKind.TRADE]
    # Settled again: the stream told of another hash than the one that has it now.
    old = [replace(f, tx=f"{f.tx}old") for f in trades if rng.random() < 0.2]
    # And it told of more in a transaction than was ever mined of it.
    more = [replace(f, shares=f.shares + 5 * M) for f in trades if rng.random() < 0.1]
    world.ghosts += old
    for epoch in range(rng.randrange(3)):
        seen: dict = {}
        told = [f for f in (*trades, *more, *world.ghosts) if rng.random() < 0.7] * rng.randrange(
            1, 3
        )
        rng.shuffle(told)
        sights = []
        for fill in told:
            rows = seen.setdefault(fill.group, set())
            rows.add(fill.amounts)
            distinct = (sum(s for s, _ in rows), sum(usdc for _, usdc in rows))
            sights.append(Sight(f"rtds:{epoch}", fill, distinct, 1))
        found.append(sights)
    return found


def answers(world: World) -> list[Sight]:
    """Return what complete answers tell: late, and each time of all that is in the index."""
    found = []
    for until in sorted(world.rng.choices(list(world.mined), k=world.rng.randrange(3))):
        facts = [f for b in world.mined if b <= until for f in world.mined[b]]
        found += complete(facts)
    return found


def complete(facts) -> list[Sight]:
    return [
        Sight("data_api", fill, total, 1, FactState.MINED)
        for fill, total in totals.snapshot(facts).values()
    ]


def chain(world: World) -> list[Sight | int]:
    """Return what the chain tells: log by log, out of a block and into another, and gaps filled."""
    rng, found = world.rng, []
    for block, facts in world.mined.items():
        logs: dict = {}
        if rng.random() < 0.3:  # another block had them first, or some of them
            early = rng.sample(facts, rng.randrange(len(facts) + 1))
            if early and rng.random() < 0.3:  # where it went otherwise, and the index saw it
                world.otherwise |= {f.group for f in early}
                early += early
                found += complete(early)
            found += _logs(early, {}, rng.choice((block, block + 1)))
            found += [Sight("chain", f, (0, 0), 1, FactState.PROVISIONAL) for f in early]
        live = [f for f in facts if rng.random() < 0.8]
        found += _logs(live, logs, block)
        logs.clear()
        found += _logs(facts, logs, block)
        found.append(block)  # it stands
    return found


def _logs(facts, logs: dict, block: int) -> list[Sight]:
    found = []
    for fill in facts:
        rows = logs.setdefault(fill.group, [])
        rows.append(fill.amounts)
        total = (sum(s for s, _ in rows), sum(u for _, u in rows))
        found.append(Sight("chain", fill, total, 1, FactState.MINED, block))
    return found


def proofs(world: World) -> list[Sight]:
    """Return what is told in the end: blocks that stand, and matches that were never mined."""
    facts = [f for facts in world.mined.values() for f in facts]
    if world.chainless:
        return complete(facts)
    blocks = {f.group: block for block, facts in world.mined.items() for f in facts}
    found = [
        Sight("chain", f, total, 1, FactState.FINAL, blocks[f.group])
        for f, total in totals.snapshot(facts).values()
    ]
    return found + [Sight("chain", f, (0, 0), 1, FactState.REVERTED) for f in world.ghosts]


def interleaved(rng: random.Random, sequences: list[list]) -> list[Sight | int]:
    """Return all of some sequences, each in its own order."""
    found, left = [], [list(s) for s in sequences if s]
    while left:
        chosen = rng.choice(left)
        found.append(chosen.pop(0))
        left = [s for s in left if s]
    return found


def played(seed: int) -> World:
    rng = random.Random(seed)
    chainless = seed % 5 == 1
    world = World(rng, provisional=seed % 3 == 0 and not chainless, chainless=chainless)
    happened(world)
    sources = [*stream(world), answers(world)]
    # A node that knew nothing may have said of something real that it never was.
    facts = [f for facts in world.mined.values() for f in facts]
    sources.append([Sight("chain", f, (0, 0), 1, FactState.REVERTED) for f in facts[:1]])
    told = interleaved(rng, sources if chainless else [*sources, chain(world)])
    last = proofs(world)
    rng.shuffle(last)
    told += last
    standing: list[int] = []  # blocks that nothing takes back
    while told:
        size = rng.randrange(1, 6)
        world.take([s for s in told[:size] if isinstance(s, Sight)])
        standing += [s for s in told[:size] if not isinstance(s, Sight)]
        told = told[size:]
        if standing and rng.random() < 0.3:
            pair = (rng.choice(WALLETS), rng.choice(TOKENS))
            world.observe(pair, rng.choice(standing))
    return world


@pytest.mark.parametrize("part", range(4))
def test_facts_holdings_and_signals_end_exact(part):
    twins = 0
    for seed in range(part, TRIALS, 4):
        world = played(seed)
        twins += world.twins
        facts = [f for facts in world.mined.values() for f in facts]
        truth = {group: total for group, (_, total) in totals.snapshot(facts).items()}
        believed = {group: row.emitted for group, row in world.rows.items() if row.emitted[0]}
        assert believed == truth, f"seed {seed}"
        states = {row.state for group, row in world.rows.items() if group in truth}
        assert states == {FactState.MINED if world.chainless else FactState.FINAL}, f"seed {seed}"
        told = {group: shares for group, shares in world.told.items() if shares}
        trades = {f.group for f in facts if f.kind is FactKind.TRADE}
        assert told == {g: t[0] for g, t in truth.items() if g in trades}, f"seed {seed}"
        last = max(world.mined)
        for pair in {(f.wallet, f.token) for f in facts}:
            found = world.held[pair].shares
            assert found == world.truth(pair, last), f"seed {seed}: {pair}"
    assert twins, "no trade was told of under two hashes"
