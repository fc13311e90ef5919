"""Drills of what is known to be wrong: each fails until that is mended, and then its mark must go.

They take about five minutes and are no part of `make test`: `make test-expected` plays them.
"""

import pytest

from bot.lab.drills import ALL
from tests.e2e.botctl import answer, botctl

EXPECTED = [drill for drill in ALL if drill.finding]


class BrokenDownError(Exception):
    """A drill ended before it came to what it is about: that is no expected failure."""


@pytest.fixture(scope="session")
def results() -> dict[str, dict]:
    names = [drill.name for drill in EXPECTED]
    found = answer(botctl("drill", *names, "--jobs", "3", "--json", timeout=1800))
    return {drill["name"]: drill for drill in found["drills"]}


def test_the_list_marks_them():
    listed = answer(botctl("drill", "--list", "--json"))["drills"]
    assert {d["name"]: d["finding"] for d in listed if d["finding"]} == {
        drill.name: drill.finding for drill in EXPECTED
    }


@pytest.mark.expected
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            drill.name,
            marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=drill.finding),
        )
        for drill in EXPECTED
    ],
)
def test_what_is_known_to_be_wrong_is_still_wrong(name, results):
    found = results[name]
    if not found["passed"] and not found["found"].startswith("LawBroken: "):
        raise BrokenDownError(found["found"])
    assert found["passed"], found["found"]
