"""Single steps on a real ledger: long stories show the same, but only at their end."""

import time
from dataclasses import replace

from bot.detect.fold import Sight
from bot.execution import leave
from bot.ledger import agenda, covers, intents, leaders, positions, signals
from bot.model.intent import Cover, IntentKind, IntentState
from bot.model.leader import FactState, Holding, LeaderFill
from bot.model.market import Side
from bot.model.position import Position
from bot.model.totals import CHAIN
from bot.runtime import now_us
from tests.exits import follower
from tests.rig import M, rig


async def test_a_correction_waits_until_its_leader_was_read_after_a_restore(tmp_path):
    async with rig(tmp_path) as r:
        market, when = r.market(), int(time.time())
        where = (follower(r), market.condition, market.tokens[0])
        await r.ledger.transact(signals.correct, *where, now_us=now_us())
        await r.ledger.transact(leaders.advance, "data_api", r.leader, when, now_us=0)
        assert await r.ledger.look(agenda.leaving, 10) == []
        await r.ledger.transact(leaders.advance, "data_api", r.leader, when, now_us=now_us())
        (found,) = await r.ledger.look(agenda.leaving, 10)
        assert found.wallet == r.leader


async def test_an_exit_that_is_raised_to_what_is_held_ends_at_that_moment(tmp_path):
    async with rig(tmp_path) as r:
        market, portfolio = r.market(), follower(r)
        token, now = market.tokens[0], now_us()

        def stand(tx):
            held = Position(20 * M, 10 * M, 0)
            positions.store_position(tx, portfolio, market.condition, token, held, now_us=1)
            covers.store(tx, portfolio, token, Cover(20 * M, 1_000 * M), now_us=1)
            his = Holding(1_000 * M, 1_000 * M, 1_000 * M)
            leaders.hold(tx, r.leader, token, market.condition, his, now_us=1)
            key = (portfolio, market.condition, token)
            terms = {"target": 0, "price": 500_000, "now_us": 1}
            intents.add(tx, IntentKind.EXIT, *key, signal_id="none", **terms)
            return signals.undecided(tx, signals.correct(tx, *key, now_us=1))

        signal = await r.ledger.transact(stand)
        await r.ledger.transact(leave.raise_exit, signal, r.settings, token, now_us=now)
        found = await r.ledger.look(intents.latest_on, portfolio, token)
        assert (found.target, found.state) == (20 * M, IntentState.REACHED)
        assert found.ended_us == now


async def test_a_difference_in_cash_names_the_wallet_that_the_signer_trades_from(tmp_path):
    async with rig(tmp_path) as r:
        await r.boots()
        r.sim.trader.collateral -= 5 * M
        found = await r.execution.reconciler.compare(now_us=now_us())
        assert [(d.kind, d.subject) for d in found.differences] == [("cash", r.signer.maker)]


async def test_a_trade_of_nothing_is_stored_and_no_signal_tells_of_it(tmp_path):
    async with rig(tmp_path) as r:
        market, now = r.market(), now_us()
        fill = LeaderFill(
            "0x1", r.leader.lower(), market.tokens[0], Side.BUY, 0, 0, market.condition, "Yes", "t",
            now // M,
        )  # fmt: skip
        for tx, told, signals_of_it in (("0x1", (0, 0), 0), ("0x2", (M, M // 2), 1)):
            sight = Sight(CHAIN, replace(fill, tx=tx), told, now, FactState.MINED, 1)
            await r.intake.take([sight])
            assert r.value("SELECT signals FROM leader_trade WHERE tx = ?", tx) == signals_of_it
            assert r.value("SELECT COUNT(*) FROM signal") == signals_of_it
