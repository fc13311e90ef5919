"""The chain as a source of leaders' facts: what it says is stored, acted on, and taken back."""

import asyncio
import contextlib
import dataclasses

from bot.detect.blocks import Blocks
from bot.detect.chain import ChainSource
from bot.detect.fold import Sight
from bot.detect.intake import Intake
from bot.detect.live import Live
from bot.detect.reader import ChainReader, Provider
from bot.errors import Unavailable
from bot.ledger import leaders
from bot.model.leader import FactState, LeaderFill
from bot.model.market import Side
from bot.polymarket import chain
from bot.runtime import now_us
from bot.sim.entities import CONTRACTS
from tests.rig import M, until
from tests.watch import KNOWN, STATIONS, watching


async def test_what_is_mined_is_a_signal_as_soon_as_its_token_is_known(tmp_path):
    async with watching(tmp_path) as w:
        tx = await w.trade(usdc=40)
        await w.read()
        assert w.signals() == [], "nobody has said yet what the token stands for"
        await w.source.place()
        (signal,) = w.signals()
        assert (signal["kind"], signal["shares"]) == ("increase", w.truth()[signal["token"]])
        (fact,) = w.facts()
        assert (fact["tx"], fact["state"], fact["kind"]) == (tx, "mined", "trade")
        row = w.r.query("SELECT title, outcome, condition FROM leader_trade")[0]
        market = w.r.market(0)
        assert (row["title"], row["outcome"]) == (market.title, market.outcomes[0])
        assert row["condition"] == market.condition
        await w.trade(side="SELL", part=50)
        await w.read()
        assert [s["kind"] for s in w.signals()] == ["increase", "decrease"]
        seen = "SELECT SUM(n) FROM tally WHERE kind = 'seen'"
        assert w.r.value(seen) == 2
        await w.stands()
        assert {f["state"] for f in w.facts()} == {"final"}
        assert w.held() == w.truth()


async def test_what_a_stream_alone_has_told_is_stored_and_nothing_is_done(tmp_path):
    async with watching(tmp_path) as w:
        tx = await w.trade()
        await w.read()
        await w.source.place()
        (signal,) = w.signals()
        group = w.r.query("SELECT tx, wallet, token FROM leader_trade")[0]
        fill = await w.r.sees(shares=70 * M)  # the rig's own intake: only to have a row of one
        ghost = dataclasses.replace(fill, tx="0x" + "ee" * 32)
        await w.intake.take([Sight("rtds:1", ghost, (30 * M, 15 * M), now_us())])
        states = {f["tx"]: (f["state"], f["told"]) for f in w.facts()}
        assert states[ghost.tx] == ("provisional", 0)
        assert states[tx] == ("mined", signal["shares"])
        assert group["tx"] == tx
        await w.intake.take([Sight("chain", ghost, (0, 0), now_us(), FactState.REVERTED)])
        assert {f["tx"]: f["state"] for f in w.facts()}[ghost.tx] == "reverted"
        seen = "SELECT SUM(n) FROM tally WHERE kind = 'seen'"
        before = w.r.value(seen)
        real = dataclasses.replace(ghost, tx="0x" + "dd" * 32)
        await w.intake.take([Sight("rtds:1", real, (30 * M, 15 * M), now_us())])
        assert w.r.value(seen) == before
        for state in (FactState.MINED, FactState.FINAL):
            await w.intake.take([Sight("chain", real, (30 * M, 15 * M), now_us(), state, 9)])
            assert w.r.value(seen) == before + 1, "told of once"


async def test_pairs_and_transfers_change_what_he_holds_and_are_no_trades(tmp_path):
    async with watching(tmp_path) as w:
        acts = w.sim.director.acts
        await w.trade(usdc=40)
        await w.read()
        await w.source.place()
        acts.do_pair(market=0, shares=100)
        acts.do_pair(market=0, shares=30, merge=True)
        acts.do_gift(market=0, shares=-20, leader=0)
        await w.stands()
        assert w.held() == w.truth()
        kinds = {(f["kind"], f["side"]) for f in w.facts()}
        assert kinds == {
            ("trade", "BUY"), ("split", "IN"), ("merge", "OUT"), ("transfer", "OUT"),
        }  # fmt: skip
        assert [s["kind"] for s in w.signals()] == ["increase"], "nothing of ours follows them"
        away = w.r.value("SELECT away FROM leader_position WHERE away <> 0")
        assert away == 20 * M


