"""Shared by all tests."""

import os
import signal

import pytest
from hypothesis import Phase, settings

import bot  # noqa: F401  (puts the safe SQLite in place before any test imports sqlite3)

# Where a test is meant to fail, the smallest example that makes it is of no interest.
settings.register_profile("sabotage", phases=[Phase.explicit, Phase.generate], database=None)

# Whoever ends a run ends it as Ctrl-C does: fixtures take their processes with them.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `root` are named and counted where an ordinary user runs the rest."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root: make test-root"))
