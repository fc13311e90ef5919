"""Balances replace facts, a question does not: stories 21 to 23, and nodes that are wrong."""

import contextlib

import pytest

from bot.detect.balances import Balances
from bot.detect.holdings import DOUBTED_S, Holdings
from bot.ledger import leaders
from bot.model.market import Side
from bot.polymarket.data_api import DataApi
from bot.polymarket.transport import Transport
from bot.runtime import now_us
from bot.sim import logs as told
from bot.sim.plan import Plan
from tests.exits import CENT, decided, entered, held, later
from tests.rig import M, rig, until
from tests.watch import watching

TOKENS = (told.TOKENS, told.POSITIONS)


def balances_of(w, **more):
    return Balances(
        w.source.providers, w.r.ledger, w.intake, TOKENS, lambda: w.source.final, now_us, **more
    )


async def until_observed(w, balances):
    """Read the chain and sweep until a balance is another one than was believed."""
    for _ in range(200):
        await w.read()
        if await balances.sweep():
            return
    raise AssertionError("no balance was another one")


@contextlib.asynccontextmanager
async def rotating(r, balances, now=now_us):
    transport = Transport(r.addresses["data_url"], timeout_s=10, requests_per_s=100)
    try:
        yield Holdings(DataApi(transport), r.ledger, r.intake, balances, now)
    finally:
        await transport.close()


def believed(r, token):
    found = r.query("SELECT shares, away FROM leader_position WHERE token = ?", token)
    return (found[0]["shares"], found[0]["away"]) if found else (0, 0)


async def test_story_21_a_list_that_says_0_sells_nothing_until_a_block_agrees(tmp_path):
    async with watching(tmp_path, "a", "b") as w, w.r.working():
        token = w.r.market().tokens[0]
        # The exchange knows nothing of it: he holds 0 there.
        ours = await entered(w.r, shares=1_000 * M, source="data_api", age_s=5)
        nobody = Balances([], w.r.ledger, w.r.intake, TOKENS, lambda: 0, now_us)
        async with rotating(w.r, nobody) as holdings:
            for _ in range(3):
                assert await holdings.compare(w.r.leader) == 1
        assert w.r.reasons() == ["copied"] and believed(w.r, token) == (1_000 * M, 0)
        balances = balances_of(w)
        async with rotating(w.r, balances) as holdings:
            assert await holdings.compare(w.r.leader) == 1
            assert believed(w.r, token) == (1_000 * M, 0), "it asks a question"
        await until_observed(w, balances)
        assert believed(w.r, token) == (0, 0)
        await until(lambda: held(w.r) < CENT, "the exit")
        await w.r.settled()
        assert w.r.reasons() == ["copied", "copied"] and ours > 0
        kinds = w.r.query("SELECT kind, shares FROM signal ORDER BY seen_us")
        assert kinds[1] == {"kind": "correction", "shares": 1_000 * M}
        w.r.assert_equal_to_exchange()


@pytest.mark.parametrize("liar", ["a", "b"])
async def test_a_provider_that_answers_0_for_everything_sells_nothing(tmp_path, liar):
    async with watching(tmp_path, "a", "b") as w, w.r.working():
        await w.trade(usdc=60)
        await w.read()
        await w.source.place()
        await decided(w.r, 1)
        await w.stands()
        w.sim.director.do_node(liar, zeros=True)
        balances = balances_of(w)
        for _ in range(4):
            await w.read()
            assert await balances.sweep() == 0
        assert w.held() == w.truth() != {}
        struck = w.sim.rpc.nodes[liar].struck
        assert struck > 0 or liar == "b", "nothing differs at the first one: nobody else is asked"


async def test_one_provider_alone_must_say_it_twice(tmp_path):
    async with watching(tmp_path, "a") as w:
        await w.trade(usdc=60)
        await w.read()
        await w.source.place()
        await w.stands()
        token = next(iter(w.truth()))
        balances = balances_of(w)
        balances.doubt(w.story.leaders[0].wallet, [token])
        assert await balances.sweep() == 0
        w.sim.director.do_node("a", zeros=True)
        balances.doubt(w.story.leaders[0].wallet, [token])
        assert await balances.sweep() == 0
        w.sim.director.do_node("a", zeros=False)
        assert await balances.sweep() == 0
        w.sim.director.do_node("a", zeros=True)
        balances.doubt(w.story.leaders[0].wallet, [token])
        assert await balances.sweep() == 0, "what it took back counts no more"
        assert w.held() == w.truth() != {}
        assert await balances.sweep() == 0, "the same block again is no second word"
        await w.stands()
        assert await balances.sweep() == 1, "nobody else is there to ask"
        assert w.held() == {}


