"""What blocks say: each log once, nothing of one that is out, and orders taken off transfers."""

import random
from dataclasses import replace

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from bot.detect.blocks import KEPT, UNREAD, Blocks, Did
from bot.model.chain import Block, Filled, Moved
from bot.model.leader import FactState
from bot.model.market import Side
from bot.polymarket import chain as logs_of
from bot.sim import logs as told
from bot.sim.chain import FIRST, Chain
from bot.sim.entities import CONTRACTS, Account, Piece, SimOrder, SimTrade, new_market
from bot.sim.node import Filter, Node

M = 1_000_000
KNOWN = logs_of.Addresses(
    frozenset(a.lower() for a in CONTRACTS.values()), frozenset((told.TOKENS, told.POSITIONS))
)
HIM, OTHER = "0x" + "a1" * 20, "0x" + "b2" * 20
MARKET = new_market(random.Random(1), "Will it be read?")


def order(number, wallet, side, price, shares, outcome=0):
    usdc = shares * price // M
    amounts = (usdc, shares) if side == "BUY" else (shares, usdc)
    return SimOrder(
        f"0x{number:064x}", Account(wallet), "", MARKET, MARKET.tokens[outcome], side, price,
        *amounts, "GTC", shares, 0, 0,
    )  # fmt: skip


