"""Mutation testing (make mutants): what no test notices within a minute of tests has survived."""

import os
import time

import pytest

MINUTE_S = 60
_began = time.monotonic()


def pytest_sessionstart() -> None:
    """Begin the minute: every mutant has a process, and a session, of its own."""
    global _began
    _began = time.monotonic()


def pytest_runtest_setup() -> None:
    """Skip what would begin after the minute; the code as it is takes its time."""
    mutant = "__mutmut_" in os.environ.get("MUTANT_UNDER_TEST", "")
    if mutant and time.monotonic() - _began > MINUTE_S:
        pytest.skip("the minute of this mutant is over")
