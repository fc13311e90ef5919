"""Sabotage, once per rule: a copy of the code breaks it, and the test that guards it must fail.

The drills `sabotage.*` break the laws that need a process to die (re-sign on retry, record after
the POST, one trade a transaction); here are those that a changed line breaks.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.mutants import MUTANTS

QUICK = ("--hypothesis-profile", "sabotage")
ROOT = Path(__file__).parents[2]
COPIED = ("bot", "workers", "migrations", "tests", "pyproject.toml", "supervisord.conf")


def attempt(rule: str, folder: Path) -> subprocess.CompletedProcess:
    """Run the guarding test over a copy of the code in which a rule is broken."""
    path, line, broken, test = MUTANTS[rule]
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)  # compiled code too: but for one file it fits
        else:
            shutil.copy(source, folder)
    text = (folder / path).read_text()
    assert text.count(line) == 1, "the rule is kept by another line now: name that one"
    (folder / path).write_text(text.replace(line, broken))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("COV", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *QUICK, test],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder), "COPYBOT_TEST_PATIENCE_S": "6"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("rule", MUTANTS)
def test_a_broken_rule_is_noticed(rule, tmp_path):
    process = attempt(rule, tmp_path)
    assert process.returncode == 1, process.stdout[-2000:] + process.stderr[-500:]
    assert "failed" in process.stdout