def match(tx, *, taker=HIM, maker=OTHER, side="BUY", shares=10 * M, mint=False):
    first = order(1, taker, side, 600_000 if side == "BUY" else 400_000, 1_000 * M)
    other = side if mint else ("SELL" if side == "BUY" else "BUY")
    rests = order(2, maker, other, 500_000, shares, int(mint))
    piece = Piece(rests, shares, shares // 2, shares // 2, mint)
    return told.trade(SimTrade("id", first, [piece], 0, tx, 0))


class World:
    """A chain, a provider of it, and what is believed."""

    def __init__(self):
        self.chain = Chain(random.Random(1), 1, 3 * M, 0)
        self.node = Node(self.chain)
        self.blocks = Blocks(lambda wallet: wallet == HIM)
        self.now_us = 0

    def seal(self, *transactions):
        for transaction in transactions:
            self.chain.include(transaction)
        self.now_us += M
        self.chain.seal(self.now_us)
        return head(self.chain.head)

    def reorganise(self, depth, drop=()):
        self.chain.reorganise(depth, drop, now_us=self.now_us)

    def logs(self, number, *, removed=False):
        block = self.chain.block(number)
        raws = self.node.in_block(Filter(frozenset(), ()), block, removed=removed)
        found = [msgspec.convert(raw, logs_of.RawLog) for raw in raws]
        return [w for raw in found for w in logs_of.said(raw, KNOWN) if _his(w)]


def _his(word):
    return isinstance(word, Filled | Moved)


def head(block):
    return Block(block.number, block.hash, block.parent, block.timestamp_s)


def test_a_log_counts_once_however_often_and_in_whatever_order_it_is_told():
    world = World()
    block = world.seal(match("0x" + "11" * 32))
    found = world.logs(block.number)
    random.Random(3).shuffle(found)
    last = [world.blocks.learn([log]) for log in found * 3][-1]
    assert [(d.wallet, d.side, d.total, d.traded) for d in last] == [
        (HIM, Side.BUY, (10 * M, 5 * M), True)
    ]
    assert (last[0].state, last[0].block) == (FactState.MINED, block.number)


def test_a_takers_money_is_what_it_was_even_where_the_exchange_tells_the_offer():
    world = World()
    block = world.seal(match("0x" + "11" * 32, mint=True))
    (found,) = world.blocks.learn(world.logs(block.number))
    assert found.total == (10 * M, 5 * M)
    own = [log for log in world.logs(block.number) if isinstance(log, Filled)][-1:]
    (alone,) = Blocks(lambda wallet: wallet == HIM).learn(own)
    assert alone.total == (10 * M, 6 * M)  # without the makers' logs nobody knows better


def test_shares_that_move_without_an_order_are_what_orders_leave_over():
    world, him = World(), Account(HIM)
    both = match("0x" + "22" * 32)
    split = told.pairs("0x" + "22" * 32, him, MARKET, 4 * M)
    block = world.seal(both, split)
    logs = world.logs(block.number)
    told_at_once = [*world.blocks.learn(logs), *world.blocks.whole(block, logs)]
    assert {d.traded for d in told_at_once} == {True}, "not before the block stands"
    found = {(d.token, d.traded): (d.side, d.total) for d in world.blocks.final(block.number)}
    assert found == {
        (MARKET.tokens[0], True): (Side.BUY, (10 * M, 5 * M)),
        (MARKET.tokens[0], False): (Side.BUY, (4 * M, 0)),
        (MARKET.tokens[1], False): (Side.BUY, (4 * M, 0)),
    }


def test_shares_whose_order_somebody_left_out_moved_by_that_order_after_all():
    world = World()
    block = world.seal(match("0x" + "23" * 32))
    logs = world.logs(block.number)
    world.blocks.whole(block, [log for log in logs if isinstance(log, Moved)])
    (silent,) = world.blocks.final(block.number)
    assert (silent.traded, silent.total) == (False, (10 * M, 0))
    world.blocks.whole(block, logs)
    found = {d.traded: d.total for d in world.blocks.final(block.number)}
    assert found == {True: (10 * M, 5 * M), False: (0, 0)}


def test_what_is_only_traded_leaves_nothing_over():
    for side in ("BUY", "SELL"):
        for mint in (False, True):
            for who in ({"taker": HIM}, {"taker": OTHER, "maker": HIM}):
                world = World()
                block = world.seal(match("0x" + "33" * 32, side=side, mint=mint, **who))
                world.blocks.whole(block, world.logs(block.number))
                found = world.blocks.final(block.number)
                assert [d.traded for d in found] == [True], (side, mint, who)


def test_another_block_takes_away_what_is_nowhere_else():
    world = World()
    kept, lost = "0x" + "44" * 32, "0x" + "55" * 32
    first = world.seal(match(kept))
    second = world.seal(match(lost))
    for block in (first, second):
        assert world.blocks.head(block) == []
        world.blocks.whole(block, world.logs(block.number))
    old = world.logs(second.number)
    world.reorganise(2, [lost])
    new = head(world.chain.block(first.number))
    gone = world.blocks.head(new)
    assert {(d.tx, d.total, d.state) for d in gone} == {
        (kept, (0, 0), FactState.PROVISIONAL), (lost, (0, 0), FactState.PROVISIONAL),
    }  # fmt: skip
    after = head(world.chain.block(second.number))
    assert world.blocks.head(after) == []
    (again,) = world.blocks.learn(world.logs(second.number))
    assert (again.tx, again.total, again.block) == (kept, (10 * M, 5 * M), second.number)
    assert world.blocks.learn(old) == [], "a block of the old chain says nothing any more"


def test_what_comes_again_before_its_old_block_is_known_to_be_out_is_never_lost():
    world = World()
    tx = "0x" + "66" * 32
    first = world.seal(match(tx))
    world.blocks.head(first)
    old = world.logs(first.number)
    world.blocks.learn(old)
    world.seal()
    world.reorganise(2)
    second = head(world.chain.head)
    (again,) = world.blocks.learn(world.logs(second.number))
    assert again.block == second.number
    gone = world.blocks.head(head(world.chain.block(first.number)))
    assert gone == []
    assert world.blocks.remove(old) == []


def test_a_block_that_is_known_by_its_logs_alone_is_out_once_another_has_its_number():
    world = World()
    block = world.seal(match("0x" + "67" * 32))
    world.blocks.learn(world.logs(block.number))
    other = replace(block, hash="0x" + "ab" * 32)
    (gone,) = world.blocks.head(other)
    assert (gone.total, gone.state) == ((0, 0), FactState.PROVISIONAL)
    assert world.blocks.head(other) == []


def test_a_removed_log_is_taken_back_without_a_new_block():
    world = World()
    block = world.seal(match("0x" + "77" * 32))
    logs = world.logs(block.number)
    world.blocks.learn(logs)
    (gone,) = world.blocks.remove(logs)
    assert (gone.total, gone.state) == ((0, 0), FactState.PROVISIONAL)
    (back,) = world.blocks.learn(logs)
    assert back.total == (10 * M, 5 * M)


def test_who_is_behind_takes_nothing_away():
    world = World()
    first = world.seal()
    second = world.seal(match("0x" + "78" * 32))
    world.blocks.head(second)
    world.blocks.learn(world.logs(second.number))
    assert world.blocks.head(first) == []
    assert world.blocks.hash_of(second.number) == second.hash


def test_what_stands_for_good_is_told_once_and_again_if_somebody_has_more_of_it():
    world = World()
    block = world.seal(match("0x" + "88" * 32))
    world.blocks.head(block)
    world.blocks.learn(world.logs(block.number))
    assert world.blocks.final(block.number) == [], "not before all of it was read"
    world.blocks.whole(block, world.logs(block.number))
    assert world.blocks.final(block.number - 1) == []
    (found,) = world.blocks.final(block.number)
    assert (found.state, found.total) == (FactState.FINAL, (10 * M, 5 * M))
    assert world.blocks.final(block.number) == []
    logs = world.logs(block.number)
    world.blocks.whole(block, logs)
    assert world.blocks.final(block.number) == [], "the same logs are no news"


def test_what_one_provider_left_out_another_adds_and_never_takes_away():
    world = World()
    block = world.seal(match("0x" + "99" * 32), match("0x" + "9a" * 32))
    logs = world.logs(block.number)
    half = [log for log in logs if log.tx == "0x" + "99" * 32]
    world.blocks.head(block)
    world.blocks.whole(block, half)
    assert len(world.blocks.final(block.number)) == 1
    assert len(world.blocks.whole(block, [log for log in logs if log not in half])) == 2
    assert {d.total for d in world.blocks.final(block.number)} == {(10 * M, 5 * M)}


def test_what_is_final_is_forgotten_and_what_is_not_is_kept_for_hours():
    world = World()
    blocks = [
        world.seal(match(f"0x{i:064x}")) if i < 60 else world.seal() for i in range(KEPT + 100)
    ]
    for block in blocks:
        world.blocks.head(block)
        world.blocks.whole(block, world.logs(block.number))
    assert len(world.blocks._logs) == 60, "nobody has said yet that they stand"
    told = world.blocks.final(blocks[59].number)
    assert len({did.tx for did in told}) == 60
    world.blocks.head(world.seal())
    assert len(world.blocks._logs) == 0
    first = blocks[0]
    assert world.blocks.learn(world.logs(first.number)) == [], "it is settled"
    assert world.blocks.whole(first, world.logs(first.number)[:1]) == []
    assert world.blocks.final(first.number) == []
    assert world.blocks.hash_of(first.number) == first.hash


def test_what_nobody_can_read_whole_is_forgotten_in_the_end():
    world = World()
    world.blocks.learn(world.logs(world.seal(match("0x" + "79" * 32)).number))
    world.blocks.head(Block(FIRST + UNREAD, "0x" + "1" * 64, "0x" + "2" * 64, 1))
    assert len(world.blocks._logs) == 1
    world.blocks.head(Block(FIRST + UNREAD + 10, "0x" + "3" * 64, "0x" + "4" * 64, 1))
    assert world.blocks._logs == {} and len(world.blocks._heads) == 2


@example(1591)  # its second block had but a part of its logs, and went as well
@given(st.integers(0, 10_000))
def test_whatever_is_told_and_taken_back_it_ends_as_the_chain_has_it(seed):
    rng, world = random.Random(seed), World()
    believed: dict = {}

    def believe(found: list[Did]) -> None:
        for did in found:
            believed[did.tx, did.wallet, did.token, did.side, did.traded] = did.total

    for i in range(8):
        taken = [match(f"0x{i:063x}{j}", shares=rng.randrange(1, 9) * M) for j in range(2)]
        block = world.seal(*taken[: rng.randrange(3)])
        if rng.random() < 0.3:
            drop = [t.hash for b in world.chain.blocks[-2:] for t in b.transactions]
            world.reorganise(2, rng.sample(drop, min(len(drop), 1)))
            block = head(world.chain.head)
        found = world.blocks.head(block)
        believe(found)
        live = [log for log in world.logs(block.number) if rng.random() < 0.8]
        believe(world.blocks.learn(live * 2))
    for number in range(FIRST + 1, world.chain.head.number + 1):
        block = head(world.chain.block(number))
        believe(world.blocks.head(block) if world.blocks.hash_of(number) != block.hash else [])
        believe(world.blocks.whole(block, world.logs(number)))
    truth = {
        t.hash: sum(t.changes[HIM, token] for token in MARKET.tokens)
        for b in world.chain.blocks
        for t in b.transactions
    }
    standing = {key[0]: total[0] for key, total in believed.items() if total[0]}
    assert standing == {tx: shares for tx, shares in truth.items() if shares}
