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
    """Order and choose: whole programs beside parts; what needs root is named and counted.

    Whole programs compute and parts wait: side by side, each has what the other does not need.
    """
    whole = [item for item in items if "e2e" in item.path.parts]
    parts = [item for item in items if "e2e" not in item.path.parts]
    apart = 0.8 * len(parts) / (len(whole) or 1)  # long ones are not left for the end
    place = {item: number * apart for number, item in enumerate(whole)}
    place |= {item: number for number, item in enumerate(parts)}
    items.sort(key=lambda item: place[item])
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root: make test-root"))
