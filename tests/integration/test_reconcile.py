"""Reconciliation against the simulated exchange.

What differs, what is adopted, what it must not change.
"""

import asyncio
import dataclasses
import json

import pytest

from bot import report
from bot.detect.intake import Intake
from bot.errors import InvariantBroken, SchemaMismatch
from bot.execution.reconcile import Reconciler
from bot.ledger import account, leaders
from bot.ledger.db import Ledger
from bot.ledger.files import backup, restore
from bot.model.control import ControlMode
from bot.model.market import Side
from bot.report import audit
from bot.runtime import now_us
from tests.rig import M, rig, steer, stored_order, until


async def settled_entry(r, **more) -> None:
    await r.sees(**more)
    await until(lambda: r.value("SELECT COUNT(*) FROM signal WHERE decided = 0") == 0, "decided")
    await r.settled()


def reconciler_of(r) -> Reconciler:
    return r.execution.reconciler


def sound(r) -> list[str]:
    with report.read(r.path) as found:
        return audit.mismatches(found)


async def test_an_equal_ledger_differs_in_nothing(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r)
        found = await reconciler_of(r).compare(now_us=now_us())
        assert found.quiet and found.differences == ()


async def test_balances_are_not_compared_while_an_order_is_in_flight(tmp_path):
    async with rig(tmp_path) as r:
        await stored_order(r, posted=True)
        r.sim.trader.collateral -= 5 * M
        found = await reconciler_of(r).compare(now_us=now_us())
        assert not found.quiet and found.differences == ()


async def test_shares_that_left_are_taken_from_all_holders_at_cost(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r, leader=0)
        await settled_entry(r, leader=1)
        held = r.query("SELECT shares FROM position")
        total = sum(row["shares"] for row in held)
        left = 3 * M
        token = r.market().tokens[0]
        r.sim.trader.shares[token] = left
        reconciler = reconciler_of(r)
        assert [
            (d.kind, d.ledger, d.exchange)
            for d in (await reconciler.compare(now_us=now_us())).differences
        ] == [("shares", total, left)]
        await reconciler.adopt(now_us=now_us())
        rows = r.query("SELECT shares, cost, realized FROM position")
        assert sum(row["shares"] for row in rows) == left
        assert all(row["shares"] >= 0 and row["realized"] == 0 for row in rows)
        assert sound(r) == []
        assert (await reconciler.compare(now_us=now_us())).differences == ()
        r.assert_equal_to_exchange()


async def test_two_adoptions_at_once_adopt_once(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r)
        r.sim.trader.collateral -= 40 * M
        reconciler = reconciler_of(r)
        await asyncio.gather(*(reconciler.adopt(now_us=now_us()) for _ in range(3)))
        assert sound(r) == []
        r.assert_equal_to_exchange()
        assert r.value("SELECT COUNT(*) FROM event WHERE kind = 'reconcile.adopted'") == 1


@pytest.mark.parametrize("change", [40 * M, 1, -5])
async def test_what_came_from_elsewhere_and_what_rounding_took_are_no_difference(tmp_path, change):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r)
        before = r.value("SELECT SUM(realized) FROM position")
        r.sim.trader.collateral += change
        found = await reconciler_of(r).compare(now_us=now_us())
        assert found.differences == () and len(found.booked) == 1
        assert r.value("SELECT COUNT(*) FROM event WHERE kind = 'account.credit'") == 1
        assert r.value("SELECT SUM(realized) FROM position") == before, "no profit"
        assert sound(r) == []
        r.assert_equal_to_exchange()


async def test_collateral_is_no_credit_while_shares_are_missing(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r)
        r.sim.trader.collateral += 5 * M
        r.sim.trader.shares[r.market().tokens[0]] -= 10 * M
        found = await reconciler_of(r).compare(now_us=now_us())
        assert sorted(d.kind for d in found.differences) == ["cash", "shares"]
        assert found.booked == ()


