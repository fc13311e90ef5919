"""Answers that say no to who asks, not to what was asked: keys, regions, pages, rows."""

import asyncio
import json

import pytest

from bot.errors import Unavailable
from bot.model.order import Deferred, Rejected
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
        assert isinstance(later, Deferred) and later.cause.startswith("HTTP 401, ")
        assert order.id not in r.sim.exchange.orders, "nothing of it was booked"


async def test_an_order_of_another_key_than_ours_is_never_sent_again(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=False)
        refuse(r, "POST /order")
        other = json.dumps({"apiKey": "another", "secret": "c2VjcmV0", "passphrase": "p"})
        for method in ("POST /auth/api-key", "GET /auth/derive-api-key"):
            r.sim.faults.rules.append(Rule(method, "status", status=200, body=other))
        assert isinstance(await r.clob.post(order), Rejected)


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
        r.sim.faults.rules.append(Rule("DELETE /order", "reset"))
        with pytest.raises(Unavailable, match="DELETE /order"):
            await r.clob.cancel(order.id)
        assert await r.clob.cancel(order.id) is False, "a FAK has ended: there is nothing to cancel"


async def test_a_fill_in_a_market_that_nobody_tells_costs_only_itself(tmp_path):
    async with rig(tmp_path) as r:
        order = await stored_order(r, posted=True)
        assert len((await r.clob.fills(None, after_s=0)).fills) == 1
        r.clob._told.clear()
        r.clob._markets.clear()
        r.sim.faults.rules.append(Rule("GET /clob-markets", "status", -1, status=404))
        told = await r.clob.fills(None, after_s=0)
        assert told.fills == () and told.unreadable[0].token == order.token
        assert "is unknown" in told.unreadable[0].why


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"do": "status", "status": 404}, "HTTP 404"),
        ({"do": "half"}, "unreadable answer"),
        ({"do": "bad_row"}, None),
    ],
)
async def test_what_a_leader_holds_is_known_whole_or_not_at_all(tmp_path, fault, message):
    async with rig(tmp_path) as r:
        leader, token = r.sim.story.leaders[0], r.market().tokens[0]
        r.sim.exchange.inside(leader, token, "BUY", 990_000, M, "FAK")
        http = Transport(r.addresses["data_url"], timeout_s=2, requests_per_s=50)
        data = DataApi(http)
        try:
            for _ in range(600):  # what a leader does shows there a little later
                if held := await data.positions(r.leader):
                    break
                await asyncio.sleep(0.05)
            assert [row[0] for row in held] == [token]
            r.sim.faults.rules.append(Rule("GET /v2/positions", **fault))
            if message is None:
                assert await data.positions(r.leader) == held[1:], "a row that nobody can read"
            else:
                with pytest.raises(Unavailable, match=message):
                    await data.positions(r.leader)
        finally:
            await http.close()
