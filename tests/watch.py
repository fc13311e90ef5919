"""A rig that watches leaders on the chain: what is mined counts, and nothing else tells of it."""

import contextlib

from bot.detect.blocks import Blocks
from bot.detect.catalogue import Catalogue
from bot.detect.chain import ChainSource
from bot.detect.intake import Intake
from bot.detect.reader import ChainReader, Provider
from bot.polymarket import chain
from bot.polymarket.gamma import Gamma
from bot.polymarket.rpc import Rpc
from bot.polymarket.transport import Transport
from bot.runtime import now_us
from bot.sim import logs as told
from bot.sim.entities import CONTRACTS
from bot.sim.plan import Plan
from tests.rig import rig, until

PLAN = Plan(failed_share=0, retried_share=0, limits=None, confirmed_ms=2_000, data_lag_ms=0)
KNOWN = chain.Addresses(
    frozenset(a.lower() for a in CONTRACTS.values()), frozenset((told.TOKENS, told.POSITIONS))
)
STATIONS = frozenset((*told.ADAPTERS.values(), *KNOWN.exchanges, told.NEG_RISK))


class Watch:
    """A rig whose intake acts on what is mined, and the chain as its only source."""

    def __init__(self, r, source):
        self.r, self.source, self.sim = r, source, r.sim
        self.story = r.sim.story

    async def read(self):
        for provider in self.source.providers:
            await self.source.read(provider)

    async def trade(self, leader=0, market=0, **more):
        """Let a leader trade; return the hash once its block is there."""
        tx = self.sim.director.acts.do_trade(leader=leader, market=market, **more)["tx"]
        await until(lambda: self.sim.exchange.chain.found(tx), "it is mined")
        return tx

    async def stands(self):
        """Read until all that has happened stands for good."""
        last = self.sim.exchange.chain.head.number + 1
        while min(provider.final for provider in self.source.providers) < last:
            await self.read()

    def facts(self):
        return self.r.query(
            "SELECT tx, token, side, kind, state, emitted_shares AS told FROM leader_trade"
            " ORDER BY id"
        )

    def held(self, leader=0):
        wallet = self.story.leaders[leader].wallet
        found = self.r.query(
            "SELECT token, shares, away FROM leader_position WHERE wallet = ?", wallet
        )
        return {row["token"]: row["shares"] for row in found if row["shares"]}

    def truth(self, leader=0):
        shares = self.story.leaders[leader].shares
        return {token: n for token, n in shares.items() if n}

    def signals(self):
        return self.r.query("SELECT kind, token, shares, seq FROM signal ORDER BY seen_us, kind")


@contextlib.asynccontextmanager
async def watching(tmp_path, *names):
    async with rig(tmp_path, PLAN) as r, contextlib.AsyncExitStack() as stack:
        intake = Intake(r.ledger, lambda _: r.execution and r.execution.doorbell.set(), now_us)
        await intake.load()
        followed = [leader.wallet for leader in r.sim.story.leaders]
        providers = []
        for name in names or ("a",):
            http = Transport(
                f"{r.addresses['clob_url']}/rpc/{name}", timeout_s=5, requests_per_s=400
            )
            stack.push_async_callback(http.close)
            providers.append(Provider(Rpc(http, name)))
        gamma = Transport(r.addresses["gamma_url"], timeout_s=5, requests_per_s=100)
        stack.push_async_callback(gamma.close)
        catalogue = Catalogue(r.ledger, Gamma(gamma), "seen", now_us)
        blocks = Blocks(intake.knows)
        reader = ChainReader(blocks, KNOWN, lambda: followed, intake.knows, now_us)
        source = ChainSource(
            providers, reader, blocks, intake, r.ledger, catalogue.ask_tokens, STATIONS, now_us
        )
        found = Watch(r, source)
        found.intake = intake
        await found.read()
        yield found
