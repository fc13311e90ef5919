"""How a market has ended.

Believed where the CLOB and Gamma agree, stored once, told to nobody twice.
"""

import contextlib

import pytest

from bot.detect.life import MarketLife
from bot.errors import Unavailable
from bot.ledger import markets
from bot.polymarket.resolution import Resolutions
from bot.polymarket.transport import Transport
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.exits import entered
from tests.rig import rig


@contextlib.asynccontextmanager
async def asking(r):
    clob = Transport(r.settings.venue.clob_url, timeout_s=5, requests_per_s=100)
    gamma = Transport(r.settings.venue.gamma_url, timeout_s=5, requests_per_s=100)
    try:
        yield Resolutions(clob, gamma)
    finally:
        await clob.close()
        await gamma.close()


def ends(r, payouts=(1, 0), stage="resolved") -> None:
    r.sim.director.acts.do_life(0, stage, payouts)


@pytest.mark.parametrize("payouts", [(1, 0), (0, 1), (1, 1)])
async def test_a_market_ends_when_both_say_so(tmp_path, payouts):
    async with rig(tmp_path) as r, asking(r) as resolutions:
        market = r.market()
        asked = (market.condition, tuple(market.tokens))
        assert await resolutions.payouts(*asked) is None, "it trades"
        for stage in ("closed", "proposed", "disputed"):
            ends(r, payouts, stage)
            assert await resolutions.payouts(*asked) is None, stage
        ends(r, payouts)
        body = '[{"conditionId": "%s", "closed": true, "umaResolutionStatus": "proposed"}]'
        r.sim.faults.rules.append(
            Rule("GET /gamma/markets", "status", status=200, body=body % market.condition)
        )
        assert await resolutions.payouts(*asked) is None, "Gamma knows of a proposal"
        assert await resolutions.payouts(*asked) == payouts
        swapped = (market.condition, tuple(reversed(market.tokens)))
        assert await resolutions.payouts(*swapped) == tuple(reversed(payouts))


async def test_who_does_not_answer_ends_no_market(tmp_path):
    async with rig(tmp_path) as r, asking(r) as resolutions:
        ends(r)
        asked = (r.market().condition, tuple(r.market().tokens))
        for where in ("GET /markets/", "GET /gamma/markets"):
            r.sim.faults.rules.append(Rule(where, "status", status=200, body="<html>", times=-1))
            with pytest.raises(Unavailable):
                await resolutions.payouts(*asked)
            r.sim.faults.rules.clear()


async def test_an_end_is_stored_once(tmp_path):
    async with rig(tmp_path) as r, asking(r) as resolutions:
        async with r.working():
            await entered(r)
        told: list[str] = []
        life = MarketLife(r.ledger, resolutions, told.append, now_us)
        await life.look()
        assert told == []
        ends(r)
        await life.look()
        await life.look()
        assert told == [r.market().condition]
        again = await r.ledger.transact(
            markets.end, r.market().condition, (0, 1), source="later", now_us=now_us()
        )
        assert not again
        assert (await r.ledger.look(markets.ended, r.market().condition)).payouts == (1, 0)
