"""A provider of the chain answers, refuses, or is no provider at all: three things, told apart."""

import dataclasses

import pytest

from bot.errors import Unavailable
from bot.model.chain import Filled, Moved
from bot.polymarket import chain
from bot.polymarket.rpc import Refused, Rpc, Wanted
from bot.polymarket.transport import Transport
from bot.sim import logs as told
from bot.sim.chain import FIRST
from bot.sim.entities import CONTRACTS
from bot.sim.faults import Rule
from tests.integration.sim.venue import CALM, until, venue

EXCHANGES = tuple(address.lower() for address in CONTRACTS.values())
KNOWN = chain.Addresses(frozenset(EXCHANGES), frozenset((told.TOKENS, told.POSITIONS)))


def topic(wallet):
    return "0x" + wallet[2:].lower().rjust(64, "0")


def fills_of(wallet):
    return Wanted(EXCHANGES, ((chain.ORDER_FILLED,), None, (topic(wallet),)))


class Asked:
    """A venue, and one of its providers as the bot asks it."""

    def __init__(self, v, rpc):
        self.v, self.rpc = v, rpc
        self.leader = v.sim.story.leaders[0]

    async def trade(self, **more):
        tx = (await self.v.do("trade", leader=0, market=0, **more))["tx"]
        await until(lambda: self.v.sim.exchange.chain.found(tx), "it is mined")
        return tx


@pytest.fixture
async def asked():
    async with venue(dataclasses.replace(CALM, limits=None)) as v:
        url = f"{v.addresses['clob_url']}/rpc/a"
        http = Transport(url, timeout_s=5, requests_per_s=100)
        try:
            yield Asked(v, Rpc(http, "a"))
        finally:
            await http.close()


async def test_logs_of_a_range_and_of_a_block_say_what_happened(asked):
    tx = await asked.trade()
    head = await asked.rpc.block("latest")
    found = await asked.rpc.logs(fills_of(asked.leader.wallet), FIRST, head.number)
    (filled,) = [one for raw in found for one in chain.said(raw, KNOWN)]
    assert isinstance(filled, Filled)
    assert (filled.tx, filled.wallet) == (tx, asked.leader.wallet.lower())
    assert filled.shares == asked.leader.shares[filled.token]
    again = await asked.rpc.logs_in(fills_of(asked.leader.wallet), filled.place.block_hash)
    assert again == found
    block = await asked.rpc.block(filled.place.block)
    assert (block.hash, block.at_s) == (filled.place.block_hash, filled.place.block_s)
    parent = await asked.rpc.block(block.number - 1)
    assert block.parent == parent.hash
    final = await asked.rpc.block("finalized")
    assert final.number <= head.number
    assert await asked.rpc.block(head.number + 10_000) is None


async def test_a_receipt_has_everybodys_logs_and_says_whether_it_went_well(asked):
    tx = await asked.trade(usdc=300)
    found = await asked.rpc.receipt(tx)
    words = [one for raw in found.logs for one in chain.said(raw, KNOWN)]
    assert found.ok
    assert sum(isinstance(one, Filled) for one in words) > 1
    assert any(isinstance(one, Moved) for one in words)
    await asked.v.do("settle", ways=["FAILED"], of="leaders")
    failed = await asked.rpc.receipt(await asked.trade())
    assert (failed.ok, failed.logs) == (False, [])
    assert await asked.rpc.receipt("0x" + "00" * 32) is None


async def test_balances_are_read_at_a_block_hundreds_at_once(asked):
    before = await asked.rpc.block("latest")
    await asked.trade()
    after = await asked.rpc.block("latest")
    wallet, token = asked.leader.wallet, asked.v.market(0).tokens[0]
    pairs = [(wallet, token), *[(asked.leader.wallet, str(n)) for n in range(150)]]
    held = asked.leader.shares[token]
    assert await asked.rpc.balances(told.TOKENS, pairs, after) == [held, *[0] * 150]
    assert await asked.rpc.balances(told.TOKENS, pairs[:1], before) == [0]
    gone = dataclasses.replace(after, hash="0x" + "ee" * 32)
    with pytest.raises(Refused, match="header not found"):
        await asked.rpc.balances(told.TOKENS, pairs[:1], gone)


async def test_what_is_too_much_or_unknown_is_refused_and_not_an_empty_answer(asked):
    await asked.v.do("node", name="a", most_topics=1, most_blocks=5)
    both = tuple(topic(leader.wallet) for leader in asked.v.sim.story.leaders[:2])
    wide = Wanted(EXCHANGES, ((chain.ORDER_FILLED,), None, both))
    with pytest.raises(Refused, match="max topics"):
        await asked.rpc.logs(wide, FIRST, FIRST)
    with pytest.raises(Refused, match="range"):
        await asked.rpc.logs(fills_of(both[0]), FIRST, FIRST + 10)
    with pytest.raises(Refused, match="unknown block"):
        await asked.rpc.logs_in(fills_of(both[0]), "0x" + "ee" * 32)


@pytest.mark.parametrize("ill", ["down", "throttled"])
async def test_a_provider_that_is_away_is_asked_again_and_said_to_be_away(asked, ill):
    await asked.v.do("node", name="a", mode=ill)
    with pytest.raises(Unavailable):
        await asked.rpc.block("latest")
    assert asked.v.sim.rpc.nodes["a"].struck == 4
    await asked.v.do("heal")
    assert await asked.rpc.block("latest")


@pytest.mark.parametrize("do", ["half", "empty", "html", "malformed", "drop", "error"])
async def test_an_answer_that_cannot_be_read_is_no_answer(asked, do):
    asked.v.sim.faults.rules.append(Rule("POST /rpc/a", do, times=-1))
    with pytest.raises(Unavailable):
        await asked.rpc.block("latest")


async def test_one_log_that_cannot_be_read_blocks_itself_alone(asked):
    await asked.trade()
    head = await asked.rpc.block("latest")
    everything = Wanted((), ())
    good = await asked.rpc.logs(everything, FIRST, head.number)
    asked.v.sim.faults.rules.append(Rule("POST /rpc/a", "bad_row", row=1))
    left = await asked.rpc.logs(everything, FIRST, head.number)
    assert left == [good[0], *good[2:]]
    assert asked.rpc.refused == 1


async def test_an_answer_that_is_too_long_is_a_reason_to_ask_for_less(asked):
    head = await asked.rpc.block("latest")
    asked.v.sim.faults.rules.append(Rule(on="POST /rpc/a", do="endless", times=1))
    with pytest.raises(Refused, match="body over"):
        await asked.rpc.logs(fills_of(asked.leader.wallet), FIRST, head.number)
    assert not asked.v.sim.faults.idle(), "it was asked once"
    assert await asked.rpc.logs(fills_of(asked.leader.wallet), FIRST, head.number) == []
