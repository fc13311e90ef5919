"""The director: every order is healed, what is unknown is refused."""

import pytest

from tests.integration.sim.venue import M, until, venue

#: Each order that makes something worse, and how it is called.
WORSE = [
    ("fault", {"on": "GET /book", "do": "hang", "times": -1}),
    ("quirk", {"do": "killed_late", "times": -1}),
    ("stream", {"channel": "market", "mode": "lapsed"}),
    ("stream", {"channel": "user", "mode": "silent"}),
    ("ceiling", {"assets": 1}),
    ("lookups", {"lag_ms": 5000, "ended": True}),
    ("lags", {"activity_ms": 5000, "positions_ms": 6000}),
    ("delay", {"ms": 5000, "unmatched": True}),
    ("settle", {"ways": ["STUCK"]}),
    ("settle", {"ways": ["RETRYING+FAILED"], "of": "leaders"}),
    ("limits", {"changes": {"clob GET /book": 1}}),
    ("limits", {"off": True}),
    ("region", {"country": "US"}),
    ("mode", {"mode": "restart"}),
    ("closed_only", {}),
    ("allowance", {"allowed": False}),
    ("close", {"market": 0}),
    ("depth", {"shares": 1, "market": 1}),
    ("clock", {"seconds": 500}),
    ("feed", {"mute": True}),
    ("grit", {}),
    ("rtt", {"ms": 40}),
    ("gamma", {"kept_s": 60}),
]


def state(v):
    """What an order can make worse."""
    sim, exchange = v.sim, v.sim.exchange
    gate, settlement, streams = sim.gate, exchange.settlement, sim.streams
    return {
        "rules": (len(sim.faults.rules), len(exchange.quirks.waiting)),
        "streams": ({name: tap.mode for name, tap in streams.taps.items()}, streams.ceiling),
        "lookups": (exchange.lookup_lag_us, sim.clob.ended_lookups),
        "lags": (sim.data.activity_lag_us, sim.data.positions_lag_us),
        "delay": (exchange.delay_us, exchange.unmatched, exchange.clock_us, exchange.grit),
        "ways": (settlement.signed[:], settlement.others[:], len(settlement.stuck)),
        "limits": {name: len(found) for name, found in sim.limits._windows.items()},
        "book": [w.start(0.0) for w in sim.limits._windows.get("clob GET /book", [])],
        "book_size": [w._starts.maxlen for w in sim.limits._windows.get("clob GET /book", [])],
        "gate": (gate.country, gate.blocked, gate.orders, gate.mode),
        "wallet": (sim.trader.closed_only, sim.trader.allowed),
        "feed": sim.director.mute_feed,
        "way": (sim.stopwatch.rtt_ms, streams.rtt_s, sim.catalogue.kept_s),
        "markets": [market.accepting for market in sim.story.markets],
        "depth": [
            [
                sum(side.values())
                for side in exchange.books[market.condition].levels(market.tokens[0])
            ]
            for market in sim.story.markets
        ],
    }


@pytest.mark.parametrize(
    ("order", "arguments"), WORSE, ids=[f"{o}-{i}" for i, (o, _) in enumerate(WORSE)]
)
async def test_healing_takes_back_what_an_order_has_made_worse(order, arguments):
    async with venue() as v:
        before = state(v)
        await v.do(order, **arguments)
        assert state(v) != before
        await v.do("heal")
        assert state(v) == before


@pytest.mark.parametrize(
    ("order", "arguments", "message"),
    [
        ("explode", {}, "no such order: explode"),
        ("trade", {"loudly": True}, "unexpected keyword"),
        ("trade", {"market": 99}, "out of range"),
        ("mode", {"mode": "asleep"}, "expected one of open"),
        ("region", {"orders": "eaten"}, "expected one of taken"),
        ("fault", {"on": "GET /", "do": "x"}, "expected one of reset"),
        ("stream", {"channel": "user", "mode": "loud"}, "expected one of clean"),
        ("stream", {"channel": "x", "mode": "clean"}, "x"),
    ],
)  # fmt: skip
async def test_an_order_that_makes_no_sense_is_refused(order, arguments, message):
    async with venue() as v:
        assert message in (await v.ask(order, **arguments))["error"]


