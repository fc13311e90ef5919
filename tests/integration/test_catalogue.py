"""The market table: told field by field, kept beside everything else, asked before the exchange."""

import asyncio
import contextlib
import json
from dataclasses import replace

import msgspec

from bot.detect.catalogue import WRITTEN_AT_ONCE, Catalogue
from bot.execution import look
from bot.execution.prefetch import prefetch
from bot.ledger import markets
from bot.ledger.db import insert
from bot.model.market import Facts
from bot.polymarket.gamma import Gamma, listing
from bot.polymarket.listings import Listings
from bot.polymarket.transport import Transport
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.rig import M, rig, until
from tests.samples import SAMPLES, needs_shared

HOUR = 3600 * M


@contextlib.asynccontextmanager
async def keeping(r, mode="seen", clock=now_us, ledger=None):
    gamma = Transport(r.settings.venue.gamma_url, timeout_s=5, requests_per_s=100)
    try:
        yield Catalogue(ledger or r.ledger, Gamma(gamma), mode, clock)
    finally:
        await gamma.close()


def known(r) -> set[str]:
    return {row["condition"] for row in r.query("SELECT condition FROM market WHERE tick > 0")}


def asked(r, what) -> int:
    return sum(n for name, n in r.sim.limits.asked.items() if name.startswith(what))


def conditions(r) -> list[str]:
    return list(r.sim.exchange.markets)


async def learn(r, facts, source, at) -> bool:
    return await r.ledger.transact(markets.learn, facts, source, as_of_us=at)


async def test_what_is_wanted_is_stored_with_its_events_siblings_and_asked_for_once(tmp_path):
    async with rig(tmp_path) as r, keeping(r) as catalogue:
        r.sim.director.acts.do_list(number=3, event="77")
        first = conditions(r)[0]
        sibling = conditions(r)[-1]
        for _ in range(2):
            catalogue.want(first)
            catalogue.want(sibling)
            await catalogue.complete()
        assert known(r) == {first, *conditions(r)[-3:]}
        assert asked(r, "gamma GET /markets") == 1 and asked(r, "gamma GET /events") == 1
        found = await r.ledger.look(markets.last_known, first)
        told = await r.clob.public.refresh_market(first)
        assert found == told, "Gamma and the CLOB tell the same"


async def test_what_gamma_does_not_answer_is_asked_for_again_siblings_too(tmp_path):
    async with rig(tmp_path) as r, keeping(r) as catalogue:
        r.sim.director.acts.do_list(number=2, event="77")
        r.sim.director.acts.do_list(number=2, event="99")
        first, second = conditions(r)[-4], conditions(r)[-2]
        refused = {"do": "status", "status": 404, "times": 1}
        for where in ("GET /gamma/markets", "GET /gamma/events"):
            r.sim.faults.rules.append(Rule(where, **refused))
            catalogue.want(first)
            catalogue.want(second)
            await catalogue.complete()
        await catalogue.complete()
        assert known(r) == set(conditions(r)[-4:])
        events = r.query("SELECT condition, event FROM market")
        assert {row["condition"]: row["event"] for row in events} == dict(
            zip(conditions(r)[-4:], ["77", "77", "99", "99"], strict=True)
        )


async def test_a_market_that_is_only_named_is_completed_when_lists_know_it(tmp_path):
    clock = [now_us()]
    async with rig(tmp_path) as r, keeping(r, clock=lambda: clock[0]) as catalogue:
        await r.clob.public.refresh_market(conditions(r)[0])
        await r.learned.store()  # a token to subscribe to
        listings = Listings(
            r.settings.venue.market_ws_url,
            lambda: r.ledger.look(markets.some_token),
            catalogue.named,
        )
        hearing = asyncio.create_task(listings.run())
        await until(lambda: any(c.wants for c in r.sim.streams.market_clients), "subscribes")
        r.sim.director.acts.do_list(number=1, late_s=300)
        new = conditions(r)[-1]

        async def stored() -> None:
            while new not in known(r):
                await catalogue.complete()
                await asyncio.sleep(0.02)

        await asyncio.wait_for(stored(), 30)
        assert await r.ledger.look(markets.last_known, new) is None, "no neg-risk is known"
        assert await r.ledger.look(markets.incomplete, 9) == [new]
        before = asked(r, "gamma GET /markets")
        for _ in range(5):
            await catalogue.complete()
        assert asked(r, "gamma GET /markets") == before, "who is not listed is asked for later"
        r.sim.exchange.markets[new].listed_us = 0
        clock[0] += HOUR
        await catalogue.complete()
        assert await r.ledger.look(markets.last_known, new) is not None
        assert await r.ledger.look(markets.incomplete, 9) == []
        before = asked(r, "gamma GET /markets")
        clock[0] += HOUR
        await catalogue.complete()
        assert asked(r, "gamma GET /markets") == before, "who has answered is asked no more"
        hearing.cancel()