async def test_who_is_new_is_taken_at_his_word_and_then_asked_at_a_block(tmp_path):
    async with watching(tmp_path, "a", "b") as w:
        leader = w.story.leaders[1]
        w.sim.director.acts.do_gift(market=2, shares=70, leader=1)
        token = w.r.market(2).tokens[0]
        await w.stands()
        balances = balances_of(w)
        async with rotating(w.r, balances) as holdings:
            await holdings.adopt(leader.wallet)
        await w.source.place()
        await until_observed(w, balances)
        held = await w.r.ledger.look(leaders.holding, leader.wallet, token)
        assert held.shares == leader.shares[token] == 70 * M
        assert held.block is not None, "as it was at a block"
        # Its transfer is read again: it is in the balance already.
        await w.source.read(w.source.providers[0])
        assert believed(w.r, token)[0] == 70 * M


async def test_without_the_chain_the_same_list_twice_long_after_the_last_trade_counts(tmp_path):
    shift_s = 0

    def now():
        return now_us() + shift_s * M

    async with rig(tmp_path) as r, r.working():
        token = r.market().tokens[0]
        await entered(r, shares=1_000 * M, source="data_api")
        nobody = Balances([], r.ledger, r.intake, TOKENS, lambda: 0, now)
        async with rotating(r, nobody, now) as holdings:
            shift_s = 590
            assert await holdings.compare(r.leader) == 1
            shift_s = 610
            assert await holdings.compare(r.leader) == 1
            assert believed(r, token) == (1_000 * M, 0), "the first answer was too young"
            shift_s += DOUBTED_S
            assert await holdings.compare(r.leader) == 1
            assert believed(r, token) == (0, 0)
        await until(lambda: held(r) < CENT, "the exit")
        await r.settled()
        assert r.reasons() == ["copied", "copied"]


