"""Leaders are followed, muted and left by the operator's word, without a restart."""

import time

import pytest

from bot.detect.roster import Roster
from bot.errors import UsageError
from bot.ledger import roster
from bot.model.leader import Word
from bot.model.market import Side
from tests.exits import CENT, decided, entered, held
from tests.rig import M, rig, until

NOW_S = 1_790_000_000


async def say(r, wallet, word, **more):
    return await r.ledger.transact(roster.say, wallet, word, now_s=int(time.time()) - 60, **more)


async def looked(r):
    """Let the monitor look once; return the whole list of whom it was told of, if of anybody."""
    told = []

    async def changed(wallets):
        told.extend(wallets)

    await Roster(r.ledger, r.intake, changed).look()
    return told


def active(r, wallet):
    return r.value("SELECT active FROM leader WHERE wallet = ?", wallet)


async def test_who_is_muted_is_watched_and_followed_out(tmp_path):
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1_000 * M)
        assert await say(r, r.leader, Word.MUTE)
        assert await looked(r) == [] and active(r, r.leader) == 1, "he is watched as before"
        await r.sees(shares=100 * M, market=1)
        await decided(r, 2)
        await r.sees(Side.SELL, shares=500 * M)
        await until(lambda: held(r) <= ours // 2 + CENT, "half goes with him")
        await r.settled()
        assert r.reasons() == ["copied", "muted", "copied"]
        assert await say(r, r.leader, Word.FOLLOW)
        await r.sees(shares=110 * M, market=1)
        await decided(r, 4)
        assert r.reasons()[3] == "copied"


async def test_who_is_left_is_followed_out_and_gone(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1_000 * M)
        assert await say(r, r.leader, Word.UNFOLLOW)
        await r.sees(shares=100 * M, market=1)
        await decided(r, 2)
        assert r.reasons()[1] == "not_followed", "at once, whatever the monitor does"
        await looked(r)
        assert active(r, r.leader) == 2 and r.intake.knows(r.leader.lower())
        await r.sees(Side.SELL, shares=1_000 * M)
        await until(lambda: held(r) < CENT, "out")
        await r.settled()
        assert r.leader not in await looked(r)
        assert active(r, r.leader) == 0 and not r.intake.knows(r.leader.lower())


async def test_who_is_new_is_followed_without_a_restart(tmp_path):
    async with rig(tmp_path) as r, r.working():
        new, r.addresses["leaders"][0] = "0x" + "12" * 20, "0x" + "12" * 20
        assert not await say(r, new, Word.MUTE), "nobody knows him"
        assert await say(r, new, Word.FOLLOW, label="new")
        assert new in await looked(r)
        await r.sees(shares=100 * M)
        await decided(r, 1)
        assert r.reasons() == ["copied"]
        assert r.value("SELECT portfolio FROM signal") == f"mirror/{new}"


async def test_what_an_operator_has_said_outlives_a_restart(tmp_path):
    async with rig(tmp_path) as r:
        first, *rest = [s.wallet for s in r.settings.leaders]
        new = "0x" + "12" * 20
        await say(r, first, Word.UNFOLLOW)
        await say(r, rest[0], Word.MUTE)
        await say(r, new, Word.FOLLOW)
        again = [(w, "") for w in (first, *rest)]
        assert await r.ledger.transact(roster.follow, again, now_s=NOW_S)
        assert (active(r, first), active(r, rest[0]), active(r, new)) == (0, 1, 1)
        stands = {}
        for wallet, listed in ((first, True), (rest[0], True), (rest[1], True), (new, False)):
            stands[wallet] = await r.ledger.look(
                lambda tx, w=wallet, known=listed: roster.stands(tx, w, listed=known)
            )
        assert list(stands.values()) == [Word.UNFOLLOW, Word.MUTE, Word.FOLLOW, Word.FOLLOW]
        # What the configuration says anyway is no word of the operator's: it may change its mind.
        await say(r, first, Word.FOLLOW)
        await r.ledger.transact(roster.follow, again[1:], now_s=NOW_S)
        assert (active(r, first), active(r, new)) == (0, 1)
        await say(r, new, Word.UNFOLLOW)
        await looked(r)
        assert active(r, new) == 0


async def test_nobody_follows_himself(tmp_path):
    async with rig(tmp_path) as r:
        ours = r.signer.maker
        with pytest.raises(UsageError, match="own wallet"):
            await say(r, ours, Word.FOLLOW)
        assert await r.ledger.transact(roster.follow, [(ours, "")], now_s=NOW_S)
        assert active(r, ours) == 0
        stands = await r.ledger.look(lambda tx: roster.stands(tx, ours, listed=True))
        assert stands is Word.UNFOLLOW


@pytest.mark.parametrize("number", [roster.AT_ONCE, 2 * roster.AT_ONCE + 1])
async def test_many_are_taken_up_a_few_at_a_time(tmp_path, number):
    async with rig(tmp_path) as r:
        many = [(f"0x{n:040x}", "") for n in range(1, number + 1)]
        turns = 1
        while not await r.ledger.transact(roster.follow, many, now_s=NOW_S):
            turns += 1
        assert turns > number // roster.AT_ONCE
        assert r.value("SELECT COUNT(*) FROM leader WHERE active = 1") == number
        while not await r.ledger.transact(roster.follow, many[:3], now_s=NOW_S):
            continue
        assert r.value("SELECT COUNT(*) FROM leader WHERE active = 1") == 3
