"""The ledger pays the fees that the exchange charges, however a match is settled."""

import pytest

from bot.sim.quirks import Quirk
from tests.rig import M, rig


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("shares", [3_330_000, 7_770_000])
async def test_fees_of_many_levels_are_equal_to_the_micro_dollar(tmp_path, split, shares):
    async with rig(tmp_path) as r, r.working():
        story, exchange = r.sim.story, r.sim.exchange
        story.depth = shares
        for market in story.markets[:4]:
            story.quote(market)
        if split:
            exchange.quirks.waiting.append(Quirk("split", times=-1))
        for number in range(4):
            await r.sees(market=number, shares=100 * M)
        await r.settled()
        r.assert_equal_to_exchange()
        trades = [trade for trade in exchange.trades.values() if trade.signed]
        levels = [
            sum(len(t.pieces) for t in trades if t.taker.id == digest)
            for digest in exchange.outside
        ]
        assert max(levels) > 1
        assert (len(trades) > len(exchange.outside)) == split
        assert sum(trade.fee for trade in trades) > 0
