"""Exits: none is lost, doubled or given away.

Not by anything that the exchange, the operator or a restart does.
"""

from bot.ledger import account, control, intents, roster
from bot.model.control import ControlMode
from bot.model.market import Side
from bot.report.audit import mismatches
from bot.report.reader import read
from bot.runtime import now_us
from bot.sim.faults import Rule
from tests.exits import bids, empties, entered, exit_of, held, later, sold, waits
from tests.rig import M, rig, steer, until


async def test_a_leader_who_is_followed_no_more_is_followed_out(tmp_path):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r)
        r.settings = r.settings.model_copy(update={"leaders": r.settings.leaders[1:]})
        await r.ledger.transact(
            roster.follow, [(s.wallet, "") for s in r.settings.leaders], now_s=now_us() // M
        )
        assert r.value("SELECT active FROM leader WHERE wallet = ?", r.leader) == 2, "leaving"
        await r.intake.load()
        async with r.working():
            await r.sees(market=1)
            await until(lambda: "not_followed" in r.reasons(), "no entry")
            await r.sees(Side.SELL)
            await until(lambda: held(r) < 10_000, "the exit")
            await r.settled()
            r.assert_equal_to_exchange()
        await r.ledger.transact(roster.follow, [], now_s=now_us() // M)
        assert r.value("SELECT active FROM leader WHERE wallet = ?", r.leader) == 0, "gone"


async def test_a_fill_that_never_mines_holds_up_its_own_shares_only(tmp_path):
    async with rig(tmp_path) as r, r.working():
        settled = await entered(r)
        r.sim.exchange.timing.mined = 3600 * M
        await later(r)
        await r.sees(shares=50 * M, leader=0, tx="0x" + "77" * 32)
        await until(
            lambda: r.value("SELECT COUNT(*) FROM fill WHERE settlement = 'matched'"), "stuck"
        )
        assert held(r) > settled
        await r.sees(Side.SELL, shares=150 * M)
        await until(lambda: sold(r) > 0, "what has settled is sold")
        assert sold(r) == settled - settled % 10_000
        waits = "SELECT waits FROM intent WHERE state = 'open' AND target = 0"
        await until(lambda: "not settled" in (r.value(waits) or ""), "and the rest waits")
        assert held(r) > 0


async def test_a_token_with_unread_trades_waits(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        token = f"{control.IN_TOKEN}{r.market().tokens[0]}"
        await r.ledger.transact(control.lock, token, "a trade that nobody can read")
        await r.sees(Side.SELL)
        await until(lambda: "trades of this token" in waits(r), "it waits")
        assert sold(r) == 0
        await r.ledger.transact(control.unlock, token)
        await r.ledger.transact(intents.wake, now_us=now_us())
        await until(lambda: held(r) < 10_000, "sold")
        await r.settled()


async def test_a_resume_tries_standing_exits_at_once(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        await steer(r, ControlMode.HALTED)
        await r.sees(Side.SELL)
        await until(lambda: "halted" in waits(r), "stopped")
        due_us = "SELECT due_us FROM intent WHERE state = 'open'"
        assert r.value(due_us) > now_us() + 10 * M, "due later"
        await steer(r, ControlMode.RUNNING)
        due = r.value(due_us)
        assert due is None or due <= now_us()
        await until(lambda: held(r) < 10_000, "sold")
        await r.settled()


async def test_progress_begins_the_pauses_anew(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
        await empties(r)
        await r.sees(Side.SELL, shares=200 * M)  # too small to rest
        await until(lambda: "bids" in waits(r), "nobody buys")
        long = "UPDATE intent SET tries = 5 WHERE kind = 'exit'"
        await r.ledger.transact(lambda tx: tx.execute(long))
        bids(r, 490_000, 1)
        await until(lambda: sold(r) > 0, "a part is sold")
        await until(lambda: exit_of(r)["tries"] < 2, "and its looks are counted anew")
        assert exit_of(r)["state"] == "open"


async def test_our_clock_ahead_hides_none_of_our_trades(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        r.sim.exchange.clock_us = -3600 * M  # ours is an hour ahead of the exchange's
        await r.clob.read_clock()
        r.sim.faults.rules.append(Rule("POST /order", "drop"))
        for client in r.sim.streams.user_clients:
            client.wants.clear()  # lookups are the only evidence
        await r.sees(Side.SELL)
        await until(lambda: held(r) < 10_000, "its lost answer is proven by the trade")
        await r.settled()
        assert len(r.sim.exchange.outside) == 2
        r.assert_equal_to_exchange()


async def test_a_share_that_cost_more_than_it_can_pay_is_named(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await entered(r)
        await r.ledger.transact(lambda tx: tx.execute("UPDATE position SET cost = shares * 3 / 2"))
        with read(r.path) as found:
            assert "bought above 1 a share" in mismatches(found)[0]
        assert await r.ledger.look(account.cash) < 1000 * M
