"""The ledgers of the first design are what they claim to be: a migration is judged by them."""

import asyncio
import sqlite3

import pytest

from bot.errors import LedgerDamaged
from bot.ledger import control
from bot.ledger.db import SCHEMA, Ledger
from bot.ledger.files import check, migrate
from bot.report import laws
from bot.report.audit import mismatches
from bot.report.reader import read
from bot.report.status import status
from bot.runtime import now_us
from bot.sim.plan import Plan
from tests.ledgers import FOLDER, revive
from tests.rig import rig

#: What each was made for, as a query that must find something.
HOLDS = {
    "in_flight": [
        *(
            f"SELECT 1 FROM orders WHERE side = 'BUY' AND state = '{state}'"
            for state in ("posting", "unknown", "open")
        ),
        "SELECT 1 FROM orders WHERE side = 'SELL' AND state = 'posting'",
    ],
    "unsettled": [
        *(
            f"SELECT 1 FROM fill WHERE side = '{side}' AND settlement = 'matched'"
            for side in ("BUY", "SELL")
        )
    ],
    "waiting": [
        "SELECT 1 FROM signal WHERE source = 'retry' AND decided = 0",
        "SELECT 1 FROM signal s JOIN leader_trade t ON t.id = s.trade_id WHERE t.side = 'SELL'"
        " AND s.decided = 0",
        "SELECT 1 FROM signal s JOIN leader_trade t ON t.id = s.trade_id JOIN position p"
        " ON p.condition = t.condition AND p.token <> t.token WHERE t.side = 'BUY'"
        " AND s.decided = 0 AND p.shares > 0",
    ],
    "adopted": ["SELECT 1 FROM orders WHERE signal_id LIKE 'adopted:%' AND side = 'BUY'"],
    "impossible": ["SELECT 1 FROM position WHERE shares > 0 AND cost > shares"],
    "dust": ["SELECT 1 FROM position WHERE shares > 0 AND shares < 10000"],
}


@pytest.mark.parametrize("name", HOLDS)
def test_each_ledger_holds_what_it_was_made_for(name):
    with sqlite3.connect(":memory:") as ledger:
        ledger.executescript((FOLDER / f"{name}.sql").read_text())
        assert ledger.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert ledger.execute("PRAGMA foreign_key_check").fetchall() == []
        missing = [query for query in HOLDS[name] if not ledger.execute(query).fetchone()]
    ledger.close()
    assert missing == []


def test_every_ledger_is_held_to_something():
    assert (
        {path.stem for path in FOLDER.glob("*.sql")}
        == {path.stem for path in FOLDER.glob("*.json")}
        == set(HOLDS)
    )


@pytest.mark.parametrize("name", HOLDS)
def test_each_ledger_is_brought_to_this_version_whole(name, tmp_path):
    path = tmp_path / "ledger-demo.db"
    with sqlite3.connect(path) as old:
        old.executescript((FOLDER / f"{name}.sql").read_text())
        before = {
            table: old.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
            for (table,) in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    old.close()
    migrate(path, "demo")
    assert check(path).schema == SCHEMA
    with read(path) as found:
        now = {table: (found.value(f"SELECT COUNT(*) FROM {table}"),) for table in before}
        assert mismatches(found) == [] and laws.broken(found, at_rest=False) == []
        assert status(found).today.cash_usdc_micros > 0
        assert now | {"decision": (), "event": ()} == before | {"decision": (), "event": ()}
        became = {what: found.execute(query) for what, query in BECOMES[name].items()}
    assert [what for what, said in became.items() if said != [(1,)]] == []


#: What must have become of each, as queries that say 1 where it has.
BECOMES = {
    "in_flight": {
        "purchases are withdrawn entries": "SELECT COUNT(*) = 4 FROM intent i"
        " JOIN orders o ON o.intent_id = i.id"
        " WHERE i.kind = 'entry' AND i.state = 'withdrawn'"
        " AND o.state IN ('posting', 'unknown', 'open')",
        "the sale stands at the position less its rest": "SELECT COUNT(*) FROM intent i"
        " JOIN position p"
        " ON p.portfolio = i.portfolio AND p.token = i.token JOIN orders o ON o.intent_id = i.id"
        " WHERE i.kind = 'exit' AND i.state = 'open' AND i.target = p.shares - o.maker_amount",
    },
    "unsettled": {
        "what was bought is covered": "SELECT COUNT(*) FROM cover WHERE leader = 100000000"
    },
    "waiting": {
        "the exit that waited stands": "SELECT COUNT(*) FROM intent WHERE kind = 'exit'"
        " AND state = 'open'",
        "its signal is decided": "SELECT COUNT(*) FROM signal s"
        " JOIN decision d ON d.signal_id = s.id"
        " WHERE s.source = 'retry' AND s.decided = 1 AND d.intent_id IS NOT NULL",
        "what nobody decided is not counted yet": "SELECT COUNT(*) = 2 FROM cover"
        " WHERE leader = 100000000",
    },
    "adopted": {
        "what is nobody's is external": "SELECT COUNT(*) FROM position WHERE portfolio = 'external'"
        " AND shares > 0",
        "and listed": "SELECT COUNT(*) FROM event WHERE kind = 'position.external'",
    },
    "impossible": {
        "no share costs more than it pays": "SELECT COUNT(*) FROM position"
        " WHERE portfolio = 'external'"
        " AND shares > 0 AND cost <= shares",
        "and it is listed": "SELECT COUNT(*) FROM event WHERE kind = 'position.external'",
    },
    "dust": {"dust stands nowhere": "SELECT COUNT(*) = 0 FROM intent WHERE state = 'open'"},
}


def test_a_ledger_that_does_not_add_up_is_refused_beside_its_backup(tmp_path):
    path = tmp_path / "ledger-demo.db"
    with sqlite3.connect(path) as old:
        old.executescript((FOLDER / "dust.sql").read_text())
        old.execute("UPDATE position SET shares = shares + 1")
    old.close()
    with pytest.raises(LedgerDamaged, match=rf"follows from its fills.*before-{SCHEMA}"):
        migrate(path, "demo")
    with sqlite3.connect(path) as old:
        assert old.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    old.close()
    assert check(tmp_path / f"ledger-demo.db.before-{SCHEMA}").schema == "0001"


#: Leaders' undecided signals are hours old: only exits are still followed.
@pytest.mark.parametrize("name", HOLDS)
async def test_each_ledger_runs_on_to_rest(name, tmp_path):
    path = tmp_path / "old" / "ledger-demo.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as old:
        old.executescript((FOLDER / f"{name}.sql").read_text())
    old.close()
    migrate(path, "demo")
    plan = Plan(seed=7, failed_share=0, retried_share=0)
    async with rig(tmp_path, plan) as r:
        revive(r.sim, name, r.clob.owner)
        if name == "adopted":
            # Shares that somebody gave, of a token that we never traded: nobody asks for them.
            r.sim.trader.shares.pop(r.market(3).tokens[0])
        async with Ledger(path).open() as ledger:
            r.path, r.ledger = path, ledger
            await ledger.transact(control.lock, control.UNCOMPARED, "not compared")
            await r.boots()
            async with r.working():
                # As the worker does: what moved, what came from elsewhere, all of it compared.
                async def agrees() -> bool:
                    found = await r.execution.reconciler.compare(now_us=now_us())
                    return found.quiet and not found.differences

                for _ in range(60):
                    if await agrees() and r.rests():
                        break
                    await asyncio.sleep(0.5)
                await r.settled()
                assert await agrees()
        with read(path) as found:
            assert laws.broken(found) == [] and mismatches(found) == []
        r.assert_equal_to_exchange()
