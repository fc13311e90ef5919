"""No statement on the hot path, in health or on a screen reads all of a table that grows."""

import re
import sqlite3

import pytest

from bot import report
from bot.ledger import agenda, control, facts, leaders, markets, orders
from bot.ledger.db import Ledger
from bot.model.market import Side
from bot.report import lists, status
from bot.runtime import now_us
from tests.exits import entered
from tests.rig import M, rig
from workers.health import _problems

#: Tables that stay small: one row a leader, a lock, a wallet, a source, a worker's life of late.
SMALL = {
    "leader",
    "lock",
    "account",
    "control",
    "cursor",
    "meta",
    "boot",
    "source",
    "alembic_version",
}
#: Indexes of what is open, in flight or held: reading one whole is what they are there for.
OPEN = {
    "ix_intent_due", "ux_intent_open", "ix_orders_in_flight", "ix_orders_moving", "ix_alert_open",
    "ix_fill_unsettled", "ix_signal_pending", "ix_signal_in_market", "ix_position_held",
    "ix_settlement_owed", "ux_orders_one_in_flight", "ix_market_incomplete",
}  # fmt: skip
#: Indexes that are read from their newest row on, as far as a limit.
NEWEST = {"ix_market_as_of"}
_SCAN = re.compile(r"SCAN (\S+)(?: USING (?:COVERING )?INDEX (\S+))?")


def scanned(path, statements) -> list[str]:
    """Return what is read whole though it grows: the scan, and its statement."""
    found = set()
    with sqlite3.connect(path) as ledger:
        for statement in statements:
            if not statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                continue
            names = dict(re.findall(r"(?:FROM|JOIN) (\w+) (?:AS )?([a-z])\b", statement))
            tables = {alias: table for table, alias in names.items()}
            for row in ledger.execute(f"EXPLAIN QUERY PLAN {statement}"):
                scan = _SCAN.match(row[3])
                if scan is None or re.match(r"CONSTANT|SUBQUERY|wanted|\(|\d+", scan[1]):
                    continue
                table = tables.get(scan[1], scan[1])
                if scan[2] in NEWEST and "LIMIT" in statement:
                    continue
                if table not in SMALL and scan[2] not in OPEN:
                    found.add(f"{row[3]}: {statement[:150]}")
    ledger.close()
    return sorted(found)


@pytest.fixture
def statements(monkeypatch):
    """Return every statement that ledgers opened in this test have run so far."""
    seen: dict[str, None] = {}
    prepare = Ledger._prepare

    async def traced(self, connection):
        await prepare(self, connection)
        await connection.run(lambda db: db.set_trace_callback(lambda s: seen.setdefault(s)))

    monkeypatch.setattr(Ledger, "_prepare", traced)
    return seen


async def test_no_statement_of_a_worker_reads_a_table_that_grows(tmp_path, statements):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r, shares=1000 * M)
            await r.sees(Side.SELL, shares=500 * M)
            await r.settled()
            await r.sees(shares=400 * M, outcome=1)
            await r.settled()
            await r.execution.reconciler.compare(now_us=now_us())
        await r.ledger.look(facts.trades, [("0x1", "0x2", n, "BUY") for n in "345"])
        await r.ledger.look(facts.recent_markets, 1)
        await r.ledger.look(markets.held)
        await r.ledger.look(orders.in_flight)
        await r.ledger.transact(_problems, now_us())
        await r.ledger.transact(control.clear_alerts, set(), "worker:", now_us=now_us())
        await r.ledger.transact(facts.prune, 100)
        assert len(statements) > 100
        assert scanned(r.path, statements) == []


async def test_no_screen_reads_a_table_that_grows(tmp_path, statements):
    async with rig(tmp_path) as r, r.working():
        await entered(r, shares=1000 * M)
    asked: dict[str, None] = {}
    with report.read(r.path) as found:
        found._db.set_trace_callback(lambda s: asked.setdefault(s))
        status.status(found)
        lists.leaders(found)
    assert asked and scanned(r.path, asked) == []


async def test_what_waits_or_is_held_elsewhere_costs_a_decision_nothing(tmp_path, statements):
    async with rig(tmp_path) as r:
        statements.clear()
        await r.ledger.look(agenda.alone, "none")
        await r.ledger.look(leaders.exposure_decided, "0x1", "0xc", "7")
    with sqlite3.connect(r.path) as ledger:
        plans = {
            row[3]
            for statement in statements
            if statement.startswith("SELECT")
            for row in ledger.execute(f"EXPLAIN QUERY PLAN {statement}")
        }
    ledger.close()
    assert any("ix_signal_in_market (condition=?)" in plan for plan in plans)
    assert any("ix_leader_position_market (wallet=? AND cond" in plan for plan in plans)
    assert not any("ix_signal_pending" in plan for plan in plans)