async def test_an_unknown_trade_stops_entries_until_it_is_final_and_booked_with_its_price(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r)
        r.sim.exchange.inside(
            r.sim.trader,
            r.market(1).tokens[0],
            "BUY",
            900_000,
            10 * M,
            "FAK",
            owner_key=r.clob.owner,
        )
        await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
        reconciler = reconciler_of(r)
        newest = list(r.sim.exchange.trades.values())[-1]
        newest.status = "MINED"
        told = json.loads(await reconciler.answer(adopt=False, now_us=now_us()))
        assert told.keys() == {"differences", "count", "quiet", "adopted", "booked"}
        assert told["adopted"] == told["booked"] == [], "nothing before it is final"
        assert told["count"] == len(told["differences"])
        scopes = {row["scope"].split(":")[0] for row in r.query("SELECT scope FROM lock")}
        assert scopes == {"forgotten", "token"}, "no entries, and nothing of that token is sold"
        await r.sees(market=2)
        await until(lambda: r.reasons()[1:] == ["paused"], "entries stop")
        newest.status = "CONFIRMED"
        await reconciler.compare(now_us=now_us())
        assert r.query("SELECT scope FROM lock") == [], "booked without being asked"
        await r.settled()
        mine = r.query("SELECT shares, cost FROM position WHERE portfolio = 'external'")[0]
        assert mine["shares"] > 0 and mine["cost"] > 0
        assert sound(r) == []
        r.assert_equal_to_exchange()


async def test_a_resting_order_that_is_not_ours_is_shown_and_never_adopted(tmp_path):
    async with rig(tmp_path) as r, r.working():
        r.sim.exchange.inside(
            r.sim.trader,
            r.market().tokens[0],
            "BUY",
            100_000,
            10 * M,
            "GTC",
            owner_key=r.clob.owner,
        )
        reconciler = reconciler_of(r)
        await reconciler.adopt(now_us=now_us())
        assert [d.kind for d in (await reconciler.compare(now_us=now_us())).differences] == [
            "open_order"
        ]
        assert r.value("SELECT COUNT(*) FROM orders") == 0


async def test_an_exit_goes_on_after_an_adoption(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r)
        r.sim.trader.collateral -= 7 * M
        await reconciler_of(r).adopt(now_us=now_us())
        await r.sees(Side.SELL)
        await until(lambda: r.reasons() == ["copied", "copied"], "the exit")
        await r.settled()
        assert sound(r) == []
        r.assert_equal_to_exchange()


async def test_a_fill_that_was_never_heard_of_is_found(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r)

        def forget(tx):
            tx.execute("DELETE FROM fill")
            tx.execute("UPDATE position SET shares = 0, cost = 0")
            tx.execute("DELETE FROM daily_pnl")
            tx.execute("UPDATE account SET cash = opening")

        await r.ledger.transact(forget)
        await reconciler_of(r).compare(now_us=now_us())
        await r.settled()
        assert sound(r) == []
        r.assert_equal_to_exchange()