@pytest.mark.parametrize(("side", "outcome"), [("BUY", 0), ("BUY", 1), ("SELL", 0)])
async def test_one_resting_order_is_filled_in_many_transactions(side, outcome):
    async with venue() as v:
        leader, token = v.sim.story.leaders[2], v.market(1).tokens[outcome]
        leader.shares[token] = 100 * M
        txs = (
            await v.do("drip", leader=2, market=1, outcome=outcome, side=side, shares=50, fills=7)
        )["tx"]
        assert len(set(txs)) == 7
        await until(lambda: v.sim.truth()["settled"], "settled")
        assert leader.shares[token] == (150 if side == "BUY" else 50) * M
        rows = await v.eventually(lambda: v.activity(leader.wallet), "the index has it")
        assert [row["side"] for row in rows] == [side] * 7
        assert round(sum(row["size"] for row in rows) * M) == 50 * M


async def test_a_leaders_purchase_may_be_many_transactions():
    async with venue() as v:
        answer = await v.do("trade", leader=0, market=0, usdc=500, split=True)
        assert len(set(answer["txs"])) == 3
        assert answer["txs"][0] == answer["tx"]
        groups = v.sim.truth()["leader_trades"]
        assert [group[0] for group in groups] == answer["txs"]
        await v.do("trade", leader=0, market=0, side="SELL")
        await until(lambda: v.sim.truth()["settled"], "settled")


async def test_leaders_receive_and_send_shares_without_a_word():
    async with venue() as v:
        leader, token = v.sim.story.leaders[0], v.market(0).tokens[1]
        await v.do("gift", market=0, outcome=1, shares=30, leader=0)
        await v.do("gift", market=0, outcome=1, shares=-10, leader=0)
        assert leader.shares == {token: 20 * M}
        assert await v.activity(leader.wallet) == []
        assert [row["current_size"] for row in await v.positions(leader.wallet)] == [20]


async def test_hundreds_of_markets_are_listed_and_can_be_traded():
    async with venue() as v:
        assert len((await v.do("list", number=300))["conditions"]) == 300
        await v.do("list", version="v2")
        assert (await v.do("trade", leader=0, market=306))["tx"]
        assert v.market(307).version == "v2"
        assert (await v.order(0.4, 10, market=200))[0] == 200
        assert "expected v1 or v2" in (await v.ask("list", version="v3"))["error"]


@pytest.mark.parametrize("outcome", [0, 1])
async def test_bids_come_back_for_either_token(outcome):
    async with venue() as v:
        market = v.market(1)

        def bid():
            return max(v.sim.exchange.books[market.condition].levels(market.tokens[outcome])[0])

        await v.do("bid", token=market.tokens[outcome], price=640_000)
        assert bid() == 640_000
        await v.do("bid", token=market.tokens[outcome], price=300_000)
        assert bid() == 640_000, "more is bid already"


async def test_the_way_from_a_trades_frame_to_an_order_is_timed_for_whoever_trades():
    async with venue() as v:
        await v.do("makers", market=0, number=50, shares=20)
        sold = (await v.do("trade", market=0, usdc=500, split=True))["txs"]
        assert len(sold) == 50, "each resting order is a transaction of its own"
        token = v.market(0).tokens[0]
        await until(lambda: token in v.sim.stopwatch._mined, "in a block")
        assert (await v.do("passed"))["mined_ms"] == {}
        await v.get("/book", token_id=token)
        await v.order(0.9, 10, "BUY", "FAK")
        found = await v.do("passed", reset=True)
        assert found["said_ms"][token] > found["mined_ms"][token] > 0 and found["looks"] >= 1
        nothing = {"ok": True, "mined_ms": {}, "said_ms": {}, "looks": 0}
        assert await v.do("passed") == nothing
