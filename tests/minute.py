"""Mutation testing (make mutants): what no test notices within a minute of tests has survived."""

import os
import time

import pytest

MINUTE_S = 60
#: The pure storeys have tests of their own, which take milliseconds.
PURE_S = 10
_PURE = ("bot.model.", "bot.strategy.", "bot.risk.")
_began = time.monotonic()


def pytest_sessionstart() -> None:
    """Begin the minute: every mutant has a process, and a session, of its own."""
    global _began
    _began = time.monotonic()


def pytest_runtest_setup() -> None:
    """Skip what would begin after the minute; the code as it is takes its time."""
    mutant = os.environ.get("MUTANT_UNDER_TEST", "")
    most_s = PURE_S if mutant.startswith(_PURE) else MINUTE_S
    if "__mutmut_" in mutant and time.monotonic() - _began > most_s:
        pytest.skip("the minute of this mutant is over")
