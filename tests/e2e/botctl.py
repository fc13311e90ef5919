"""Run botctl as a user does: the installed command, in a process of its own."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

BOTCTL = Path(sys.executable).parent / "botctl"
ROOT = Path(__file__).parents[2]
_RUN = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["run"]
#: Counts the lines of one process, as pyproject.toml says, and of none that it starts.
COUNTED = (
    sys.executable, "-m", "coverage", "run", "--rcfile=/dev/null", "--parallel-mode",
    f"--data-file={ROOT / '.coverage'}", f"--source={','.join(_RUN['source'])}",
    f"--omit={','.join(_RUN['omit'])}",
)  # fmt: skip


def botctl(
    *arguments: object, timeout: int = 300, counted: bool = False, **environment: str
) -> subprocess.CompletedProcess:
    """Return the finished process of `botctl ARGUMENTS`.

    Coverage counts it and what it starts only where that is asked for: counting takes as long as
    the work itself.
    """
    counts = _coverage() if counted else {}
    return _run([BOTCTL, *arguments], timeout, {**plain(), **counts, **environment})


def lab(*arguments: object, timeout: int = 1800) -> subprocess.CompletedProcess:
    """Return the finished process of `botctl ARGUMENTS` that plays with workers of its own.

    Coverage counts botctl, not its workers.
    """
    return _run([*(COUNTED if _coverage() else ()), BOTCTL, *arguments], timeout, plain())


def plain() -> dict[str, str]:
    """Return our environment without settings of a bot and without coverage."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("BOT_", "COV"))}


def _coverage() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k.startswith("COVERAGE")}


def _run(
    words: list[object], timeout: int, environment: dict[str, str]
) -> subprocess.CompletedProcess:
    return subprocess.run(
        list(map(str, words)),
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env=environment,
        check=False,
    )


def answer(process: subprocess.CompletedProcess) -> dict:
    """Return the one JSON object a command printed."""
    lines = process.stdout.strip().splitlines()
    assert len(lines) == 1, process.stdout + process.stderr
    return json.loads(lines[0])
