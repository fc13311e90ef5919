"""Answers that say no to who asks, not to what was asked: keys, markets, rows."""

import asyncio
import contextlib
import json

import pytest

from bot.errors import Unavailable
from bot.model.order import Deferred, Rejected, RejectReason
from bot.polymarket.data_api import DataApi
from bot.polymarket.transport import Transport
from bot.sim.faults import Rule
from tests.rig import M, rig, stored_order

UNKNOWN_KEY = '{"error": "Unauthorized/Invalid api key"}'


def refuse(r, on: str, times: int = 1) -> None:
    """Let the exchange answer that it does not know our API key."""
    r.sim.faults.rules.append(Rule(on, "status", times, status=401, body=UNKNOWN_KEY))


async def test_an_order_whose_key_was_forgotten_there_waits_for_the_next_login(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        refuse(r, "POST /order")
        assert await r.clob.post(order) == Deferred("HTTP 401, logged in again")
        refuse(r, "POST /order")
        r.sim.faults.rules.append(Rule("GET /time", "status", -1))
        later = await r.clob.post(order)
        assert isinstance(later, Deferred) and "HTTP 503" in later.cause
        assert order.id not in r.sim.exchange.orders, "nothing of it was booked"


async def test_an_order_of_another_key_than_ours_is_never_sent_again(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        refuse(r, "POST /order")
        other = json.dumps({"apiKey": "another", "secret": "c2VjcmV0", "passphrase": "p"})
        for method in ("POST /auth/api-key", "GET /auth/derive-api-key"):
            r.sim.faults.rules.append(Rule(method, "status", status=200, body=other))
        refused = await r.clob.post(order)
        assert isinstance(refused, Rejected) and refused.reason == RejectReason.CREDENTIALS


async def test_evidence_logs_in_again_once_and_then_says_so(tmp_path):
    async with rig(tmp_path) as r:
        refuse(r, "GET /data/trades")
        assert (await r.clob.fills(None, after_s=0)).fills == ()
        refuse(r, "GET /data/trades", times=2)
        with pytest.raises(Unavailable, match="does not know this API key"):
            await r.clob.fills(None, after_s=0)


async def test_a_cancel_without_an_answer_proves_nothing(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=True)
        refuse(r, "DELETE /order")
        with pytest.raises(Unavailable, match="HTTP 401"):
            await r.clob.cancel(order.id)
        r.sim.faults.rules.append(Rule("DELETE /order", "reset", times=2))
        with pytest.raises(Unavailable, match="DELETE /order"):
            await r.clob.cancel(order.id)
        assert await r.clob.cancel(order.id) is False, "a FAK has ended: there is nothing to cancel"


async def test_a_fill_in_a_market_that_nobody_tells_costs_only_itself(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=True)
        assert len((await r.clob.fills(None, after_s=0)).fills) == 1
        r.clob.public.told.clear()
        r.clob.public._markets.clear()
        r.sim.faults.rules.append(Rule("GET /clob-markets", "status", -1, status=404))
        told = await r.clob.fills(None, after_s=0)
        assert told.fills == () and told.unreadable[0].token == order.token
        assert "is unknown" in told.unreadable[0].why


@contextlib.asynccontextmanager
async def holding(r):
    """Yield the Data API once it shows the one position of a leader, and that position."""
    leader, token = r.sim.story.leaders[0], r.market().tokens[0]
    r.sim.exchange.inside(leader, token, "BUY", 990_000, M, "FAK")
    http = Transport(r.addresses["data_url"], timeout_s=2, requests_per_s=50)
    data = DataApi(http)
    try:
        assert [row[0] for row in await shown(r, data, 1)] == [token]
        yield data
    finally:
        await http.close()


async def shown(r, data, count):
    """Return a leader's positions once there are so many: what he does shows a little later."""
    for _ in range(600):
        if len(held := (await data.positions(r.leader)).held) == count:
            return held
        await asyncio.sleep(0.05)
    raise AssertionError(f"never shown: {count} positions")


@pytest.mark.parametrize(
    ("fault", "message"),
    [({"do": "status", "status": 404}, "HTTP 404"), ({"do": "half"}, "unreadable answer")],
)
async def test_no_answer_is_not_taken_for_a_leader_who_holds_nothing(tmp_path, fault, message):
    async with rig(tmp_path) as r, holding(r) as data:
        r.sim.faults.rules.append(Rule("GET /v2/positions", **fault))
        with pytest.raises(Unavailable, match=message):
            await data.positions(r.leader)


async def test_a_position_that_nobody_can_read_costs_itself_alone(tmp_path):
    async with rig(tmp_path) as r, holding(r) as data:
        leader, other = r.sim.story.leaders[0], r.market(1).tokens[0]
        r.sim.exchange.inside(leader, other, "BUY", 990_000, M, "FAK")
        held = await shown(r, data, 2)
        r.sim.faults.rules.append(Rule("GET /v2/positions", "bad_row"))
        answer = await data.positions(r.leader)
        assert (answer.held, answer.refused) == (held[1:], 1)
