"""A crowd's verdict: what grew, what was dropped, who took too much."""

import pytest

from bot.config.home import WORKERS
from bot.lab.crowd import Moment, Options, drift

MB = 2**20
CORES = dict.fromkeys(WORKERS, 0.1)


def moments(waits=(0,) * 40, megabytes=(80,) * 40, dropped=0, lives=(1, 2, 3)):
    return [
        Moment(i, wait, dropped, dict.fromkeys(WORKERS, n * MB), lives)
        for i, (wait, n) in enumerate(zip(waits, megabytes, strict=True))
    ]


def told(found, cores=CORES):
    return drift(Options(10_000, 500, 60), found, cores)


def test_who_keeps_up_has_no_problem():
    assert told(moments(waits=(0, 300, 20, 499) * 10, megabytes=(60,) * 5 + (80,) * 35)) == []


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (moments(waits=tuple(range(0, 2000, 50))), "what waits grew from 950 to 1950"),
        (moments(megabytes=tuple(range(60, 100))), "monitor: memory went from"),
        (moments(dropped=3), "3 sights were dropped"),
        (moments()[:39] + moments(lives=(1, 2, 4))[39:], "a worker was started again"),
    ],
)
def test_what_grows_or_is_lost_is_told(found, problem):
    assert told(found)[0].startswith(problem)


def test_who_takes_more_than_half_a_core_is_named():
    assert told(moments(), CORES | {"monitor": 0.51}) == [
        "the monitor took 0.51 of a core, 0.5 at most"
    ]
