"""reconcile and db through the real command, over a real bot."""

import sqlite3
import stat
from contextlib import closing, contextmanager

import pytest

from bot.lab.testbed import set_up
from tests.e2e.botctl import answer, botctl


@pytest.fixture(scope="module")
def on():
    with set_up({"seed": 1, "failed_share": 0, "retried_share": 0}) as found:
        found.up()
        found.do("trade", leader=1, market=1)
        found.until(
            lambda: found.value("SELECT COUNT(*) FROM fill WHERE settlement = 'confirmed'"),
            "a first entry",
        )
        yield found


@pytest.fixture
def where(on):
    return ("--home", on.home.path, "--config", on.config)


def test_an_equal_ledger_reconciles_with_exit_code_0(on, where):
    process = botctl("reconcile", *where)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "ledger and exchange agree" in process.stderr


def test_a_difference_is_shown_adopted_and_gone(on, where):
    on.do("drain", usdc=50)
    shown = botctl("reconcile", "--json", *where)
    found = answer(shown)
    assert shown.returncode == 1 and found["ok"] is False
    assert [d["kind"] for d in found["differences"]] == ["cash"]
    assert "cash" in botctl("reconcile", *where).stdout
    assert "reconcile" in " ".join(answer(botctl("status", "--json", *where))["alerts"])
    adopted = botctl("reconcile", "--adopt", *where)
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr
    assert "adopted: cash" in adopted.stderr
    assert answer(botctl("status", "--json", *where))["alerts"] == []
    assert botctl("db", "check", *where, counted=True).returncode == 0


def test_a_backup_is_whole_private_and_never_overwrites(on, where, tmp_path):
    target = tmp_path / "copy.db"
    found = answer(botctl("db", "backup", target, "--json", *where, counted=True))
    assert found["ok"] and found["orders"] >= 1
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    again = botctl("db", "backup", target, *where, counted=True)
    assert again.returncode == 78 and "exists already" in again.stderr
    assert not list(tmp_path.glob("*.part"))


def test_restore_is_refused_while_the_bot_runs_and_keeps_the_old_ledger(on, where, tmp_path):
    target = tmp_path / "copy.db"
    assert botctl("db", "backup", target, *where, counted=True).returncode == 0
    refused = botctl("db", "restore", target, *where, counted=True)
    assert refused.returncode == 78 and "the bot is running on this ledger" in refused.stderr
    assert botctl("down", *where).returncode == 0
    assert botctl("reconcile", *where).returncode == 3, "only the executor may ask the exchange"
    restored = botctl("db", "restore", target, *where, counted=True)
    assert restored.returncode == 0, restored.stderr
    assert "the old one is ledger-demo.db.before-restore-" in restored.stdout
    assert botctl("up", *where).returncode == 0
    assert botctl("reconcile", *where).returncode == 0


def test_check_names_what_does_not_follow_from_the_fills(on, where):
    checked = botctl("db", "check", *where, counted=True)
    assert checked.returncode == 0 and "sound" in checked.stdout, checked.stderr
    with moved_cash(on.ledger):
        wrong = botctl("db", "check", "--json", *where, counted=True)
    assert wrong.returncode == 78
    assert "cash has moved" in answer(wrong)["error"]


@contextmanager
def moved_cash(path):
    """Let the ledger hold a millionth more than follows from its fills, for a while."""
    _cash(path, +1)
    try:
        yield
    finally:
        _cash(path, -1)


def _cash(path, more):
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.execute("UPDATE account SET cash = cash + ?", (more,))


def test_a_file_that_is_no_backup_is_refused(on, tmp_path):
    target = tmp_path / "notes.db"
    target.write_text("not a ledger")
    process = botctl("db", "restore", target, "--home", on.home.path / "x", "--config", on.config)
    assert process.returncode == 78
    assert "not a ledger" in process.stderr and "Traceback" not in process.stderr
