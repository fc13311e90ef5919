"""On a worker's path, this lets it write down what it asks of its ledger.

Python imports it at its start. One sample of each statement goes into a file of
`$COPYBOT_STATEMENTS` when the worker ends.
"""

import atexit
import os
import re
import sys
from pathlib import Path

_LITERAL = re.compile(r"'[^']*'|\b\d+\b")


def _trace(folder: Path) -> None:
    from bot.ledger.db import Ledger

    seen: dict[str, str] = {}
    prepare = Ledger._prepare

    async def traced(self, connection):
        await prepare(self, connection)
        note = lambda sql: seen.setdefault(_LITERAL.sub("?", sql), sql)  # noqa: E731
        await connection.run(lambda db: db.set_trace_callback(note))

    Ledger._prepare = traced
    path = folder / str(os.getpid())
    atexit.register(lambda: path.write_text("\0".join(seen.values())))


if "COPYBOT_STATEMENTS" in os.environ and any("workers" in word for word in sys.orig_argv):
    _trace(Path(os.environ["COPYBOT_STATEMENTS"]))
