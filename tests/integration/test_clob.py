"""The own CLOB client over real sockets: retries, shared reads, lost answers, books."""

import asyncio
import contextlib
import json

import pytest
from aiohttp import web

from bot.errors import ConfigError, Unavailable
from bot.model.order import Deferred, Unknown
from bot.polymarket.transport import NoAnswer, NotSent, Transport
from tests.rig import M, rig, stored_order, until


@contextlib.asynccontextmanager
async def stub(handler):
    """Serve one handler for every path on loopback."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    transport = Transport(
        f"http://127.0.0.1:{runner.addresses[0][1]}", timeout_s=1, requests_per_s=100
    )
    try:
        yield transport
    finally:
        await transport.close()
        await runner.cleanup()


async def test_a_read_is_tried_again_after_429_and_500():
    answers = [429, 500, 200]

    async def handler(_):
        return web.Response(status=answers.pop(0), text="{}", headers={"Retry-After": "0"})

    async with stub(handler) as http:
        assert (await http.read("/x")).status == 200
        assert answers == []


async def test_a_read_gives_up_with_its_address():
    async def handler(_):
        return web.Response(status=503)

    async with stub(handler) as http:
        with pytest.raises(Unavailable, match=r"GET http://127\.0\.0\.1:\d+/x: HTTP 503"):
            await http.read("/x")


async def test_identical_reads_in_flight_share_one_request():
    seen = []

    async def handler(request):
        seen.append(request.path)
        await asyncio.sleep(0.05)
        return web.Response(text="{}")

    async with stub(handler) as http:
        await asyncio.gather(*(http.read("/x") for _ in range(10)), http.read("/x", {"a": "1"}))
        assert sorted(seen) == ["/x", "/x"]


async def test_what_is_read_ahead_takes_nothing_from_a_decision():
    async def handler(_):
        return web.Response(text="{}")

    async with stub(handler) as http:
        ahead = [
            asyncio.create_task(http.read(f"/ahead/{i}", purpose="prefetch")) for i in range(150)
        ]
        await until(lambda: any(task.done() for task in ahead), "reading ahead begins")
        await http.read("/decision")
        assert not all(task.done() for task in ahead)
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


async def test_a_connection_outlives_the_pause_between_two_looks_at_the_clock():
    peers = set()

    async def handler(request):
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="{}")

    async with stub(handler) as http:
        await http.read("/time")
        await asyncio.sleep(6)  # the clock is read every five seconds
        await http.read("/time")
        assert len(peers) == 1


async def test_a_write_is_sent_once_and_its_silence_proves_nothing():
    seen = []

    async def handler(request):
        seen.append(await request.text())
        await asyncio.sleep(5)

    async with stub(handler) as http:
        with pytest.raises(NoAnswer):
            await http.send("POST", "/order", body="{}")
        assert seen == ["{}"]


async def test_an_oversized_body_is_not_swallowed():
    async def handler(_):
        return web.Response(body=b"x" * (9 * M))

    async with stub(handler) as http:
        with pytest.raises(NoAnswer, match="body over"):
            await http.send("GET", "/big")


async def test_no_connection_is_a_definite_no(tmp_path):
    http = Transport("http://127.0.0.1:9", timeout_s=1, requests_per_s=10)
    with pytest.raises(NotSent):
        await http.send("POST", "/order", body="{}")
    await http.close()
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        r.clob._http = nowhere = Transport("http://127.0.0.1:9", timeout_s=1, requests_per_s=10)
        outcome = await r.clob.post(order)
        assert isinstance(outcome, Deferred)
        await nowhere.close()


async def test_a_dropped_answer_to_a_post_is_unknown(tmp_path):
    async def handler(request):
        await request.read()
        request.transport.abort()
        return web.Response()

    async with rig(tmp_path) as r, stub(handler) as http:
        order = await stored_order(r, posted=False)
        r.clob._http = http
        assert isinstance(await r.clob.post(order), Unknown)


async def test_a_refused_wallet_is_a_configuration_error(tmp_path):
    async def handler(_):
        return web.json_response({"error": "Invalid L1 Request headers"}, status=401)

    async with rig(tmp_path) as r, stub(handler) as http:
        r.clob._http = http
        with pytest.raises(ConfigError, match="the exchange refuses 0x"):
            await r.clob.login()


async def test_who_cannot_be_asked_is_no_restriction_and_a_page_is_one(tmp_path):
    async def cuts(request):
        request.transport.abort()
        return web.Response()

    async def page(_):
        return web.Response(status=403, text="<html>Attention Required</html>")

    async with rig(tmp_path) as r:
        async with stub(cuts) as http:
            r.clob._http = http
            with pytest.raises(Unavailable, match="POST /order"):
                await r.clob.restriction()
            with pytest.raises(Unavailable, match="POST /auth/api-key"):
                await r.clob.login()
        async with stub(page) as http:
            r.clob._http = http
            assert "a page" in await r.clob.restriction()


async def test_an_unreadable_answer_is_unavailable(tmp_path):
    async def handler(_):
        return web.Response(text="<html>")

    async with rig(tmp_path) as r, stub(handler) as http:
        r.clob._http = r.clob.public._http = http
        for call in (
            r.clob.collateral(),
            r.clob.public.refresh_market("0x1"),
            r.clob.fills("0x1", after_s=0),
            r.clob.read_clock(),
        ):
            with pytest.raises(Unavailable):
                await call


async def test_books_follow_the_stream(tmp_path):
    async with rig(tmp_path) as r:
        task = asyncio.create_task(r.books.run())
        token, other = r.market().tokens
        await r.books.watch([token, other], max_age_us=0)
        await until(lambda: r.books.connected and r.books.book(token) is not None, "a first book")
        assert r.books.book(token).asks[0] == (510_000, 400 * M)
        assert r.books.book(other).bids[0] == (490_000, 400 * M)
        maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
        r.sim.exchange.inside(maker, token, "SELL", 505_000, 7 * M, "GTC")
        await until(lambda: r.books.book(token).asks[0] == (505_000, 7 * M), "a new best ask")
        await until(lambda: r.books.book(other).bids[0] == (495_000, 7 * M), "mirrored")
        r.sim.exchange.inside(maker, token, "BUY", 505_000, 7 * M, "GTC")
        await until(lambda: r.books.book(token).asks[0] == (510_000, 400 * M), "and gone")
        for client in r.sim.streams.market_clients:
            for text in (
                "[]",
                "{",
                '[{"event_type":"book"}]',
                json.dumps({"event_type": "tick_size_change", "market": "0x1"}),
            ):
                client.send(text)
        r.sim.exchange.inside(maker, token, "SELL", 505_000, 8 * M, "GTC")
        await until(
            lambda: r.books.book(token).asks[0] == (505_000, 8 * M), "bad frames cost nothing"
        )
        for client in list(r.sim.streams.market_clients):
            client.slow = True
            client.send("{}")
        await until(
            lambda: r.books.shards[0].stream.epoch >= 2 and r.books.book(token) is not None,
            "it comes back",
        )
        assert r.books.book(token).asks[0] == (505_000, 8 * M)
        task.cancel()


async def test_all_pages_of_trades_are_read(tmp_path):
    async with rig(tmp_path) as r:
        market = r.market()
        maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
        for _ in range(130):
            order = r.sim.exchange.inside(maker, market.tokens[0], "SELL", 300_000, 5 * M, "GTC")
            assert order is not None
            r.sim.exchange.inside(r.sim.trader, market.tokens[0], "BUY", 990_000, M, "FAK")
        for trade in r.sim.exchange.trades.values():
            trade.taker.owner_key = r.clob.owner
        assert len((await r.clob.fills(market.condition, after_s=0)).fills) == len(
            r.sim.exchange.trades
        )


async def test_balances_are_asked_slower_than_the_exchange_allows(tmp_path):
    """Fifty updates per ten seconds are documented; whoever asks faster waits, and is refused."""
    async with rig(tmp_path) as r:
        r.sim.director.do_limits({})
        await asyncio.gather(*(r.clob.shares(r.market().tokens[0]) for _ in range(56)))
        assert (r.sim.limits.throttled, r.sim.limits.refused) == (0, 0)
