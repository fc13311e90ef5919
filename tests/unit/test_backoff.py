"""Pauses double with each failure, up to a bound."""

import pytest

from bot.model.backoff import longest_s


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.25), (1, 0.5), (2, 1.0), (5, 8.0), (6, 10.0), (10**6, 10.0)]
)
def test_a_pause_doubles_up_to_its_bound(failures, seconds):
    assert longest_s(failures, 0.25, 10.0) == seconds