async def test_a_trade_whose_block_is_out_is_taken_back_once_that_is_proven(tmp_path):
    async with watching(tmp_path) as w:
        tx = await w.trade(usdc=40)
        await w.read()
        await w.source.place()
        token = w.signals()[0]["token"]
        w.sim.director.acts.do_reorg(depth=8, drop=[tx])
        await w.read()
        (fact,) = w.facts()
        assert (fact["state"], fact["told"] > 0) == ("provisional", True), "it may come again"
        fill = dataclasses.replace(
            await w.r.sees(market=1), tx=tx, token=token, condition=w.r.market(0).condition
        )
        await w.intake.take([Sight("chain", fill, (0, 0), now_us(), FactState.REVERTED)])
        assert w.facts()[0]["told"] == 0
        assert w.held().get(token, 0) == 0


async def test_two_providers_one_of_which_leaves_out_half_lose_nothing(tmp_path):
    async with watching(tmp_path, "a", "b") as w:
        w.sim.rpc.change("a", {"hides": 2})
        for market in range(4):
            await w.trade(market=market, usdc=30)
        await w.read()
        await w.source.place()
        await w.stands()
        assert w.held() == w.truth()
        assert {f["kind"] for f in w.facts()} == {"trade"}


async def test_where_it_was_read_to_is_where_the_next_life_begins(tmp_path):
    async with watching(tmp_path) as w:
        await w.trade()
        await w.read()
        assert w.r.value("SELECT COUNT(*) FROM leader_trade") == 0  # its token is not known yet
        noted = await w.r.ledger.look(leaders.cursor, "chain", "")
        ((missed, _),) = next(iter(w.source._waiting.values())).values()
        missed = w.sim.exchange.chain.found(missed.tx)
        assert noted < missed[0].number
        intake = Intake(w.r.ledger, lambda _: None, now_us)
        await intake.load()
        blocks = Blocks(intake.knows)
        followed = [leader.wallet for leader in w.story.leaders]
        reader = ChainReader(blocks, KNOWN, lambda: followed, intake.knows, now_us)
        again = [Provider(p.rpc) for p in w.source.providers]
        next_life = ChainSource(
            again, reader, blocks, intake, w.r.ledger, w.source._ask_tokens, STATIONS, now_us
        )
        await next_life.read(again[0])
        await next_life.place()
        assert [s["kind"] for s in w.signals()] == ["increase"]


@contextlib.asynccontextmanager
async def hearing(w, name="a", chunk=500):
    """Listen to a provider, and store what is heard; nobody reads blocks."""
    url = w.r.addresses["clob_url"].replace("http", "ws") + f"/rpc/{name}"
    reader = w.source._reader
    live = Live(url, name, lambda n: list(reader.filters(n)), w.source.hear, chunk=chunk)
    tasks = [asyncio.create_task(live.run()), asyncio.create_task(w.source._store_heard())]
    try:
        await until(lambda: live.stream.connected, "it listens")
        await until(lambda: subscribed(w, name), "it has subscribed")
        yield live
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def subscribed(w, name):
    clients = w.sim.rpc._clients[name]
    return any(len(subscriptions) > 4 for subscriptions in clients.values())


async def knows(w):
    """Let every token be known, so that nothing has to wait for it."""
    for market in w.sim.exchange.markets.values():
        await w.source._ask_tokens(market.tokens)


async def test_a_log_is_a_signal_as_it_comes_with_what_its_taker_really_paid(tmp_path):
    async with watching(tmp_path) as w, hearing(w):
        await knows(w)
        where = w.r.market(0)
        w.sim.exchange.inside(w.story.crowd, where.tokens[1], "BUY", 500_000, 50 * M, "GTC")
        tx = await w.trade(usdc=10)
        await until(w.signals, "a signal comes")
        row = w.r.query("SELECT tx, emitted_shares, emitted_usdc FROM leader_trade")[0]
        trade = next(t for t in w.sim.exchange.trades.values() if t.tx == tx)
        assert row == {"tx": tx, "emitted_shares": trade.shares, "emitted_usdc": trade.usdc}


async def test_what_was_missed_while_nobody_listened_is_read_and_a_lapse_is_noticed(tmp_path):
    async with watching(tmp_path) as w, hearing(w) as live:
        await knows(w)
        w.sim.rpc.tap("a", "silent")
        await w.trade(usdc=10)
        assert w.signals() == []
        await w.read()
        assert len(w.signals()) == 1
        w.sim.rpc.tap("a", "clean")
        await w.trade(market=1, usdc=10)
        await until(lambda: len(w.signals()) == 2, "it is heard again")
        w.sim.rpc.tap("a", "duplicate")
        await w.trade(market=2, usdc=10)
        await until(lambda: len(w.signals()) == 3, "three frames are one signal")
        assert live.refused == 0
        await w.stands()
        assert len(w.signals()) == 3
        assert w.held() == w.truth()


