"""What stands between a client and the exchange.

Faults of single requests, pages, regions, limits.
"""

import asyncio
import dataclasses

import aiohttp
import pytest

from tests.integration.sim.venue import CALM, until, venue


async def test_a_fault_strikes_one_market_only():
    async with venue() as v:
        one, other = v.market(0).condition, v.market(1).condition
        await v.do("fault", on="GET /clob-markets", where=one, do="status", status=404, times=-1)
        assert await v.idle() == [f"status on GET /clob-markets where {one}"]
        assert (await v.get(f"/clob-markets/{other}"))[0] == 200
        assert await v.idle() != []
        assert (await v.get(f"/clob-markets/{one}"))[0] == 404
        assert await v.idle() == []
        await v.do("heal")
        assert (await v.get(f"/clob-markets/{one}"))[0] == 200


async def test_a_fault_is_aimed_by_query_and_by_body():
    async with venue() as v:
        token, other = v.market(0).tokens[0], v.market(1).tokens[0]
        await v.do("fault", on="GET /book", where=token, do="status", times=-1)
        assert (await v.get("/book", token_id=other))[0] == 200
        assert (await v.get("/book", token_id=token))[0] == 503
        await v.do("heal")
        await v.do("fault", on="POST /order", where=token, do="status", times=-1)
        assert (await v.order(0.4, 10, market=1))[0] == 200
        assert (await v.order(0.4, 10, market=0))[0] == 503
        assert v.sim.exchange.outside == [next(iter(v.sim.exchange.indexed))]


async def test_what_hangs_is_answered_when_it_is_healed():
    async with venue() as v:
        one, other = v.market(0).condition, v.market(1).condition
        await v.do("fault", on="GET /clob-markets", where=one, do="hang", times=-1)
        hanging = asyncio.create_task(v.get(f"/clob-markets/{one}"))
        await v.eventually(lambda: _none_idle(v), "it was struck")
        assert (await v.get(f"/clob-markets/{other}"))[0] == 200
        assert not hanging.done()
        await v.do("heal")
        assert (await hanging)[0] == 200


async def _none_idle(v):
    return not await v.idle()


async def test_an_order_that_hung_until_its_client_left_is_never_placed():
    async with venue() as v:
        await v.do("fault", on="POST /order", do="hang")
        posting = asyncio.create_task(v.order(0.4, 10))
        await v.eventually(lambda: _none_idle(v), "it was struck")
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        await v.do("heal")
        assert (await v.order(0.4, 10))[0] == 200
        assert len(v.sim.exchange.outside) == 1


@pytest.mark.parametrize(
    ("path", "field", "bad"),
    [
        ("/data/trades", "maker_orders", None), ("/data/orders", "original_size", "NaN"),
        ("/v2/activity", "price", "NaN"), ("/v2/positions", "current_size", KeyError),
    ],
)  # fmt: skip
async def test_one_bad_row_leaves_the_others_intact(path, field, bad):
    async with venue() as v:
        for market in (0, 1, 2):
            assert (await v.order(0.6, 10, kind="FAK", market=market))[0] == 200
            assert (await v.order(0.4, 10, market=market))[0] == 200
        await until(lambda: v.sim.truth()["settled"], "settled")

        async def rows():
            v.sim.data._cache.clear()
            if path.startswith("/v2"):
                return (await v.get(path, user=v.addresses["wallet"]))[1]["data"]
            return (await v.asked("GET", path))[1]["data"]

        good = await v.eventually(rows, "rows")
        assert len(good) == 3
        await v.do("fault", on=f"GET {path}", do="bad_row", row=1)
        found = await rows()
        assert found[0] == good[0]
        assert found[2] == good[2]
        assert found[1].get(field, KeyError) == bad
        assert {k: w for k, w in found[1].items() if k != field} == {
            k: w for k, w in good[1].items() if k != field
        }
        assert await rows() == good


async def test_a_page_without_rows_is_no_page_with_a_bad_row():
    async with venue() as v:
        await v.do("fault", on="GET /data/trades", do="bad_row")
        assert await v.trades() == []
        assert await v.idle() == ["bad_row on GET /data/trades"]
        await v.order(0.6, 10, kind="FAK")
        assert (await v.trades())[0]["maker_orders"] is None
        assert await v.idle() == []


async def test_a_bad_row_says_what_the_drill_tells_it_to():
    async with venue() as v:
        await v.order(0.6, 10, kind="FAK")
        await v.do("fault", on="GET /data/trades", do="bad_row", field="size", value="1e999")
        assert (await v.trades())[0]["size"] == "1e999"


