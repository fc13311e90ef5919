"""Whatever a provider leaves out, refuses or takes back, the chain is read as it is."""

import contextlib
import dataclasses
import itertools

import pytest

from bot.detect.blocks import Blocks
from bot.detect.reader import ChainReader, Provider
from bot.errors import Unavailable
from bot.model.leader import FactState
from bot.polymarket import chain
from bot.polymarket.rpc import Refused, Rpc
from bot.polymarket.transport import Transport
from bot.sim import logs as told
from bot.sim.chain import FIRST
from bot.sim.entities import CONTRACTS
from tests.integration.sim.venue import CALM, until, venue

KNOWN = chain.Addresses(
    frozenset(a.lower() for a in CONTRACTS.values()), frozenset((told.TOKENS, told.POSITIONS))
)


class Watch:
    """A venue, its providers, and what has been read of them."""

    def __init__(self, v, providers):
        self.v, self.providers = v, providers
        self.leader = v.sim.story.leaders[0]
        followed = [leader.wallet for leader in v.sim.story.leaders]
        lower = {wallet.lower() for wallet in followed}
        self.blocks = Blocks(lower.__contains__)
        self.reader = ChainReader(
            self.blocks, KNOWN, lambda: followed, lower.__contains__, itertools.count(1).__next__
        )
        self.believed: dict = {}

    async def read(self, name="a"):
        found = []
        async for dids in self.reader.rounds(self.providers[name], FIRST):
            self._believe(dids)
            found += dids
        return found

    def _believe(self, told):
        self.believed |= {did.key: did for did in told}

    async def stands(self, *names):
        """Read providers until all that has happened stands for good; return what that told."""
        chain, told = self.v.sim.exchange.chain, []
        last = chain.head.number

        async def reached():
            for name in names or ("a",):
                await self.read(name)
            final = min(self.providers[name].final for name in names or ("a",))
            told.extend(self.blocks.final(final))
            return final >= last

        await self.v.eventually(reached, "it stands")
        self._believe(told)
        return told

    async def trade(self, **more):
        """Let the first leader trade; return the hash once its block is there."""
        tx = (await self.v.do("trade", **{"leader": 0, "market": 0, **more}))["tx"]
        await until(lambda: self.v.sim.exchange.chain.found(tx), "it is mined")
        return tx

    async def blocks_pass(self, number=3):
        chain = self.v.sim.exchange.chain
        last = chain.head.number + number
        await until(lambda: chain.head.number >= last, "blocks pass")

    def held(self, wallet):
        """Return shares by token, as the facts that are believed make them."""
        found: dict = {}
        for did in self.believed.values():
            if did.wallet == wallet.lower():
                signed = did.total[0] if did.side == "BUY" else -did.total[0]
                found[did.token] = found.get(did.token, 0) + signed
        return {token: shares for token, shares in found.items() if shares}

    def truth(self, wallet):
        account = self.v.sim.exchange.accounts[wallet.lower()]
        return {token: shares for token, shares in account.shares.items() if shares}

    def exact(self):
        return all(self.held(a.wallet) == self.truth(a.wallet) for a in self.v.sim.story.leaders)


@pytest.fixture
async def watch():
    plan = dataclasses.replace(CALM, limits=None, confirmed_ms=3_000)
    async with venue(plan) as v, contextlib.AsyncExitStack() as s:
        providers = {}
        for name in ("a", "b"):
            url = f"{v.addresses['clob_url']}/rpc/{name}"
            http = Transport(url, timeout_s=5, requests_per_s=400)
            s.push_async_callback(http.close)
            providers[name] = Provider(Rpc(http, name))
        yield Watch(v, providers)


async def test_trades_of_both_roles_and_shares_without_orders_come_out_exact(watch):
    v = watch.v
    first = (await v.do("list", number=3, event="e", neg_risk=True))["first"]
    await watch.trade(usdc=300)
    await v.do("drip", leader=1, market=2, shares=30, fills=3)
    await v.do("pair", market=1, shares=40, leader=0)
    await v.do("pair", market=1, shares=15, leader=0, merge=True)
    await v.do("pair", market=first, shares=20, leader=2)
    await v.do("convert", markets=[first], shares=5, leader=2)
    await v.do("gift", market=0, shares=-7, leader=0)
    await v.do("gift", market=3, shares=9, leader=3)
    await watch.blocks_pass()
    await until(lambda: not v.sim.exchange.settlement.on_the_way(), "all is mined")
    await watch.blocks_pass()
    await watch.stands()
    assert watch.exact()
    assert {did.traded for did in watch.believed.values()} == {True, False}