async def test_a_log_that_is_taken_back_is_in_doubt_until_it_comes_again(tmp_path):
    async with watching(tmp_path) as w, hearing(w):
        await knows(w)
        tx = await w.trade(usdc=10)
        await until(w.signals, "a signal comes")
        before = w.sim.exchange.chain.found(tx)[0].number
        chain = w.sim.exchange.chain
        await until(lambda: chain.head.number > before, "another block comes after it")
        w.sim.director.acts.do_reorg(depth=9)
        await until(
            lambda: (
                w.r.value("SELECT block FROM leader_trade") != before
                and w.facts()[0]["state"] == "mined"
            ),
            "it is in another block",
        )
        assert len(w.signals()) == 1


async def test_a_provider_that_takes_few_wallets_in_one_subscription_is_given_few(tmp_path):
    async with watching(tmp_path) as w:
        await knows(w)
        w.sim.rpc.change("a", {"most_topics": 2})
        async with hearing(w) as live:
            await until(lambda: live.chunk <= 2, "it asks for fewer")
            for leader in range(4):
                await w.trade(leader=leader, usdc=10)
            await until(lambda: len(w.signals()) == 4, "all are heard")


async def stream_tells(w, tx, market=0, shares=30 * M, age_us=30 * M):
    """Let a stream have told of a purchase some time ago."""
    where, leader = w.r.market(market), w.story.leaders[0]
    fill = LeaderFill(
        tx, leader.wallet.lower(), where.tokens[0], Side.BUY, shares, shares // 2,
        where.condition, "Yes", "t", now_us() // M,
    )  # fmt: skip
    await w.intake.take([Sight("rtds:1", fill, fill.amounts, now_us() - age_us)])
    return fill


async def states(w):
    return {fact["tx"]: (fact["state"], fact["told"] > 0) for fact in w.facts()}


async def test_what_no_block_has_after_a_while_did_not_happen(tmp_path):
    async with watching(tmp_path) as w:
        await knows(w)
        ghost, young = "0x" + "e1" * 32, "0x" + "e2" * 32
        await stream_tells(w, ghost)
        await stream_tells(w, young, age_us=0)
        w.sim.exchange.settlement.will(["FAILED"], signed=False)
        failed = await w.trade(usdc=10)
        await stream_tells(w, failed)
        w.sim.rpc.change("a", {"mode": "down"})
        await w.source.doubt()
        assert (await states(w))[ghost] == ("provisional", False), "nobody has said so"
        w.sim.rpc.heal()
        await w.source.doubt()
        assert await states(w) == {
            ghost: ("reverted", False), failed: ("reverted", False), young: ("provisional", False),
        }  # fmt: skip
        assert w.signals() == []


async def test_what_was_missed_is_found_by_its_receipt(tmp_path):
    async with watching(tmp_path) as w:
        await knows(w)
        w.sim.rpc.change("a", {"empty": True})
        tx = await w.trade(usdc=10)
        await stream_tells(w, tx, shares=w.sim.exchange.chain.found(tx) and 1 * M)
        await w.read()
        assert w.signals() == []
        await w.source.doubt()
        assert (await states(w))[tx] == ("mined", True)
        (signal,) = w.signals()
        assert signal["shares"] == w.truth()[signal["token"]]


async def test_a_node_that_is_behind_may_take_back_what_a_block_has_and_is_corrected(tmp_path):
    async with watching(tmp_path) as w:
        await knows(w)
        tx = await w.trade(usdc=10)
        await stream_tells(w, tx)
        w.sim.rpc.change("a", {"lag": 50})
        await w.source.doubt()
        assert (await states(w))[tx] == ("reverted", False)
        w.sim.rpc.heal()
        await w.read()
        assert (await states(w))[tx] == ("mined", True)
        assert [s["kind"] for s in w.signals()] == ["increase"]


async def test_a_provider_that_answers_with_errors_ends_nobody_elses_work(tmp_path):
    async with watching(tmp_path, "a", "b") as w:
        for mode in ("locked", "exhausted", "down"):
            w.sim.director.do_node("a", mode=mode)
            work = asyncio.create_task(w.source.run())
            tx = await w.trade(market=("locked", "exhausted", "down").index(mode), usdc=30)
            await until(
                lambda tx=tx: w.r.value("SELECT COUNT(*) FROM leader_trade WHERE tx = ?", tx),
                "the other provider tells",
            )
            assert not work.done()
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work


async def test_a_fact_of_an_earlier_life_whose_block_is_gone_is_found_out(tmp_path):
    async with watching(tmp_path) as w:
        tx = await w.trade(usdc=40)
        await w.read()
        await w.source.place()
        assert w.facts()[0]["state"] == "mined"
        w.sim.director.acts.do_reorg(depth=8, drop=[tx])
        await next_life(w)
        await w.stands()
        assert w.facts()[0]["state"] == "mined", "its block is in nobody's memory"
        await w.source.doubt()
        (fact,) = w.facts()
        assert (fact["state"], fact["told"]) == ("reverted", 0) and w.held() == {}


