"""The simulation's chain agrees with its exchange, and its providers are as bad as real ones."""

import contextlib
import dataclasses
import json
from collections import Counter

import pytest

from bot.sim import logs as told
from bot.sim.entities import CONTRACTS
from tests.integration.sim.venue import CALM, M, until, venue


class Provider:
    """JSON-RPC by hand."""

    def __init__(self, v, name="a"):
        self._v, self._url = v, f"{v.addresses['clob_url']}/rpc/{name}"

    async def ask(self, method, *params):
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        async with self._v.http.post(self._url, json=body) as answer:
            return await answer.json()

    async def call(self, method, *params):
        answer = await self.ask(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    async def logs(self, *topics, address=None, **where):
        where = where or {"fromBlock": "earliest", "toBlock": "latest"}
        asked = {"topics": list(topics), **where}
        if address:
            asked["address"] = address
        return await self.call("eth_getLogs", asked)

    async def head(self):
        return int(await self.call("eth_blockNumber"), 16)

    async def balance(self, wallet, token, at="latest", contract=told.TOKENS):
        data = f"0x00fdd58e{wallet[2:].rjust(64, '0')}{int(token):064x}"
        return int(await self.call("eth_call", {"to": contract, "data": data}, at), 16)


def padded(wallet):
    return "0x" + wallet[2:].lower().rjust(64, "0")


def wallet_of(topic):
    return "0x" + topic[-40:]


def words(log):
    return [int(log["data"][i : i + 64], 16) for i in range(2, len(log["data"]), 64)]


async def traded(v, node, **trade):
    """Let a leader trade; return the transaction once its block is there."""
    tx = (await v.do("trade", **trade))["tx"]
    assert tx is not None
    await v.eventually(lambda: node.call("eth_getTransactionReceipt", tx), "it is mined")
    return tx


@pytest.mark.parametrize(("market", "kind"), [(0, "standard"), (2, "neg_risk"), (3, "v3")])
async def test_a_match_writes_what_every_order_filled_the_takers_own_last(market, kind):
    async with venue(CALM) as v:
        node = Provider(v)
        leader = v.sim.story.leaders[0]
        tx = await traded(v, node, leader=0, market=market, usdc=300)
        receipt = await node.call("eth_getTransactionReceipt", tx)
        exchange = CONTRACTS[kind].lower()
        filled = [x for x in receipt["logs"] if x["topics"][0] == told.ORDER_FILLED]
        assert {x["address"] for x in filled} == {exchange}
        *makers, taker = filled
        assert makers
        assert {wallet_of(x["topics"][3]) for x in makers} == {leader.wallet.lower()}
        assert wallet_of(taker["topics"][2]) == leader.wallet.lower()
        assert wallet_of(taker["topics"][3]) == exchange
        side, token, usdc, shares, *_ = words(taker)
        assert (side, str(token)) == (0, v.market(market).tokens[0])
        assert shares == sum(words(x)[2] for x in makers)
        assert usdc == sum(words(x)[3] for x in makers)
        (group,) = v.sim.truth()["leader_trades"]
        assert group[-1] == shares


async def test_pairs_that_are_made_by_a_match_show_the_takers_money_before_it_comes_back():
    async with venue(CALM) as v:
        node = Provider(v)
        where = v.market(0)
        # Somebody bids for No: who buys Yes at a higher limit gets a pair made of both stakes.
        v.sim.exchange.inside(v.sim.story.crowd, where.tokens[1], "BUY", 500_000, 50 * M, "GTC")
        tx = await traded(v, node, leader=0, market=0, usdc=10)
        receipt = await node.call("eth_getTransactionReceipt", tx)
        maker, taker = [x for x in receipt["logs"] if x["topics"][0] == told.ORDER_FILLED]
        shares = words(taker)[3]
        paid = words(maker)[3] - words(maker)[2]  # what the other side left of each dollar
        assert words(maker)[0] == 0  # both buy
        assert paid == shares // 2
        assert words(taker)[2] > paid


async def test_shares_that_move_without_an_order_name_the_wallet_in_transfers_alone():
    async with venue(CALM) as v:
        node = Provider(v)
        leader = v.sim.story.leaders[0]
        where = v.market(0)
        made = (await v.do("pair", market=0, shares=40))["tx"]
        given = (await v.do("pair", market=0, shares=15, merge=True))["tx"]
        await v.do("gift", market=0, shares=7, leader=0)
        await v.do("life", market=0, stage="resolved")
        await v.do("redeem", market=0, leader=0)
        await until(lambda: v.sim.exchange.chain.found(given), "a block has them")
        await v.eventually(lambda: node.logs(told.REDEEMED), "the redemption is in a block")
        everything = await node.logs()
        names = [x for x in everything if wallet_of(x["topics"][1]) == leader.wallet.lower()]
        assert names == []  # no event calls him by name but transfers
        moved = Counter()
        for log in everything:
            if log["topics"][0] not in (told.TRANSFER_SINGLE, told.TRANSFER_BATCH):
                continue
            found = words(log)
            parts = [found[:2]] if len(found) == 2 else list(zip(*halves(found), strict=True))
            for token, amount in parts:
                moved[wallet_of(log["topics"][2]), str(token)] -= amount
                moved[wallet_of(log["topics"][3]), str(token)] += amount
        for i, gifted in ((0, 7), (1, 0)):
            assert moved[leader.wallet.lower(), where.tokens[i]] == 0, gifted
        kinds = {told.SPLIT: made, told.MERGE: given}
        for kind, tx in kinds.items():
            assert [x["transactionHash"] for x in await node.logs(kind)] == [tx]
        (resolved,) = await node.logs(told.RESOLVED, where.condition)
        assert words(resolved) == [2, 64, 2, 1, 0]


def halves(found):
    """Return both arrays of a batch."""
    first, second = found[0] // 32, found[1] // 32
    return found[first + 1 : second], found[second + 1 :]


async def test_no_of_some_markets_of_an_event_becomes_yes_of_the_others():
    async with venue(CALM) as v:
        node = Provider(v)
        first = (await v.do("list", number=3, event="e", neg_risk=True))["first"]
        for number in (first, first + 1):
            await v.do("pair", market=number, shares=20)
        refused = await v.ask("convert", markets=[0], shares=5)
        assert "neg-risk" in refused["error"]
        tx = (await v.do("convert", markets=[first, first + 1], shares=5))["tx"]
        await v.eventually(lambda: node.call("eth_getTransactionReceipt", tx), "it is mined")
        wallet = v.sim.story.leaders[0].wallet
        held = [
            [await node.balance(wallet, token) for token in v.market(first + i).tokens]
            for i in range(3)
        ]
        assert held == [[20 * M, 15 * M], [20 * M, 15 * M], [5 * M, 0]]
        (log,) = await node.logs(told.CONVERTED)
        assert (log["address"], log["transactionHash"]) == (told.NEG_RISK, tx)


async def test_balances_are_those_of_the_block_that_is_asked_for():
    async with venue(CALM) as v:
        node = Provider(v)
        leader, token = v.sim.story.leaders[0], v.market(0).tokens[0]
        before = hex(await node.head())
        await traded(v, node, leader=0, market=0, usdc=40)
        after = await node.balance(leader.wallet, token)
        assert after == leader.shares[token] > 0
        assert await node.balance(leader.wallet, token, before) == 0
        many = [64, 128, 2, *([int(leader.wallet, 16)] * 2), 2, *map(int, v.market(0).tokens)]
        many[1] = 64 + 32 * 3
        data = "0x4e1273f4" + "".join(f"{word:064x}" for word in many)
        answer = await node.call("eth_call", {"to": told.TOKENS, "data": data}, "latest")
        assert [int(answer[i : i + 64], 16) for i in range(2, len(answer), 64)][2:] == [after, 0]


async def test_a_failed_match_is_on_the_chain_without_a_log_and_a_new_hash_has_them():
    async with venue(CALM) as v:
        node = Provider(v)
        await v.do("settle", ways=["RETRYING"], of="leaders")
        old = await traded(v, node, leader=0, market=0)
        failed = await node.call("eth_getTransactionReceipt", old)
        assert (failed["status"], failed["logs"]) == ("0x0", [])
        filled = await v.eventually(lambda: node.logs(told.ORDER_FILLED), "settled again")
        assert {x["transactionHash"] for x in filled} == {v.sim.truth()["leader_trades"][0][0]}
        assert old not in {x["transactionHash"] for x in filled}


class Listener:
    """A websocket to a provider, and everything it has told of each subscription."""

    def __init__(self, socket):
        self._socket, self.answers, self.told = socket, {}, {}

    async def ask(self, number, method, *params):
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
        await self._socket.send_str(json.dumps(body))
        while number not in self.answers:
            await self.hear()
        return self.answers[number]

    async def hear(self):
        frame = json.loads(await self._socket.receive_str(timeout=30))
        if "id" in frame:
            self.answers[frame["id"]] = frame
        else:
            found = frame["params"]
            self.told.setdefault(found["subscription"], []).append(found["result"])


@contextlib.asynccontextmanager
async def listening(v, name="a"):
    async with v.http.ws_connect(f"{v.addresses['clob_url']}/rpc/{name}") as socket:
        yield Listener(socket)


async def test_a_reorganisation_takes_logs_back_and_tells_them_again_elsewhere():
    slow = dataclasses.replace(CALM, confirmed_ms=60_000)
    async with venue(slow) as v, listening(v) as ear:
        node, leader = Provider(v), v.sim.story.leaders[0]
        asked = {"topics": [told.ORDER_FILLED, None, [padded(leader.wallet)]]}
        name = (await ear.ask(1, "eth_subscribe", "logs", asked))["result"]
        heads = (await ear.ask(2, "eth_subscribe", "newHeads"))["result"]
        stays = await traded(v, node, leader=0, market=0)
        goes = await traded(v, node, leader=0, market=1)
        await v.do("reorg", depth=20, drop=[goes])
        while not any(x["removed"] for x in ear.told.get(name, [])):
            await ear.hear()
        while [x["transactionHash"] for x in ear.told[name]].count(stays) < 3:
            await ear.hear()
        seen = [(x["transactionHash"], x["removed"]) for x in ear.told[name]]
        assert seen == [(stays, False), (goes, False), (goes, True), (stays, True), (stays, False)]
        first, again = (
            x for x in ear.told[name] if x["transactionHash"] == stays and not x["removed"]
        )
        assert first["blockHash"] != again["blockHash"]
        assert [x["transactionHash"] for x in await node.logs(*asked["topics"])] == [stays]
        answer = await node.ask("eth_getLogs", {"blockHash": first["blockHash"]})
        assert answer["error"]["message"] == "unknown block"
        assert await node.call("eth_getTransactionReceipt", goes) is None
        assert [g[0] for g in v.sim.truth()["leader_trades"]] == [stays]
        assert await node.balance(leader.wallet, v.market(1).tokens[0]) == 0
        assert [row["transaction_hash"] for row in await v.activity(leader.wallet)] == [stays]
        while max(Counter(head["number"] for head in ear.told[heads]).values()) < 2:
            await ear.hear()  # other heads of the same numbers


async def test_a_provider_may_be_behind_blind_or_brief_while_the_other_is_well():
    async with venue(CALM) as v:
        good, bad = Provider(v), Provider(v, "b")
        tx = await traded(v, good, leader=0, market=0)
        for ill in ({"lag": 10_000}, {"empty": True}, {"clipped": 1}, {"hides": 1}):
            await v.do("node", name="b", **ill)
            assert await bad.logs(told.ORDER_FILLED) == [], ill
            assert {x["transactionHash"] for x in await good.logs(told.ORDER_FILLED)} == {tx}
            await v.do("heal")
        assert await bad.logs(told.ORDER_FILLED) == await good.logs(told.ORDER_FILLED)
        await v.do("node", name="b", bare=True)
        assert all("blockTimestamp" not in x for x in await bad.logs())
        await v.do("node", name="b", most_topics=2, most_blocks=3)
        chain = v.sim.exchange.chain
        await until(lambda: len(chain.blocks) > 3, "more blocks than it looks at")
        wallets = [padded(a.wallet) for a in v.sim.story.leaders]
        answer = await bad.ask("eth_getLogs", {"topics": [None, None, wallets]})
        assert answer["error"] == {"code": -32602, "message": "exceed max topics"}
        answer = await bad.ask("eth_getLogs", {"fromBlock": "earliest", "topics": []})
        assert answer["error"]["code"] == -32005
        await v.do("node", name="b", mode="throttled")
        async with v.http.post(f"{v.addresses['clob_url']}/rpc/b", json={}) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
        assert (await v.do("idle"))["nodes"]["b"] > 0
        assert "expected one of" in (await v.ask("node", name="c", lag=1))["error"]
        assert "expected one of" in (await v.ask("node", name="b", lag="1"))["error"]


async def test_a_bloom_names_what_its_logs_name():
    async with venue(CALM) as v:
        node = Provider(v)
        tx = await traded(v, node, leader=0, market=0)
        block, _ = v.sim.exchange.chain.found(tx)
        header = await node.call("eth_getBlockByHash", block.hash, False)
        assert int(header["logsBloom"], 16) == block.bloom() > 0
        empty = await node.call("eth_getBlockByNumber", "earliest", False)
        assert int(empty["logsBloom"], 16) == 0
        final = await node.call("eth_getBlockByNumber", "finalized", False)
        assert int(final["number"], 16) <= await node.head()