async def test_newer_words_win_field_by_field_and_gammas_are_older_than_they_say(tmp_path):
    async with rig(tmp_path) as r:
        market = await r.clob.public.refresh_market(conditions(r)[0])
        facts, now = market.facts(), now_us()
        finer = Facts(market.condition, market.tokens, market.outcomes, tick=1_000)
        assert await learn(r, facts, "clob", now)
        assert not await learn(r, facts, "clob", now + 60 * M), "nothing new: not written"
        assert not await learn(r, finer, "clob", now - 1), "older"
        assert not await learn(r, finer, "gamma", now + 599 * M), "as old as its cache"
        assert await learn(r, finer, "clob", now + 1)
        found = await r.ledger.look(markets.last_known, market.condition)
        assert (found.tick, found.neg_risk) == (1_000, market.neg_risk), "the tick alone"
        assert await learn(r, facts, "gamma", now + 602 * M), "and Gamma's when it is newer"
        others = Facts(market.condition, (market.tokens[1], "7"), market.outcomes, tick=100)
        assert not await learn(r, others, "clob", now + HOUR), "other tokens: not believed"
        paid = (market.condition, (1, 0))
        await r.ledger.transact(markets.end, *paid, source="chain", now_us=now)
        assert not await learn(r, facts, "clob", now + HOUR), "it has ended"
        assert not (await r.ledger.look(markets.last_known, market.condition)).accepting


async def test_tokens_that_were_told_wrong_are_corrected_by_who_knows(tmp_path):
    async with rig(tmp_path) as r:
        market = await r.clob.public.refresh_market(conditions(r)[0])
        facts, now = market.facts(), now_us()

        async def said(tokens, source, at, whole=True):
            told = replace(facts, tokens=tokens, neg_risk=facts.neg_risk if whole else None)
            await learn(r, told, source, at)
            return json.loads(r.value("SELECT tokens FROM market"))

        assert await said(("1", "2"), "clob", now, whole=False) == ["1", "2"], "the channel"
        assert await said(("3", "4"), "clob", now + 1, whole=False) == ["1", "2"]
        assert await said(("5", "6"), "gamma", now + 2) == ["5", "6"]
        assert await said(("7", "8"), "gamma", now + 3) == ["5", "6"]
        assert await said(market.tokens, "clob", now + 4) == list(market.tokens)
        assert await said(("5", "6"), "gamma", now + HOUR) == list(market.tokens)
        assert await r.ledger.look(markets.last_known, market.condition) == market


async def test_everything_is_read_page_by_page_and_only_what_changes_is_written(tmp_path):
    clock = [now_us()]
    async with rig(tmp_path) as r, keeping(r, "all", lambda: clock[0]) as catalogue:
        r.sim.director.acts.do_list(number=250)
        r.sim.faults.rules.append(Rule("GET /gamma/markets/keyset", "bad_row", row=4))
        await catalogue.crawl()
        pages = asked(r, "gamma GET /markets/keyset")
        assert pages == 3
        assert len(known(r)) == len(conditions(r)) - 1, "one row could not be read"
        r.sim.director.acts.do_list(number=2)
        await catalogue.crawl()
        assert asked(r, "gamma GET /markets/keyset") <= pages + 2, "the newest alone"
        assert set(conditions(r)[-2:]) <= known(r)
        clock[0] += 90_000 * M
        await catalogue.crawl()
        assert known(r) == set(conditions(r)), "a day later everything again"


class Counted:
    """A ledger that notes how many rows each transaction was given."""

    def __init__(self, ledger) -> None:
        self._ledger, self.look, self.sizes = ledger, ledger.look, []

    async def transact(self, work, *args, **more):
        self.sizes += [len(a) for a in args if isinstance(a, list)]
        return await self._ledger.transact(work, *args, **more)


async def test_no_transaction_of_the_catalogue_is_large(tmp_path):
    async with rig(tmp_path) as r:
        counted = Counted(r.ledger)
        async with keeping(r, ledger=counted) as catalogue:
            for i in range(450):
                facts = Facts(f"0x{i:064x}", (str(2 * i + 10), str(2 * i + 11)), ("Yes", "No"))
                catalogue.named(facts)
            await catalogue.complete()
        assert sorted(counted.sizes) == [50, WRITTEN_AT_ONCE, WRITTEN_AT_ONCE]


async def test_a_market_in_the_table_is_not_asked_for_and_a_book_shows_an_old_tick(tmp_path):
    async with rig(tmp_path) as r, keeping(r) as catalogue:
        catalogue.want(conditions(r)[0])
        await catalogue.complete()
        market = r.market()
        reader = asyncio.create_task(r.books.run())
        token = market.tokens[0]
        found = await look.at(r.books, market.condition, token, max_age_us=HOUR)
        assert found.tick == market.tick
        assert asked(r, "clob GET /clob-markets/") == 0
        other = r.market(1)
        catalogue.want(other.condition)
        await catalogue.complete()
        other.tick = 10_000 if other.tick == 1_000 else 1_000  # while nobody listens
        found = await look.at(r.books, other.condition, other.tokens[0], max_age_us=HOUR)
        assert found.tick == other.tick, "the book says so, and the exchange is asked"
        assert asked(r, "clob GET /clob-markets/") == 1
        await r.learned.store()
        stored = await r.ledger.look(markets.last_known, other.condition)
        assert stored.tick == other.tick
        reader.cancel()


