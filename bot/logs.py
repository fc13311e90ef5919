"""Logs: one JSON object (or console line) per event on standard output.

Writing happens on a listener thread, so that a slow disk or terminal never blocks the loop.
supervisord rotates the files (50 MB x 10). Outside text is made printable here, for every line.
"""

import logging
import logging.handlers
import queue
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from bot.model.units import printable

_SECRET = re.compile(r"(?i)(key|secret|passphrase|signature|authorization)")


def _safe(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if _SECRET.search(name):
            event[name] = "***"
        elif isinstance(value, str) and name != "exception":
            event[name] = printable(value, 500)
    return event


@contextmanager
def logging_to_stdout(worker: str, level: str, as_json: bool) -> Iterator[None]:
    """Send every log line of this process to stdout until the block ends, then flush."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _safe,
    ]
    sink = logging.StreamHandler(sys.stdout)
    sink.setFormatter(_formatter(shared, as_json))
    lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
    handler = _Raw(lines)
    listener = logging.handlers.QueueListener(lines, sink)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries stay quiet whatever is asked for: at DEBUG some print keys and passphrases.
    root.setLevel(logging.WARNING)
    for ours in ("bot", "workers", "__main__"):
        logging.getLogger(ours).setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(worker=worker)
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        root.handlers.remove(handler)


def _formatter(shared: list[structlog.typing.Processor], as_json: bool) -> logging.Formatter:
    console = structlog.dev.ConsoleRenderer(colors=False)
    final = structlog.processors.JSONRenderer() if as_json else console
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, final],
        foreign_pre_chain=[*shared],
    )


class _Raw(logging.handlers.QueueHandler):
    """Hand records over unformatted: the event dictionary is rendered by the listener."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record
