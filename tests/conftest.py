"""Shared by all tests."""

import bot  # noqa: F401  (puts the safe SQLite in place before any test imports sqlite3)