async def test_what_is_in_use_is_told_by_the_exchange_itself_before_long(tmp_path):
    async with rig(tmp_path) as r, keeping(r) as catalogue:
        market = r.market()
        catalogue.want(market.condition)
        await catalogue.complete()
        await r.sees()
        assert await r.clob.public.market(market.condition) is not None
        assert asked(r, "clob GET /clob-markets/") == 0, "good enough to trade on"
        for _ in range(2):
            await prefetch(r.ledger, r.books, r.clob.public, now_us=now_us())
        assert asked(r, "clob GET /clob-markets/") == 1, "but not for ever"


async def test_what_nobody_can_say_more_of_is_forgotten(tmp_path):
    clock = [now_us()]
    async with rig(tmp_path) as r, keeping(r, clock=lambda: clock[0]) as catalogue:
        catalogue.named(Facts("0x" + "ab" * 32, ("11", "12"), ("Yes", "No"), tick=10_000))
        await catalogue.complete()
        clock[0] += 47 * HOUR
        await catalogue.complete()
        assert len(known(r)) == 1
        clock[0] += 2 * HOUR
        await catalogue.complete()
        assert known(r) == set()


async def test_a_dead_market_that_a_leader_holds_is_not_asked_for_for_ever(tmp_path):
    clock = [now_us()]
    async with rig(tmp_path) as r, keeping(r, clock=lambda: clock[0]) as catalogue:
        dead, hours = "0x" + "d" * 64, 0
        catalogue.want(dead)
        asked_in: list[int] = []
        while hours < 6:
            before = asked(r, "gamma GET /markets")
            for _ in range(60):
                clock[0] += 60 * M
                await catalogue.complete()
            asked_in.append(asked(r, "gamma GET /markets") - before)
            hours += 1
        assert asked_in[0] > 1, "it may be listed later"
        assert asked_in[2:] == [0, 0, 0, 0], "it never will be"


async def test_markets_that_nobody_tells_of_any_more_are_forgotten_but_never_ours(tmp_path):
    async with rig(tmp_path) as r:
        r.sim.director.acts.do_list(number=6)
        ours, wished, moving, *others = conditions(r)[-6:]
        for condition in (ours, wished, moving, *others):
            market = await r.clob.public.refresh_market(condition)
            await learn(r, market.facts(), "clob", 1_000)
        held = {
            "portfolio": "external",
            "token": "1",
            "condition": ours,
            "shares": 0,
            "cost": 0,
            "realized": 0,
        }
        wish = {
            "portfolio": "manual", "condition": wished, "token": "2", "kind": "exit", "target": 0,
            "budget": 0, "signal_id": "s", "state": "open", "opened_us": 1, "due_us": 1,
            "tries": 0, "waits": "",
        }  # fmt: skip
        await r.ledger.transact(insert, "position", {**held, "updated_us": 1})
        await r.ledger.transact(insert, "intent", wish)
        assert await r.ledger.transact(markets.prune, 1_000) == 0, "told of just then"
        assert await r.ledger.transact(markets.prune, 1_001) == 4
        assert {ours, wished} <= known(r) and not {moving, *others} & known(r)


async def test_who_has_no_catalogue_asks_nobody(tmp_path):
    async with rig(tmp_path) as r, keeping(r, "off") as catalogue:
        catalogue.want(conditions(r)[0])
        await catalogue.complete()
        assert known(r) == set() and asked(r, "gamma ") == 0


async def test_one_bad_book_of_several_costs_no_other(tmp_path):
    async with rig(tmp_path) as r:
        tokens = [token for m in r.sim.exchange.markets.values() for token in m.tokens][:6]
        r.sim.faults.rules.append(Rule("POST /books", "bad_row", row=2))
        found = await r.clob.public.books(tokens, now_us=now_us())
        assert set(found) == set(tokens) - {tokens[2]}


@needs_shared
def test_gammas_recorded_rows_are_read():
    rows = json.loads((SAMPLES / "08_gamma_market_estevaogn.json").read_text())
    found = listing([msgspec.Raw(json.dumps(row).encode()) for row in rows])
    assert found.refused == [] and len(found.facts) == len(rows)
    first = found.facts[0]
    assert (first.tick, first.min_shares, first.fee_rate) == (1_000, 5 * M, 72_000)
    assert (first.neg_risk, first.accepting, first.event) == (False, True, "36173")
