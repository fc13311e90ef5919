"""What was told of and did not happen is taken back: stories 18 to 20."""

import dataclasses

from bot.detect.fold import Sight
from bot.model.leader import FactState
from bot.model.market import Side
from bot.runtime import now_us
from tests.exits import CENT, decided, held
from tests.rig import M, rig, until

EARLY = "rtds:1"  #: a stream, which tells of what no block may have


async def proves(r, fill, state, total=(0, 0)):
    """Let the chain prove what became of a fact."""
    fill = dataclasses.replace(fill, wallet=fill.wallet.lower())
    await r.intake.take([Sight("chain", fill, total, now_us(), state, 90_000_001)])


async def test_story_18_a_provisional_purchase_that_is_never_mined_is_unwound(tmp_path):
    async with rig(tmp_path) as r, r.working():
        fill = await r.sees(shares=100 * M, source=EARLY)
        await decided(r, 1)
        await r.settled()
        assert held(r) > 0
        await proves(r, fill, FactState.REVERTED)
        await until(lambda: held(r) < CENT, "it is sold again")
        await r.settled()
        assert r.reasons() == ["copied", "copied"]
        assert r.value("SELECT shares FROM leader_position") == 0
        r.assert_equal_to_exchange()


async def test_story_18_kept_it_is_an_orphan_that_only_the_operator_closes(tmp_path):
    keep = {"strategy": {"on_revert": "keep"}}
    async with rig(tmp_path, **keep) as r, r.working():
        fill = await r.sees(shares=100 * M, source=EARLY)
        await decided(r, 1)
        await r.settled()
        ours = held(r)
        await proves(r, fill, FactState.REVERTED)
        await decided(r, 2)
        await r.settled()
        assert r.reasons() == ["copied", "orphan"]
        assert held(r) == ours > 0
        assert r.query("SELECT shares, leader FROM cover") == [{"shares": ours, "leader": 0}]
        assert r.value("SELECT orphan FROM position") == 1


async def test_story_18_kept_where_he_still_holds_some_all_of_ours_follows_that(tmp_path):
    keep = {"strategy": {"on_revert": "keep"}}
    async with rig(tmp_path, **keep) as r, r.working():
        await r.sees(shares=1_000 * M, source="data_api")
        await decided(r, 1)
        await r.settled()
        ours = held(r)
        more = await r.sees(shares=50 * M, source=EARLY)
        await decided(r, 2)
        await proves(r, more, FactState.REVERTED)
        await decided(r, 3)
        await r.settled()
        assert held(r) == ours > 0 and r.value("SELECT orphan FROM position") == 0
        assert r.query("SELECT shares, leader FROM cover") == [
            {"shares": ours, "leader": 1_000 * M}
        ]
        await r.sees(Side.SELL, shares=1_000 * M, source="data_api")
        await until(lambda: held(r) < CENT, "he left, and so do we")
        await r.settled()


async def test_story_19_a_sale_that_did_not_happen_buys_nothing_and_the_cover_begins_anew(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await r.sees(shares=1_000 * M, source=EARLY)
        await decided(r, 1)
        await r.settled()
        before = held(r)
        sold = await r.sees(Side.SELL, shares=500 * M, source=EARLY)
        await decided(r, 2)
        await until(lambda: held(r) < before, "half is sold")
        await r.settled()
        ours = held(r)
        await proves(r, sold, FactState.REVERTED)
        await decided(r, 3)
        await r.settled()
        assert held(r) == ours
        assert r.value("SELECT shares FROM leader_position") == 1_000 * M
        assert r.query("SELECT shares, leader FROM cover") == [
            {"shares": ours, "leader": 1_000 * M}
        ]
        await r.sees(Side.SELL, shares=500 * M, source=EARLY)
        await until(lambda: held(r) <= ours // 2 + CENT, "half of what we have goes with him")
        await r.settled()


async def test_story_20_one_fill_under_two_hashes_is_one(tmp_path):
    async with rig(tmp_path) as r, r.working():
        first = await r.sees(shares=100 * M, source=EARLY)
        await decided(r, 1)
        await r.settled()
        ours = held(r)
        again = await r.sees(shares=100 * M, tx="0x" + "ab" * 32, source=EARLY)
        await proves(r, again, FactState.MINED, (100 * M, 51 * M))
        assert r.value("SELECT shares FROM leader_position") == 100 * M
        # What was decided on is the one that has a block; its twin tells of nothing any more.
        copied = "SELECT t.tx FROM decision d JOIN signal s ON s.id = d.signal_id"
        assert r.value(f"{copied} JOIN leader_trade t ON t.id = s.trade_id") == again.tx
        await proves(r, first, FactState.REVERTED)
        await proves(r, again, FactState.FINAL, (100 * M, 51 * M))
        await r.settled()
        assert r.reasons() == ["copied"]
        assert r.value("SELECT shares FROM leader_position") == 100 * M
        assert held(r) == ours > 0
        r.assert_equal_to_exchange()


async def test_story_20_twins_that_are_both_mined_are_two(tmp_path):
    async with rig(tmp_path) as r, r.working():
        first = await r.sees(shares=100 * M, source=EARLY)
        await decided(r, 1)
        again = await r.sees(shares=100 * M, tx="0x" + "ab" * 32, source=EARLY)
        for fill, told in ((again, 1), (first, 2)):
            await proves(r, fill, FactState.MINED, (100 * M, 51 * M))
            await decided(r, told)
        await r.settled()
        assert r.value("SELECT shares FROM leader_position") == 200 * M
        assert r.value("SELECT COUNT(DISTINCT trade_id) FROM signal") == 2


async def test_story_20_of_two_hashes_that_were_both_acted_on_one_is_unwound(tmp_path):
    async with rig(tmp_path) as r, r.working():
        first = await r.sees(shares=100 * M, source=EARLY)
        await decided(r, 1)
        again = await r.sees(shares=120 * M, tx="0x" + "ab" * 32, source=EARLY)
        await decided(r, 2)
        await r.settled()
        await proves(r, again, FactState.MINED, (120 * M, 61 * M))
        await proves(r, first, FactState.REVERTED)
        await decided(r, 3)
        await r.settled()
        assert r.value("SELECT shares FROM leader_position") == 120 * M
        await proves(r, again, FactState.FINAL, (120 * M, 61 * M))
        assert r.value("SELECT shares FROM leader_position") == 120 * M
        r.assert_equal_to_exchange()
