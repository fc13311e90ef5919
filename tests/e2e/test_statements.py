"""What the workers of a demo ask of their ledger costs the same, however long it grows."""

from pathlib import Path

from bot.ledger.files import migrate
from tests.e2e.botctl import answer, botctl
from tests.integration.test_growth import scanned

TRACED = Path(__file__).parent / "traced"


def test_no_statement_of_the_workers_of_a_demo_reads_a_table_that_grows(tmp_path):
    told = tmp_path / "statements"
    told.mkdir()
    traced = {"PYTHONPATH": str(TRACED), "COPYBOT_STATEMENTS": str(told)}
    verdict = answer(botctl("demo", "--json", **traced))
    assert verdict["ok"], verdict["problems"]
    files = list(told.iterdir())
    assert len(files) == 3, "three workers have ended, and said what they asked"
    statements = {sql for path in files for sql in path.read_text().split("\0")}
    assert len(statements) > 100
    assert any("INSERT INTO fill" in sql for sql in statements)
    migrate(tmp_path / "ledger.db", "demo")
    found = scanned(tmp_path / "ledger.db", statements)
    assert found == [], "\n".join(found)