async def test_a_bot_filter_answers_with_a_page_and_a_region_with_its_text():
    async with venue() as v:
        await v.do("fault", on="POST /order", do="bot_filter")
        status, page = await v.order(0.4, 10)
        assert status == 403
        assert page.startswith("<!DOCTYPE html>")
        await v.do("region", country="GB")
        # The region is looked at before anybody is recognised.
        async with (
            aiohttp.ClientSession() as stranger,
            stranger.post(f"{v.addresses['clob_url']}/order", data="{}") as answer,
        ):
            assert answer.status == 403
            assert (await answer.json())["error"].startswith(
                "Trading restricted in your region, please refer"
            )
        assert (await v.get("/api/geoblock"))[1]["blocked"] is True
        assert (await v.get("/book", token_id=v.market().tokens[0]))[0] == 200
        await v.do("heal")
        assert (await v.get("/api/geoblock"))[1]["blocked"] is False
        assert (await v.order(0.4, 10))[0] == 200


async def test_a_country_where_one_may_only_close_also_says_blocked():
    async with venue() as v:
        await v.order(0.6, 20, kind="FAK")
        await until(lambda: v.sim.truth()["settled"], "settled")
        await v.do("region", country="GB", orders="reduce")
        assert (await v.get("/api/geoblock"))[1] == {
            "blocked": True, "ip": "192.0.2.7", "country": "GB", "region": "",
        }  # fmt: skip
        assert (await v.order(0.4, 10))[0] == 403
        assert (await v.order(0.4, 10, "SELL", "FAK"))[0] == 200


@pytest.mark.parametrize(
    ("mode", "order", "post_only", "cancel"),
    [
        ("restart", 425, 425, 425), ("post_only", 503, 200, 200), ("cancel_only", 503, 503, 200),
        ("disabled", 503, 503, 503), ("open", 200, 200, 200),
    ],
)  # fmt: skip
async def test_the_engine_takes_what_its_mode_allows(mode, order, post_only, cancel):
    async with venue() as v:
        _, resting = await v.order(0.4, 10)
        await v.do("mode", mode=mode)
        assert (await v.order(0.4, 11))[0] == order
        status, answer = await v.order(0.4, 12, post_only=True)
        assert status == post_only
        if mode == "post_only":
            assert (await v.order(0.4, 13))[1]["code"] == "post_only_mode"
        status, answer = await v.asked("DELETE", "/order", {"orderID": resting["orderID"]})
        assert status == cancel
        if cancel == 200:
            assert answer["canceled"] == [resting["orderID"]]
        await v.do("heal")
        assert (await v.order(0.4, 14))[0] == 200


async def test_too_many_requests_wait_first_and_are_refused_then():
    plan = dataclasses.replace(CALM, limits={"clob GET /neg-risk": 10})
    async with venue(plan) as v:

        async def ask():
            return (await v.get("/neg-risk", token_id=v.market().tokens[0]))[0]

        asked = [asyncio.create_task(ask()) for _ in range(13)]
        await v.eventually(
            lambda: _struck(v, throttled=1, refused=2), "ten pass, one waits, two are refused"
        )
        await v.eventually(lambda: _done(asked, 12), "all but the one that waits are answered")
        assert sorted(task.result() for task in asked if task.done()) == [200] * 10 + [429] * 2
        # Others are not concerned.
        assert (await v.get("/tick-size", token_id=v.market().tokens[0]))[0] == 200
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _struck(v, **expected):
    return (await v.do("idle"))["limits"] == expected


async def _done(tasks, number):
    return sum(task.done() for task in tasks) == number


async def test_limits_change_and_heal():
    async with venue() as v:
        path = ("/neg-risk", {"token_id": v.market().tokens[0]})
        await v.do("limits", changes={"clob GET /neg-risk": 1})
        first = await v.get(path[0], **path[1])
        waiting = asyncio.create_task(v.get(path[0], **path[1]))
        await v.eventually(lambda: _struck(v, throttled=1, refused=0), "the second waits")
        refused = await v.get(path[0], **path[1])
        assert (first[0], refused) == (200, (429, {"error": "Too Many Requests"}))
        waiting.cancel()
        await v.do("heal")
        assert [(await v.get(path[0], **path[1]))[0] for _ in range(20)] == [200] * 20
        await v.do("limits", off=True)
        assert "at least 1" in (await v.ask("limits", changes={"clob GET /book": 0}))["error"]