async def test_a_fact_of_an_earlier_life_that_stands_is_final(tmp_path):
    async with watching(tmp_path) as w:
        tx = await w.trade(usdc=40)
        await w.read()
        await w.source.place()
        await next_life(w)
        found = w.sim.exchange.chain.found(tx)[0].number
        exchange = w.sim.exchange
        await until(lambda: exchange.chain.final(exchange.now_us).number > found + 20, "it stands")
        w.source.providers[0].next = found + 15  # it was read that far before the fall
        await w.stands()
        await w.source.doubt()
        assert w.facts()[0]["state"] == "final" and w.held() == w.truth()


async def next_life(w):
    """Go on as a process that has begun anew."""
    blocks = Blocks(w.intake.knows)
    followed = [leader.wallet for leader in w.story.leaders]
    reader = ChainReader(blocks, KNOWN, lambda: followed, w.intake.knows, now_us)
    again = [Provider(p.rpc) for p in w.source.providers]
    w.source = ChainSource(
        again, reader, blocks, w.intake, w.r.ledger, w.source._ask_tokens, STATIONS, now_us
    )


async def test_while_nobody_tells_of_new_markets_what_is_known_is_stored(tmp_path):
    async with watching(tmp_path) as w:
        await w.trade(market=0, usdc=40)
        await w.trade(market=1, usdc=40)
        await w.read()
        assert len(w.source._waiting) == 2
        ask, known = w.source._ask_tokens, w.r.market(0).tokens[0]
        await ask([known])

        async def away(_):
            raise Unavailable("Gamma is away")

        w.source._ask_tokens = away
        for _ in range(3):
            await w.read()
            await w.source.place()
        assert [f["token"] for f in w.facts()] == [known]
        (waiting,) = w.source._waiting.values()
        assert len(waiting) == 1, "what is read again waits once"
        w.source._ask_tokens = ask
        await w.source.place()
        assert len(w.facts()) == 2 and w.source._waiting == {}


async def test_a_log_without_a_time_is_of_when_it_was_told(tmp_path):
    async with watching(tmp_path) as w:
        w.sim.rpc.change("a", {"bare": True})
        shift_us = 0
        w.source._now = lambda: now_us() + shift_us
        await w.trade(usdc=40)
        heard = w.sim.exchange.chain.head.number
        wanted = w.source._reader.filters(500)
        rpc = w.source.providers[0].rpc
        raws = [raw for one in wanted for raw in await rpc.logs(one, heard - 20, heard + 1)]
        told = w.source._blocks.learn(w.source._reader.understood(raws, "a"))
        assert told and told[0].at_s is None
        await w.source.store(told)
        began_s, shift_us = now_us() // M, 300 * M
        await w.source.place()
        assert w.r.value("SELECT traded_s FROM leader_trade") <= began_s


async def test_who_fails_on_a_long_way_goes_on_from_there(tmp_path):
    async with watching(tmp_path) as w:
        provider, first = w.source.providers[0], w.source.providers[0].next
        for market in range(4):
            await w.trade(market=market, usdc=30)
            passed = w.sim.exchange.chain.head.number + 9
            await until(lambda n=passed: w.sim.exchange.chain.head.number > n, "blocks pass")
        provider.width, told = 2, []

        async def refused(dids):
            told.extend(dids)
            if len(told) > 2:
                raise Unavailable("the ledger is away")
            await store(dids)

        store, w.source.store = w.source.store, refused
        with contextlib.suppress(Unavailable):
            await w.source.read(provider)
        assert first < provider.next <= w.sim.exchange.chain.head.number
        w.source.store = store
        await w.stands()
        await w.source.place()
        assert w.held() == w.truth() and len(w.facts()) == 4


async def test_a_trade_on_an_exchange_that_nobody_knows_is_no_transfer(tmp_path):
    async with watching(tmp_path) as w:
        kinds = {w.r.market(n).kind for n in range(4)}
        market = next(n for n in range(4) if w.r.market(n).kind == min(kinds))
        unknown = CONTRACTS[min(kinds)].lower()
        w.source._reader._known = chain.Addresses(KNOWN.exchanges - {unknown}, KNOWN.tokens)
        w.source._stations = STATIONS - {unknown}
        await w.source._ask_tokens(list(w.r.market(market).tokens))
        await w.trade(market=market, usdc=40)
        await w.stands()
        assert w.facts() == [] and w.held() == {}, "the index tells of it"
