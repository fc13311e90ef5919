"""Books over several connections, below the exchange's ceilings, and never believed blindly."""

import asyncio
import contextlib
import time

from bot.detect.intake import Intake
from bot.execution.prefetch import Warmer, prefetch
from bot.ledger import facts
from bot.ledger.db import insert
from bot.model.market import Side
from bot.polymarket.books import MAX_SHARDS, Books
from bot.polymarket.shard import ROOM
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.rig import M, rig, until

HOUR = 3600 * M


@contextlib.asynccontextmanager
async def watching(r, **more):
    url = r.settings.venue.market_ws_url
    books = Books(url, r.clob.public, now_us=now_us, **more)
    task = asyncio.create_task(books.run())
    try:
        await until(lambda: books.connected, "connects")
        yield books
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def tokens_of(r) -> list[str]:
    return [token for market in r.sim.exchange.markets.values() for token in market.tokens]


def wanted(r) -> list[int]:
    return sorted(len(client.wants) for client in r.sim.streams.market_clients)


def offer(r, token, price, shares) -> None:
    maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
    r.sim.exchange.inside(maker, token, "SELL", price, shares, "GTC")


async def test_three_hundred_markets_go_to_several_connections_and_few_requests(tmp_path):
    async with rig(tmp_path) as r:
        r.sim.director.acts.do_list(number=300)
        tokens = tokens_of(r)
        async with watching(r) as books:
            await books.watch(tokens, max_age_us=HOUR)
            await until(lambda: sum(wanted(r)) == len(tokens), "all are subscribed to")
            assert r.sim.streams.beyond == 0 and max(wanted(r)) <= ROOM
            await until(lambda: all(books.book(token) for token in tokens), "all are known")
            asked = r.sim.limits.asked
            assert asked["clob GET /book"] == 0 and asked["clob POST /books"] <= 8


async def test_what_was_watched_longest_ago_gives_way_and_is_unsubscribed(tmp_path):
    async with rig(tmp_path) as r:
        r.sim.director.acts.do_list(number=10)
        tokens = tokens_of(r)
        async with watching(r, room=2) as books:
            for token in tokens[: 2 * MAX_SHARDS + 3]:
                await books.watch([token], max_age_us=HOUR)
            await books.watch([tokens[3]], max_age_us=HOUR)  # used again: it stays
            await books.watch([tokens[14]], max_age_us=HOUR)
            await until(lambda: sum(wanted(r)) == 2 * MAX_SHARDS, "no more than there is room for")
            assert max(wanted(r)) <= 2
            assert books.book(tokens[0]) is None and books.book(tokens[4]) is None
            assert books.book(tokens[3]) is not None


async def test_watches_side_by_side_fill_no_connection_beyond_its_room(tmp_path):
    async with rig(tmp_path) as r:
        r.sim.director.acts.do_list(number=10)
        async with watching(r, room=2) as books:
            tokens = tokens_of(r)[:8]
            await asyncio.gather(*(books.watch([token], max_age_us=HOUR) for token in tokens))
            await until(lambda: sum(wanted(r)) == 8, "all are subscribed to")
            assert max(wanted(r)) == 2 and max(len(s.tokens) for s in books.shards) == 2


async def test_who_is_cancelled_while_he_subscribes_leaves_no_token_behind(tmp_path):
    async with rig(tmp_path) as r:
        r.sim.director.acts.do_list(number=20)
        tokens = tokens_of(r)
        async with watching(r, room=2) as books:
            for start in range(0, 30, 10):
                impatient = asyncio.create_task(
                    books.watch(tokens[start : start + 10], max_age_us=HOUR)
                )
                await asyncio.sleep(0)
                impatient.cancel()
                await asyncio.gather(impatient, return_exceptions=True)
            carried = {token for shard in books.shards for token in shard.tokens}
            assert carried == set(books._carried) == set(tokens[20:30])
            await until(lambda: subscribed(r) == carried, "the exchange was told all the same")


def subscribed(r) -> set:
    return {token for client in r.sim.streams.market_clients for token in client.wants}


async def test_of_too_many_the_last_stay_and_what_is_held_comes_last(tmp_path):
    async with rig(tmp_path) as r:
        r.sim.director.acts.do_list(number=10)
        async with watching(r, room=2) as books:
            tokens = tokens_of(r)[: 2 * MAX_SHARDS + 3]
            for _ in range(2):
                await books.watch(tokens, max_age_us=HOUR)
                assert set(books._carried) == set(tokens[3:])
        await r.sees(market=1)
        held = {"portfolio": "external", "condition": "0x0", "shares": M, "cost": 0, "realized": 0}
        await r.ledger.transact(insert, "position", {**held, "token": "1", "updated_us": 1})
        await r.sees(market=2)
        used = await r.ledger.look(facts.recent_markets, 0)
        assert used[-1] == ("0x0", "1") and len(used) == 3