async def test_a_sale_by_hand_is_taken_from_every_holder(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r, leader=0)
        await settled_entry(r, leader=1)
        token = r.market().tokens[0]
        held = [
            row["shares"] for row in r.query("SELECT shares FROM position ORDER BY shares DESC")
        ]
        sold = (held[0] + held[1] // 2) // 10_000 * 10_000
        r.sim.exchange.inside(r.sim.trader, token, "SELL", 10_000, sold, "FAK", owner_key="by-hand")
        await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
        await reconciler_of(r).adopt(now_us=now_us())
        rows = r.query("SELECT shares FROM position WHERE token = ?", token)
        assert sum(row["shares"] for row in rows) == sum(held) - sold
        assert all(row["shares"] >= 0 for row in rows)
        assert sound(r) == []
        r.assert_equal_to_exchange()


async def test_a_forgotten_trade_is_booked_once_it_is_final(tmp_path):
    async with rig(tmp_path) as r, r.working():
        r.sim.exchange.inside(
            r.sim.trader, r.market(1).tokens[0], "BUY", 900_000, 10 * M, "FAK", owner_key="by-hand"
        )
        await until(lambda: r.sim.truth()["settled"], "settled at the exchange")
        await settled_entry(r)  # a newer fill does not move the window past it
        for trade in r.sim.exchange.trades.values():
            trade.status = "MINED" if trade.status == "CONFIRMED" else trade.status
        for _ in range(2):
            assert (await reconciler_of(r).compare(now_us=now_us())).forgotten == 1
        assert r.value("SELECT COUNT(*) FROM meta WHERE name = 'reconciled_s'") == 0
        for trade in r.sim.exchange.trades.values():
            trade.status = "CONFIRMED"
        assert len((await reconciler_of(r).compare(now_us=now_us())).booked) == 1
        assert (await reconciler_of(r).compare(now_us=now_us())).booked == ()
        assert r.value("SELECT COUNT(*) FROM meta WHERE name = 'reconciled_s'") == 1


async def test_a_ledger_of_another_wallet_is_refused(tmp_path):
    async with rig(tmp_path) as r:
        with pytest.raises(SchemaMismatch, match="belongs to wallet"):
            await r.ledger.transact(
                lambda tx: account.open_account(tx, "0x" + "9" * 40, 1, now_us=1)
            )


async def test_a_ledger_that_was_put_aside_says_whose_order_it_was(tmp_path):
    async with rig(tmp_path) as r:
        copy = tmp_path / "old.db"
        async with r.working():
            await settled_entry(r)
            await asyncio.to_thread(backup, r.path, copy)
            await r.sees(leader=1, market=1)
            token = r.market(1).tokens[0]
            bought = "SELECT COUNT(*) FROM position WHERE token = ?"
            await until(lambda: r.value(bought, token), "what the backup does not know")
            await r.settled()
        # As `botctl db restore` leaves it beside the restored one.
        await asyncio.to_thread(backup, r.path, copy.with_name(f"{copy.name}.before-restore-1"))
        async with Ledger(copy).open() as ledger:
            old = dataclasses.replace(r, path=copy, ledger=ledger)
            await old.boots()
            await old.execution.reconciler.compare(now_us=now_us())
            owner = old.value("SELECT portfolio FROM position WHERE token = ?", token)
            assert owner == f"mirror/{r.settings.leaders[1].wallet}"
            assert sound(old) == []
            old.assert_equal_to_exchange()


@pytest.mark.parametrize("read_before", [True, False])
async def test_what_a_restored_ledger_finds_waits_until_its_leader_is_read_again(
    tmp_path, read_before
):
    async with rig(tmp_path) as r:
        copy, place = tmp_path / "old.db", tmp_path / "restored.db"
        if read_before:
            wallet, now = r.settings.leaders[1].wallet, now_us()
            await r.ledger.transact(leaders.advance, "data_api", wallet, now // M, now_us=now)
        async with r.working():
            await settled_entry(r)
            await asyncio.to_thread(backup, r.path, copy)
            copied = await r.sees(leader=1, market=1)
            bought = "SELECT COALESCE(SUM(shares), 0) FROM position WHERE token = ?"
            await until(lambda: r.value(bought, copied.token), "what the backup does not know")
            await r.settled()
        await asyncio.to_thread(backup, r.path, place)
        await asyncio.to_thread(restore, copy, place, "demo")
        async with Ledger(place).open() as ledger:
            old = dataclasses.replace(r, path=place, ledger=ledger)
            old.intake = Intake(
                ledger, lambda _: old.execution.doorbell.set(), now_us, provisional=lambda: True
            )
            await old.intake.load()
            await steer(old, ControlMode.RUNNING)
            async with old.working():
                await old.execution.reconciler.compare(now_us=now_us())
                held, before = old.value(bought, copied.token), len(old.reasons())
                await old.sees(leader=2, market=2)
                await until(lambda: len(old.reasons()) > before, "others are decided")
                waiting = "SELECT kind FROM signal WHERE decided = 0"
                assert [row["kind"] for row in old.query(waiting)] == ["correction"]
                # Now his trade shows, which nobody here remembers to have copied.
                read = ("data_api", r.settings.leaders[1].wallet, copied.traded_s)
                seen = [(copied, (copied.shares, copied.usdc))]
                await old.intake.absorb("data_api", seen, seen_us=now_us(), cursor=read)
                await old.settled()
                assert {"too_small", "already_copied"} <= set(old.reasons()[before:])
                assert old.value(bought, copied.token) == held > 0, "not sold, not bought again"
            assert sound(old) == []
            old.assert_equal_to_exchange()


async def test_a_replaced_executor_books_nothing(tmp_path):
    async with rig(tmp_path) as r, r.working():
        await settled_entry(r)
        old = reconciler_of(r)
        await r.boots()
        r.sim.trader.collateral += 40 * M
        with pytest.raises(InvariantBroken):
            await old.compare(now_us=now_us())
        assert r.value("SELECT COUNT(*) FROM event WHERE kind = 'account.credit'") == 0
        await reconciler_of(r).compare(now_us=now_us())
        assert r.value("SELECT COUNT(*) FROM event WHERE kind = 'account.credit'") == 1
