"""The ledgers of the first design are what they claim to be: a migration is judged by them."""

import sqlite3
from pathlib import Path

import pytest

from bot.ledger.db import SCHEMA
from bot.ledger.files import check, migrate
from bot.report.audit import mismatches
from bot.report.reader import read
from bot.report.status import status

FOLDER = Path(__file__).parents[1] / "ledgers"
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
        "SELECT 1 FROM signal s JOIN leader_trade t ON t.id = s.trade_id WHERE t.side = 'SELL' AND s.decided = 0",
        "SELECT 1 FROM signal s JOIN leader_trade t ON t.id = s.trade_id JOIN position p"
        " ON p.condition = t.condition AND p.token <> t.token WHERE t.side = 'BUY' AND s.decided = 0 AND p.shares > 0",
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
        assert {
            table: (found.value(f"SELECT COUNT(*) FROM {table}"),) for table in before
        } == before
        wrong = mismatches(found)
        assert status(found).today.cash_usdc_micros > 0
    assert [problem for problem in wrong if "bought above 1 a share" not in problem] == []
    assert bool(wrong) == (name == "impossible"), "a share that cost more than it can pay is named"
