"""The chain source against a real EVM node: what it believes in the end is what the blocks have."""

import asyncio
import contextlib
from collections import Counter

import httpx
from aiohttp import web

from bot.detect.blocks import Blocks
from bot.detect.chain import ChainSource
from bot.detect.intake import Intake
from bot.detect.live import Live
from bot.detect.reader import CHUNK, ChainReader, Provider
from bot.ledger import roster
from bot.ledger.db import Ledger
from bot.ledger.files import migrate
from bot.ledger.markets import learn
from bot.model.address import checksummed
from bot.model.market import Facts
from bot.polymarket import chain
from bot.polymarket.rpc import Rpc
from bot.polymarket.transport import Transport
from bot.report.reader import read
from bot.runtime import now_us
from tests.evm.node import node
from tests.rig import until

M = 1_000_000
LEADER, OTHER, STRANGER = (checksummed("0x" + n * 20) for n in ("1a", "2b", "3c"))
YES, NO = "7", "8"
CONDITION = "0x" + "c0" * 32


class World:
    """A node, a ledger, and the chain as its only source."""

    def __init__(self, n, ledger, path, urls):
        self.n, self.ledger, self.path = n, ledger, path
        self.rows = {}  #: by a transaction's input, what it settles
        self.shift_us = 0
        self.transports = [Transport(url, timeout_s=10, requests_per_s=1000) for url in urls]
        self.intake = Intake(ledger, lambda _: None, now_us)
        self.blocks = Blocks(self.intake.knows)
        known = chain.Addresses(frozenset({n.venue}), frozenset({n.venue}))
        reader = ChainReader(self.blocks, known, self.intake.wallets, self.intake.knows, now_us)
        self.source = ChainSource(
            [Provider(Rpc(http, str(i))) for i, http in enumerate(self.transports)],
            reader, self.blocks, self.intake, ledger, self.nobody, known.stations, self.now,
        )  # fmt: skip
        self.reader = reader

    def now(self):
        return now_us() + self.shift_us

    async def nobody(self, tokens):
        raise AssertionError(f"everything is known, but {tokens}")

    def settle(self, *rows):
        tx = self.n.settle(*rows)
        moved = [(w, t, "BUY" if side == 0 else "SELL", s) for w, _, side, t, s, _ in rows]
        self.rows[self.n.call("eth_getTransactionByHash", tx)["input"]] = moved
        return tx

    def buys(self, wallet=LEADER, token=YES, shares=100, maker=STRANGER):
        """A wallet takes another one's offer of its complement: both buy."""
        n, other = self.n, NO if token == YES else YES
        cash = shares * M // 2
        return self.settle(
            (maker, wallet, 0, int(other), shares * M, cash),
            (wallet, n.venue, 0, int(token), shares * M, cash),
        )

    def transfer(self, giver, taker, token, shares):
        tx = self.n.transfer(giver, taker, int(token), shares * M)
        moved = [(giver, token, "OUT", shares * M), (taker, token, "IN", shares * M)]
        self.rows[self.n.call("eth_getTransactionByHash", tx)["input"]] = moved

    async def read(self):
        for provider in self.source.providers:
            await self.source.read(provider)

    async def stands(self):
        """Mine until all that has happened is final, and read it."""
        self.n.mine(4)
        await self.read()

    def believed(self):
        with read(self.path, now_us=now_us()) as found:
            rows = found.rows("SELECT * FROM leader_trade WHERE emitted_shares > 0")
        assert {row["state"] for row in rows} <= {"final"}
        return {(r["tx"], r["wallet"], r["token"], r["side"]): r["emitted_shares"] for r in rows}

    def truth(self):
        found = Counter()
        for number in range(int(self.n.call("eth_blockNumber"), 16) + 1):
            for tx in self.n.call("eth_getBlockByNumber", hex(number), True)["transactions"]:
                for wallet, token, way, shares in self.rows.get(tx["input"], ()):
                    if wallet in (LEADER, OTHER):
                        found[tx["hash"], wallet, str(token), way] += shares
        return dict(found)

    def holds(self):
        with read(self.path, now_us=now_us()) as found:
            rows = found.rows("SELECT wallet, token, shares FROM leader_position")
        return {(r["wallet"], r["token"]): r["shares"] for r in rows if r["shares"]}

    async def balances(self):
        """Return what the contract itself says that leaders hold at the newest final block."""
        pairs = [(wallet, token) for wallet in (LEADER, OTHER) for token in (YES, NO)]
        provider = self.source.providers[0]
        block = await provider.rpc.block(provider.final)
        found = await provider.rpc.balances(self.n.venue, pairs, block)
        return {pair: n for pair, n in zip(pairs, found, strict=True) if n}


@contextlib.asynccontextmanager
async def world(tmp_path, *others):
    """Serve a node; `others` are URLs of further providers of it, made from its own."""
    path = tmp_path / "ledger-demo.db"
    await asyncio.to_thread(migrate, path, "demo")
    with node() as n:
        async with contextlib.AsyncExitStack() as stack:
            urls = [await stack.enter_async_context(other(n)) for other in others] or [n.url]
            ledger = await stack.enter_async_context(Ledger(path).open())
            followed = [(LEADER, ""), (OTHER, "")]
            await ledger.transact(roster.follow, followed, now_s=0)
            facts = Facts(CONDITION, (YES, NO), ("Yes", "No"))
            await ledger.transact(learn, facts, "gamma", as_of_us=now_us())
            found = World(n, ledger, path, urls)
            await found.intake.load()
            await found.read()
            try:
                yield found
            finally:
                for transport in found.transports:
                    await transport.close()