async def test_a_lost_event_is_noticed_by_the_best_prices_of_the_next(tmp_path):
    async with rig(tmp_path) as r:
        token = r.market().tokens[0]
        async with watching(r) as books:
            await books.watch([token], max_age_us=HOUR)
            await until(lambda: token in books.shards[0].named, "the channel tells of it")
            r.sim.streams.tap("market", "lossy")
            offer(r, token, 505_000, 7 * M)  # this is lost
            offer(r, token, 600_000, 3 * M)  # this tells that the best ask is another one
            r.sim.streams.tap("market", "clean")
            await until(
                lambda: (b := books.book(token)) and b.asks[0] == (505_000, 7 * M), "fetched"
            )


async def test_what_the_channel_has_never_named_is_not_kept_fresh_by_it(tmp_path):
    async with rig(tmp_path) as r:
        quiet, busy = r.market(0).tokens[0], r.market(1).tokens[0]
        r.sim.streams.ceiling = 1  # it says nothing of what is beyond
        async with watching(r) as books:
            await books.watch([busy], max_age_us=HOUR)
            await until(lambda: busy in books.shards[0].named, "the first is told of")
            await books.watch([quiet], max_age_us=0)
            before = books.book(quiet).seen_us
            heard = books.shards[0].stream.data_heard
            offer(r, busy, 505_000, 7 * M)
            await until(lambda: books.shards[0].stream.data_heard > heard, "data comes")
            assert books.book(quiet).seen_us == before
            assert books.book(busy).seen_us > before


async def test_a_quiet_connection_hears_a_busy_token_so_that_its_silence_means_something(tmp_path):
    async with rig(tmp_path) as r:
        quiet, busy = r.market(0).tokens[0], r.market(1).tokens[0]
        async with watching(r, room=1, canary_s=0.2) as books:
            await books.watch([quiet], max_age_us=HOUR)
            await books.watch([busy], max_age_us=HOUR)
            first = books.shards[0]

            def stirs() -> bool:
                offer(r, busy, 505_000 + int(time.monotonic() * 100) % 90 * 1000 // 1000 * 1000, M)
                return first.canary == busy

            await until(stirs, "a canary is chosen")
            assert first.stream.silence_s is not None
            before = books.book(quiet).seen_us
            await until(
                lambda: stirs() and books.book(quiet).seen_us > before + M // 10, "it is fresh"
            )
            assert books.book(quiet).asks[0] != (505_000, M), "the canary's events are its own"


async def test_a_market_is_asked_for_before_its_signal_is_stored(tmp_path):
    async with rig(tmp_path) as r, watching(r) as books:
        warmer, market = Warmer(books, max_age_us=HOUR), r.market()
        warmed: list[int] = []

        def warm(fill) -> None:
            warmed.append(r.value("SELECT COUNT(*) FROM signal"))
            warmer.warm(fill.condition, fill.token)

        intake = Intake(r.ledger, lambda _: None, now_us, warm, provisional=lambda: True)
        await intake.load()
        r.intake = intake
        await r.sees()
        await r.sees(Side.SELL)
        assert warmed == [0], "once, for the purchase, and nothing is stored yet"
        token = market.tokens[0]
        await until(
            lambda: books.at_hand(market.condition, token, max_age_us=HOUR), "facts and book"
        )
        await until(lambda: not asking(), "it has been asked for")
        warmer.warm(market.condition, token)
        assert not asking(), "what is at hand is not asked for"


def asking() -> bool:
    """Return whether a warmer asks for anything."""
    return any(task.get_name() == "warm" for task in asyncio.all_tasks())


async def test_an_entry_that_needs_no_book_does_not_wait_for_one(tmp_path):
    async with rig(tmp_path, strategy={"book": "if_fresh"}) as r, r.working():
        r.sim.faults.rules.append(Rule("GET /book", "hang", times=-1))
        r.sim.streams.tap("market", "silent")
        await r.sees()
        await until(lambda: r.reasons() == ["copied"], "a decision")
        await r.settled()
        assert r.value("SELECT price FROM orders") == 530_000
        assert r.sim.limits.asked["clob GET /book"] == 0


async def test_no_book_is_kept_ready_of_a_market_that_takes_no_orders(tmp_path):
    async with rig(tmp_path) as r, watching(r) as books:
        await r.sees(market=0)
        await r.sees(market=1)
        r.sim.director.acts.do_close(0, quotes=True)
        await prefetch(r.ledger, books, r.clob.public, now_us=now_us())
        assert set(books._carried) == set(r.market(1).tokens)
