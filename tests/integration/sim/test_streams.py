"""Channels that go quiet in different ways, and what one connection may ask for."""

import dataclasses

import pytest

from tests.integration.sim.venue import CALM, M, until, venue


async def noise(v, channel):
    """Let something happen that the channel tells of."""
    if channel == "user":
        token = v.market().tokens[0]
        key = v.client.creds.api_key
        v.sim.exchange.inside(v.sim.trader, token, "BUY", 400_000, 10 * M, "GTC", owner_key=key)
    else:
        await v.do("trade", leader=0, market=0, usdc=40)


def heard_of(channel):
    return {"market": "last_trade_price", "user": "order", "rtds": "activity"}[channel]


@pytest.mark.parametrize("channel", ["market", "user", "rtds"])
async def test_a_lapsed_client_gets_pongs_and_no_data_until_it_subscribes_again(channel):
    kind = heard_of(channel)
    async with venue() as v, v.listening(channel) as old:
        await noise(v, channel)
        await until(lambda: old.of(kind), "data")
        await v.do("stream", channel=channel, mode="lapsed")
        await old.pinged()
        before = len(old.frames)
        async with v.listening(channel) as new:
            await noise(v, channel)
            await until(lambda: new.of(kind), "a new connection gets data")
            await old.pinged()
            assert len(old.frames) == before
            assert (await v.do("idle"))["streams"][channel][0] == "lapsed"
            assert (await v.do("idle"))["streams"][channel][1] > 0
        await old.say(v.subscription(channel))
        await old.pinged()
        await noise(v, channel)
        await until(lambda: len(old.of(kind)) > 1, "it is subscribed again")


@pytest.mark.parametrize("channel", ["market", "user", "rtds"])
async def test_healing_ends_a_lapse(channel):
    async with venue() as v, v.listening(channel) as heard:
        await v.do("stream", channel=channel, mode="lapsed")
        await v.do("heal")
        await noise(v, channel)
        await until(lambda: heard.of(heard_of(channel)), "data")


async def test_a_lapse_of_one_channel_leaves_the_others_alone():
    async with venue() as v, v.listening("market") as market, v.listening("rtds") as rtds:
        await v.do("stream", channel="market", mode="lapsed")
        before = len(market.frames)
        await noise(v, "rtds")
        await until(lambda: rtds.of("activity"), "data")
        await market.pinged()
        assert len(market.frames) == before


async def test_silence_mutes_the_pongs_as_well():
    async with venue() as v, v.listening("market") as heard:
        await v.do("stream", channel="market", mode="silent")
        await heard.say("PING")
        before = heard.pongs
        await noise(v, "market")
        await v.do("stream", channel="market", mode="clean")
        await heard.pinged()
        assert heard.pongs == before + 1
        assert not heard.of("last_trade_price")


async def test_assets_above_the_ceiling_get_nothing_and_nobody_says_so():
    plan = dataclasses.replace(CALM, max_assets=3)
    async with venue(plan) as v:
        tokens = [token for number in (0, 1, 2) for token in v.market(number).tokens]
        async with v.listening("market", {"type": "market", "assets_ids": tokens}) as heard:
            assert [frame["asset_id"] for frame in heard.of("book")] == sorted(tokens[:3])
            assert (await v.do("idle"))["beyond"] == 3
            await v.do("trade", leader=0, market=2)
            await v.do("trade", leader=0, market=0)
            await until(lambda: heard.of("last_trade_price"), "the first market")
            await heard.pinged()
            assert {f["market"] for f in heard.of("last_trade_price")} == {v.market(0).condition}
            # Room that is given back can be used again.
            await heard.say({"operation": "unsubscribe", "assets_ids": tokens[:2]})
            await heard.say({"operation": "subscribe", "assets_ids": tokens[4:]})
            await heard.pinged()
            assert {frame["asset_id"] for frame in heard.of("book")} == {*tokens[:3], *tokens[4:]}


async def test_what_is_asked_for_twice_takes_no_room_twice():
    async with venue(dataclasses.replace(CALM, max_assets=4)) as v:
        tokens = [token for number in (0, 1) for token in v.market(number).tokens]
        async with v.listening("market", {"type": "market", "assets_ids": tokens[:2]}) as heard:
            await heard.say({"operation": "subscribe", "assets_ids": tokens})
            await heard.pinged()
            assert {frame["asset_id"] for frame in heard.of("book")} == set(tokens)
            assert (await v.do("idle"))["beyond"] == 0


async def test_the_ceiling_can_be_set_and_heals():
    async with venue() as v:
        tokens = [token for number in (0, 1) for token in v.market(number).tokens]
        await v.do("ceiling", assets=1)
        async with v.listening("market", {"type": "market", "assets_ids": tokens}) as heard:
            assert len(heard.of("book")) == 1
        await v.do("heal")
        async with v.listening("market", {"type": "market", "assets_ids": tokens}) as heard:
            assert len(heard.of("book")) == 4


async def test_what_is_subscribed_already_is_not_sent_again():
    async with venue() as v, v.listening("market") as heard:
        assert len(heard.of("book")) == 2
        await heard.say({"operation": "subscribe", "assets_ids": list(v.market().tokens)})
        await heard.pinged()
        assert len(heard.of("book")) == 2