class Wire:
    """A wire to the node's websocket that can be cut."""

    def __init__(self, n):
        self._to = n.ws_url.removeprefix("ws://").split(":")
        self._writers = set()
        self.up = True

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.cut()
        self._server.close()

    def cut(self):
        self.up = False
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        if not self.up:
            writer.transport.abort()
            return
        there, here = await asyncio.open_connection(*self._to)
        self._writers |= {writer, here}
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await asyncio.gather(_pass(reader, here), _pass(there, writer))


async def _pass(reader, writer):
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def forgetful(n):
    """A provider that leaves every other log out of its answers."""

    async def answer(request):
        async with httpx.AsyncClient(timeout=60) as client:
            told = (await client.post(n.url, json=await request.json())).json()
        if isinstance(told.get("result"), list):
            told["result"] = told["result"][::2]
        return web.json_response(told)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def honest(n):
    yield n.url


async def test_live_logs_a_lost_connection_and_its_gap_end_exact(tmp_path):
    async with world(tmp_path) as w, Wire(w.n) as wire:
        live = Live(
            wire.url, "node", lambda n: list(w.reader.filters(n)), w.source.hear, chunk=CHUNK
        )
        tasks = [asyncio.create_task(work) for work in (live.run(), w.source._store_heard())]
        try:
            await until(lambda: live.stream.connected, "it listens")
            heard = w.buys()
            w.n.mine()
            signals = "SELECT COUNT(*) FROM signal"

            def told():
                with read(w.path, now_us=now_us()) as found:
                    return found.value(signals)

            await until(lambda: told() == 1, "the log alone, nobody has read")
            wire.cut()
            await until(lambda: not live.stream.connected, "the wire is cut")
            for n in range(30):
                w.buys(wallet=(LEADER, OTHER)[n % 2], token=(YES, NO)[n % 3 == 0], shares=10 + n)
                w.n.mine()
            w.transfer(LEADER, STRANGER, YES, 30)
            w.n.mine()
            wire.up = True
            await until(lambda: live.stream.connected, "it listens again")
            w.buys(wallet=OTHER, shares=77)
            w.n.mine()
            await w.read()
            await w.stands()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert w.believed() == w.truth() and len(w.truth()) == 33
        assert any(tx == heard for tx, *_ in w.truth())
        assert w.holds() == await w.balances()


async def test_blocks_that_others_come_in_the_place_of_end_exact(tmp_path):
    async with world(tmp_path) as w:
        first = w.buys(shares=50)
        w.n.mine()
        await w.read()
        kept = w.buys(shares=60)
        w.n.mine()
        renamed = w.buys(wallet=OTHER, token=NO, shares=70)
        w.n.mine()
        w.buys(wallet=OTHER, shares=80)
        w.n.mine()
        await w.read()
        with read(w.path, now_us=now_us()) as found:
            assert found.value("SELECT COUNT(*) FROM signal") == 4
        # The first comes again, the second under another hash, the third never.
        w.n.reorganise(3, [w.n.raw(kept), w.n.again(renamed)])
        await w.read()
        w.buys(shares=90)
        await w.stands()
        w.n.call("evm_increaseTime", 30)  # a block would have the last one by now
        w.shift_us = 30 * M
        await w.stands()
        await w.source.doubt()
        truth = w.truth()
        txs = {tx for tx, *_ in truth}
        assert len(truth) == 4 and {first, kept} <= txs and renamed not in txs
        assert w.believed() == truth
        assert w.holds() == await w.balances()


async def test_two_providers_one_of_which_leaves_logs_out_lose_nothing(tmp_path):
    async with world(tmp_path, forgetful, honest) as w:
        for n in range(20):
            maker = (LEADER, OTHER, STRANGER)[n % 3]
            taker = (OTHER, STRANGER, LEADER)[n % 3]
            w.buys(wallet=taker, token=(YES, NO)[n % 2], shares=10 + n, maker=maker)
            if n % 4 == 3:
                w.n.mine()
                await w.read()
        w.settle((LEADER, STRANGER, 1, int(YES), 5 * M, 2 * M))
        await w.stands()
        assert w.believed() == w.truth() and len(w.truth()) > 20
        assert w.holds() == await w.balances()


async def test_what_wallets_held_is_known_at_a_block_and_only_there(tmp_path):
    async with world(tmp_path) as w:
        w.buys(shares=50)
        w.n.mine()
        await w.stands()
        rpc = w.source.providers[0].rpc
        before = await rpc.block("latest")
        w.buys(shares=25)
        w.n.mine()
        after = await rpc.block("latest")
        pair = [(LEADER, YES)]
        assert await rpc.balances(w.n.venue, pair, before) == [50 * M]
        assert await rpc.balances(w.n.venue, pair, after) == [75 * M]
