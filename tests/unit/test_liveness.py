"""A life is told by its pid and its start, and a zombie is dead."""

import os
import subprocess
import sys
import time

import psutil

from bot.liveness import STALE_BEATS, born_us, living, state

NOW = born_us()


def boot(**more):
    row = {
        "pid": os.getpid(), "pid_started_us": NOW, "ended_us": None, "exit_code": None,
        "beat_us": NOW, "state": "running",
    }  # fmt: skip
    return row | more


def test_a_pid_alone_may_be_a_strangers():
    assert living(os.getpid(), NOW) is not None
    assert living(os.getpid(), NOW - 60_000_000) is None
    assert living(2**22 + 1, NOW) is None


def test_a_zombie_is_dead():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        child = psutil.Process(process.pid)
        born = born_us(child)
        while child.status() != psutil.STATUS_ZOMBIE:  # nobody asks for its exit code yet
            time.sleep(0.01)
        assert living(process.pid, born) is None


def test_what_becomes_of_a_life():
    stale = NOW + (STALE_BEATS * 2 + 1) * 1_000_000
    assert state(boot(), 2, now_us=NOW) == "running"
    assert state(boot(state="waiting"), 2, now_us=NOW) == "waiting"
    assert state(boot(), 2, now_us=stale) == "hung"
    assert state(boot(), 60, now_us=stale) == "running", "it said that it beats once a minute"
    assert state(boot(pid_started_us=0), 2, now_us=NOW) == "killed"
    assert state(boot(ended_us=NOW, exit_code=0), 2, now_us=NOW) == "stopped"
    assert state(boot(ended_us=NOW, exit_code=75), 2, now_us=NOW) == "failed"