async def test_what_stands_is_told_to_be_final_once(watch):
    tx = await watch.trade()
    told = await watch.read()
    assert {(d.tx, d.state) for d in told} == {(tx, FactState.MINED)}
    final = await watch.stands()
    assert [(d.tx, d.state, d.total) for d in final] == [(tx, FactState.FINAL, told[0].total)]
    await watch.blocks_pass(25)
    assert await watch.read() == []
    assert await watch.stands() == []


async def test_a_block_in_the_place_of_another_takes_its_trades_along_or_away(watch):
    stays, goes = await watch.trade(), await watch.trade(market=1)
    await watch.read()
    await watch.v.do("reorg", depth=8, drop=[goes])
    await watch.read()
    states = {did.tx: (did.total[0] > 0, did.state) for did in watch.believed.values()}
    assert states[goes] == (False, FactState.PROVISIONAL)
    assert states[stays][0]
    assert watch.exact()


@pytest.mark.parametrize(
    "ill", [{"lag": 6}, {"empty": True}, {"clipped": 1}, {"hides": 2}, {"bare": True}]
)
async def test_what_one_provider_leaves_out_another_shows(watch, ill):
    await watch.v.do("node", name="a", **ill)
    for market in range(4):
        await watch.trade(market=market, usdc=100)
        await watch.read("a")
    await watch.read("b")
    assert watch.exact()
    await watch.read("a")
    assert watch.exact(), "what was left out takes nothing away"
    await watch.v.do("node", name="a", lag=0)
    await watch.stands("a", "b")
    assert watch.exact()


@pytest.mark.parametrize("ill", [{"lag": 6}, {"empty": True}, {"clipped": 1}])
async def test_a_provider_that_is_well_again_is_read_where_it_was_not(watch, ill):
    await watch.trade()
    await watch.v.do("node", name="a", **ill)
    await watch.read()
    await watch.v.do("heal")
    await watch.read()
    assert watch.exact()


async def test_a_provider_that_takes_little_is_asked_for_little(watch):
    for market in range(3):
        await watch.trade(market=market)
    await watch.blocks_pass(12)
    await watch.v.do("node", name="a", most_blocks=3, most_topics=2)
    await watch.read()
    assert watch.exact()
    assert watch.providers["a"].chunk <= 2
    await watch.v.do("node", name="a", most_blocks=2, blunt=True)
    watch.providers["a"].width = 50
    await watch.read()
    assert watch.exact(), "some refuse with HTTP 400"
    await watch.v.do("node", name="a", most_blocks=0)
    with pytest.raises(Unavailable, match="range"):
        await watch.read()
    await watch.v.do("heal")
    await watch.trade()
    await watch.blocks_pass(12)
    await watch.read()
    assert watch.exact(), "what was refused once is asked for again"


async def test_a_provider_that_answers_and_stands_still_is_not_heard(watch):
    await watch.read()
    provider = watch.providers["a"]
    heard, head = provider.answered_us, provider.next
    await watch.v.do("node", name="a", lag=1_000)
    for _ in range(3):
        await watch.read()
    assert (provider.answered_us, provider.next) == (heard, head)
    await watch.v.do("heal")
    await watch.blocks_pass(2)
    await watch.read()
    assert provider.answered_us > heard and watch.exact()


async def test_a_provider_that_was_asked_too_often_is_not_asked_for_less(watch):
    await watch.read()
    provider = watch.providers["a"]
    before = provider.width, provider.chunk
    await watch.v.do("node", name="a", mode="exhausted")
    for _ in range(3):
        with pytest.raises(Unavailable, match="compute units"):
            await watch.read()
    await watch.v.do("node", name="a", mode="locked")
    with pytest.raises(Refused, match="API key"):
        await watch.read()
    assert (provider.width, provider.chunk) == before
    await watch.v.do("heal")
    await watch.trade()
    await watch.blocks_pass(12)
    await watch.read()
    assert watch.exact()


async def test_a_provider_that_is_away_is_said_to_be_away_and_loses_nothing(watch):
    await watch.read()
    await watch.v.do("node", name="a", mode="down")
    await watch.trade()
    with pytest.raises(Unavailable):
        await watch.read()
    await watch.v.do("heal")
    await watch.blocks_pass(15)
    await watch.read()
    assert watch.exact()