async def test_story_22_pairs_that_he_gives_back_count_no_more(tmp_path):
    async with watching(tmp_path, "a") as w, w.r.working():
        acts, (yes, no) = w.sim.director.acts, w.r.market().tokens

        async def buys(copies):
            await w.trade(usdc=500)
            await w.read()
            await w.source.place()
            await until(lambda: w.r.reasons().count("copied") == copies, "our copy")
            await w.r.settled()

        await buys(1)
        ours, his = held(w.r), w.truth()[yes]
        acts.do_gift(market=0, shares=his // M, outcome=1, leader=0)
        merged = acts.do_pair(market=0, shares=his // M, leader=0, merge=True)["tx"]
        await w.stands()
        assert believed(w.r, yes)[0] == his % M and believed(w.r, no)[0] == 0
        assert {row["kind"] for row in w.facts() if row["tx"] == merged} == {"merge"}
        await until(lambda: held(w.r) < CENT, "our exit")
        await w.r.settled()
        await later(w.r)
        await buys(3)  # the exit was one
        (cover,) = w.r.query("SELECT shares, leader FROM cover WHERE token = ?", yes)
        assert cover["shares"] == held(w.r) and abs(held(w.r) - ours) <= M
        assert cover["leader"] == believed(w.r, yes)[0] == w.truth()[yes], "not twice what he has"


async def test_story_23_a_transfer_is_no_sale_and_is_told(tmp_path):
    async with watching(tmp_path, "a", "b") as w, w.r.working():
        acts, token = w.sim.director.acts, w.r.market().tokens[0]
        await w.trade(usdc=600)
        await w.read()
        await w.source.place()
        await until(lambda: held(w.r) > CENT, "our copy")
        await w.r.settled()
        ours, his = held(w.r), w.truth()[token]
        cover = w.r.query("SELECT shares, leader FROM cover")
        acts.do_gift(market=0, shares=-(his // M // 2), leader=0)
        await w.stands()
        balances = balances_of(w)
        assert await balances.sweep() == 0
        left, away = believed(w.r, token)
        assert left == w.truth()[token] and left + away == his
        assert held(w.r) == ours and w.r.query("SELECT shares, leader FROM cover") == cover
        alerts = w.r.query("SELECT text FROM alert WHERE key LIKE 'transfer:%'")
        assert len(alerts) == 1 and w.r.leader in alerts[0]["text"]
        # What he still moves is followed, in proportion to all that he had.
        await w.trade(side=str(Side.SELL), part=50)
        await w.read()
        await until(lambda: held(w.r) < ours - CENT, "our part of his sale")
        await w.r.settled()
        assert abs(held(w.r) - ours * 3 // 4) <= 2 * CENT
        await w.trade(side=str(Side.SELL))
        acts.do_gift(market=0, shares=his // M // 2, leader=0)
        await w.stands()
        await w.trade(side=str(Side.SELL))
        await w.read()
        await until(lambda: held(w.r) < CENT, "our exit")
        await w.r.settled()
        await balances.sweep()
        assert w.r.value("SELECT COUNT(*) FROM alert WHERE cleared_us IS NULL") == 0


async def test_a_transfer_that_a_slower_provider_has_still_to_show_is_no_sale(tmp_path):
    async with watching(tmp_path, "a", "b") as w, w.r.working():
        await w.trade(usdc=600)
        await w.read()
        await w.source.place()
        await until(lambda: held(w.r) > CENT, "our copy")
        await w.r.settled()
        await w.stands()
        fast, _ = w.source.providers
        ours, his = held(w.r), next(iter(w.truth().values()))
        w.sim.director.acts.do_gift(market=0, shares=-(his // M), leader=0)
        moved = w.sim.exchange.chain.head.number + 1
        while fast.final <= moved:
            await w.source.read(fast)
        balances = balances_of(w)
        for _ in range(3):
            assert await balances.sweep() == 0, "the other one was not read that far"
        await w.stands()
        assert await balances.sweep() == 0
        assert held(w.r) == ours and believed(w.r, w.r.market().tokens[0])[1] > 0


async def test_what_a_list_with_unreadable_rows_leaves_out_is_not_gone(tmp_path):
    async with (
        rig(tmp_path, Plan(failed_share=0, retried_share=0, data_lag_ms=0)) as r,
        r.working(),
    ):
        await entered(r, shares=1_000 * M, source="data_api")
        r.sim.director.acts.do_gift(market=2, shares=70, leader=0)
        nobody = Balances([], r.ledger, r.intake, TOKENS, lambda: 0, now_us)
        async with rotating(r, nobody, lambda: now_us() + 2_000 * M) as holdings:
            await until(
                lambda: r.sim.story.leaders[0].shares[r.market(2).tokens[0]] == 70 * M, "a gift"
            )
            r.sim.director.do_fault(
                on="GET /v2/positions", do="bad_row", times=-1, field="token_id", value="?"
            )
            doubted = [await holdings.compare(r.leader) for _ in range(3)]
        assert doubted == [0, 0, 0] and believed(r, r.market().tokens[0])[0] == 1_000 * M


async def test_whoever_gets_the_other_outcome_holds_less_of_ours(tmp_path):
    async with watching(tmp_path, "a") as w, w.r.working():
        await w.trade(usdc=600)
        await w.read()
        await w.source.place()
        await until(lambda: held(w.r) > CENT, "our copy")
        await w.r.settled()
        ours, his = held(w.r), next(iter(w.truth().values()))
        w.sim.director.acts.do_gift(market=0, shares=his // M // 2, outcome=1, leader=0)
        await w.stands()
        await until(lambda: held(w.r) < ours - CENT, "our part of what he has hedged")
        await w.r.settled()
        assert abs(held(w.r) - ours // 2) <= M
        w.sim.director.acts.do_pair(market=0, shares=500, leader=0)  # on no side
        await w.stands()
        await w.r.settled()
        assert abs(held(w.r) - ours // 2) <= M


async def test_a_provider_that_tells_no_balances_leaves_it_to_the_others(tmp_path):
    for ill in ("a", "b"):
        folder = tmp_path / ill
        folder.mkdir()
        async with watching(folder, "a", "b") as w, w.r.working():
            token = w.r.market().tokens[0]
            await entered(w.r, shares=1_000 * M, source="data_api", age_s=5)
            w.sim.director.do_node(ill, stateless=True)
            balances, observed = balances_of(w), 0
            for _ in range(9):
                await w.stands()
                observed += await balances.sweep()
                if observed:
                    break
            assert observed == 1 and believed(w.r, token) == (0, 0), "the only one said it twice"
