"""The one answer to "does this life of a worker still run, and does it beat?"."""

from collections.abc import Mapping
from typing import Any

import psutil

from bot.model.units import MICRO

#: A worker whose row is older than this many beats hangs, whatever its pid says.
STALE_BEATS = 5
#: Two readings of one process's start differ by the clock's steps at most.
_SLACK_US = 2 * MICRO


def born_us(process: psutil.Process | None = None) -> int:
    """Return when a process, by default this one, was started.

    Raises psutil.Error if it is gone.
    """
    return int((process or psutil.Process()).create_time() * MICRO)


def living(pid: int, started_us: int) -> psutil.Process | None:
    """Return the process that was started then with this pid, or None if it has ended.

    A pid alone may belong to a stranger by now, and a zombie is dead.
    """
    try:
        process = psutil.Process(pid)
        stranger = abs(born_us(process) - started_us) > _SLACK_US
        return None if stranger or process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.Error:
        return None


def state(boot: Mapping[str, Any], beat_s: int, *, now_us: int) -> str:
    """Return what becomes of a life, by its boot row: it beats every `beat_s`.

    running, starting, waiting, stopping (its own word), hung, killed, stopped or failed.
    """
    if boot["ended_us"] is not None:
        return "stopped" if boot["exit_code"] == 0 else "failed"
    if living(boot["pid"], boot["pid_started_us"]) is None:
        return "killed"
    silent_us = max(0, now_us - boot["beat_us"])
    return "hung" if silent_us > STALE_BEATS * beat_s * MICRO else str(boot["state"])
