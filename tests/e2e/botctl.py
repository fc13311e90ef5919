"""Run botctl as a user does: the installed command, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

BOTCTL = Path(sys.executable).parent / "botctl"
ROOT = Path(__file__).parents[2]
#: Counts the lines of one process, and of none that it starts.
COUNTED = (
    sys.executable, "-m", "coverage", "run", "--rcfile=/dev/null", "--parallel-mode",
    f"--data-file={ROOT / '.coverage'}", "--source=bot", "--omit=*/bot/sim/*,*/bot/cli/*",
)  # fmt: skip


def botctl(
    *arguments: object, timeout: int = 300, **environment: str
) -> subprocess.CompletedProcess:
    """Return the finished process of `botctl ARGUMENTS`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BOT_")}
    return subprocess.run(
        [BOTCTL, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env={**clean, **environment},
        check=False,
    )


def lab(*arguments: object, timeout: int = 1800) -> subprocess.CompletedProcess:
    """Return the finished process of `botctl ARGUMENTS` that plays with workers of its own.

    Coverage counts botctl alone: counting in its workers too would take half of their time.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BOT_", "COV"))}
    counted = COUNTED if "COVERAGE_PROCESS_CONFIG" in os.environ else ()
    return subprocess.run(
        [*counted, BOTCTL, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env=clean,
        check=False,
    )


def answer(process: subprocess.CompletedProcess) -> dict:
    """Return the one JSON object a command printed."""
    lines = process.stdout.strip().splitlines()
    assert len(lines) == 1, process.stdout + process.stderr
    return json.loads(lines[0])
