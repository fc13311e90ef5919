"""Sabotage, once per rule: a copy of the code breaks it, and the test that guards it must fail.

The drills `sabotage.*` break the laws that need a process to die (re-sign on retry, record after
the POST, one trade a transaction); here are those that a changed line breaks.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.botctl import ROOT, plain
from tests.e2e.mutants import MUTANTS

COPIED = ("bot", "workers", "migrations", "tests", "pyproject.toml", "supervisord.conf")


@pytest.fixture(scope="session")
def player():
    """Start what plays a test over a copy (tests/e2e/broken.py), once for all of them."""
    clean = {k: v for k, v in plain().items() if not k.startswith("PYTEST")}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.broken"],
        cwd=ROOT, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        process.stdin.close()


def break_in(folder: Path, path: str, line: str, broken: str) -> None:
    """Copy the code to a new `folder`, with one line of it broken."""
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)  # compiled code too: but for one file it fits
        else:
            shutil.copy(source, folder)
    text = (folder / path).read_text()
    assert text.count(line) == 1, "the rule is kept by another line now: name that one"
    (folder / path).write_text(text.replace(line, broken))


def played(player, folder: Path, test: str) -> tuple[str, str]:
    """Return the code that a test ended with over the code in a folder, and what it said."""
    said = folder.with_name("said")
    player.stdin.write(f"{folder}\t{said}\t{test}\n")
    player.stdin.flush()
    code = player.stdout.readline().strip()
    shutil.rmtree(folder)
    return code, said.read_text()


@pytest.mark.parametrize("rule", MUTANTS)
def test_a_broken_rule_is_noticed(rule, player, tmp_path):
    path, line, broken, test = MUTANTS[rule]
    break_in(tmp_path / "copy", path, line, broken)
    code, said = played(player, tmp_path / "copy", test)
    assert code == "1" and "failed" in said, said[-2500:]


@pytest.mark.parametrize("rule", ["an exit has a floor", "commits are synced"])
def test_a_copy_that_keeps_the_rule_passes(rule, player, tmp_path):
    path, line, _, test = MUTANTS[rule]
    break_in(tmp_path / "copy", path, line, line)
    code, said = played(player, tmp_path / "copy", test)
    assert code == "0", said[-2500:]
