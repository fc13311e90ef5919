"""Run botctl as a user does: the installed command, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

BOTCTL = Path(sys.executable).parent / "botctl"


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


def answer(process: subprocess.CompletedProcess) -> dict:
    """Return the one JSON object a command printed."""
    lines = process.stdout.strip().splitlines()
    assert len(lines) == 1, process.stdout + process.stderr
    return json.loads(lines[0])
