"""Lists of markets page by page, with the defaults that hide what one looks for."""

import base64
import random

import pytest

from bot.sim.entities import new_market
from tests.integration.sim.venue import venue


def many(v, number, **facts):
    rng = random.Random(number)
    return [
        v.sim.exchange.add_market(new_market(rng, f"Number {i}?", **facts)) for i in range(number)
    ]


async def clob_pages(v, path):
    found, cursor, cursors = [], "MA==", []
    while cursor != "LTE=":
        cursors.append(cursor)
        _, page = await v.get(path, next_cursor=cursor)
        assert page["count"] == len(page["data"]) <= page["limit"] == 1000
        found += [row["condition_id"] for row in page["data"]]
        cursor = page["next_cursor"]
    return found, cursors


async def test_the_clob_lists_a_thousand_a_page_oldest_first_ended_ones_too():
    async with venue() as v:
        many(v, 1500)
        await v.do("life", market=0, stage="closed")
        conditions = list(v.sim.exchange.markets)
        found, cursors = await clob_pages(v, "/markets")
        assert found == conditions
        assert [base64.b64decode(cursor) for cursor in cursors] == [b"0", b"1000"]
        assert (await clob_pages(v, "/sampling-markets"))[0] == conditions[1:]
        assert (await v.get("/markets/0x00"))[0] == 404


async def gamma_pages(v, **params):
    found, sizes, cursor = [], [], None
    while cursor is not None or not sizes:
        asked = {**params, **({"after_cursor": cursor} if cursor else {})}
        _, page = await v.get("/gamma/markets/keyset", **asked)
        found += [row["conditionId"] for row in page["markets"]]
        sizes.append(len(page["markets"]))
        cursor = page.get("next_cursor")
    return found, sizes


async def test_gamma_gives_a_hundred_at_most_and_twenty_by_default():
    async with venue() as v:
        many(v, 230)
        v1 = [m.condition for m in v.sim.exchange.markets.values() if m.version == "v1"]
        assert await gamma_pages(v, limit=500) == (v1, [100, 100, len(v1) - 200])
        assert (await gamma_pages(v))[1][0] == 20
        assert len((await v.get("/gamma/markets", limit=500))[1]) == 100
        assert len((await v.get("/gamma/markets", limit=500, offset=200))[1]) == len(v1) - 200
        assert (await gamma_pages(v, ascending="false"))[0] == v1[::-1]


async def test_gamma_hides_the_other_version_and_what_is_closed():
    async with venue() as v:
        await v.do("life", market=0, stage="closed")
        everything = v.sim.exchange.markets.values()
        v2 = [m.condition for m in everything if m.version == "v2"]
        v1 = [m.condition for m in everything if m.version == "v1" and not m.ended]
        assert v2
        assert (await gamma_pages(v))[0] == v1
        assert (await gamma_pages(v, version="v2"))[0] == v2
        assert set((await gamma_pages(v, version="v1,v2"))[0]) == {*v1, *v2}
        assert (await gamma_pages(v, closed="true"))[0] == [v.market(0).condition]
        assert (await v.get("/gamma/markets", condition_ids=v.market(0).condition))[1] == []
        assert (await v.get("/gamma/markets", clob_token_ids=v2[0]))[1] == []


@pytest.mark.parametrize("params", [{"offset": 1}, {"order": "volume_24hr"}])
async def test_the_keyset_refuses_what_it_cannot_do(params):
    async with venue() as v:
        assert (await v.get("/gamma/markets/keyset", **params))[0] == 422
        assert (await v.get("/gamma/markets/keyset", whatever="1", active="false"))[0] == 200


async def test_a_market_is_found_by_each_of_its_names():
    async with venue() as v:
        market = v.market(1)
        for name, value in (
            ("condition_ids", market.condition),
            ("clob_token_ids", market.tokens[1]),
            ("slug", market.slug),
            ("question_ids", market.question),
            ("id", "2"),
        ):
            (row,) = (await v.get("/gamma/markets", **{name: value}))[1]
            assert row["conditionId"] == market.condition, name


async def test_what_is_new_is_listed_late_and_gamma_repeats_old_answers():
    async with venue() as v:
        (new,) = (await v.do("list", event="9", late_s=300))["conditions"]
        market = v.sim.exchange.markets[new]
        assert (await v.get("/gamma/markets", condition_ids=new))[1] == []
        assert (await v.get(f"/markets/{new}"))[0] == 404
        status, facts = await v.get(f"/clob-markets/{new}")
        assert status == 404 or {t["t"] for t in facts["t"]} == {""}
        market.listed_us = 0
        assert (await v.get(f"/clob-markets/{new}"))[1]["t"][0]["t"] == market.tokens[0]
        await v.do("gamma", kept_s=600)
        old = await v.get("/gamma/markets", condition_ids=new)
        market.tick = 1_000
        assert await v.get("/gamma/markets", condition_ids=new) == old
        await v.do("heal")
        _, events = await v.get("/gamma/events", id="9")
        assert [row["conditionId"] for row in events[0]["markets"]] == [new]
        assert events[0]["markets"][0]["orderPriceMinTickSize"] == 0.001
