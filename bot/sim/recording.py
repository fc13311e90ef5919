"""A recording of `botctl record`, as events that bot/sim/feed.py reads.

What the stream has told is told again, repeats included, when it came. What only the Data API had
is told by nobody on the stream: it is in blocks and in the index.
"""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.errors import ConfigError

Event = dict[str, Any]
_BEGIN = b'{"at_us":'
MAX_LINE = 64 * 1024 * 1024


def is_recording(path: Path) -> bool:
    """Return whether a file begins as a recording does. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(_BEGIN)) == _BEGIN


def events(path: Path) -> list[Event]:
    """Return the events of a recording, each with whether the stream `said` it.

    It is read line by line: an hour is gigabytes, and most of it no trade. Raises ConfigError for a
    line that is none.
    """
    told: dict[str, list[Event]] = {}
    index: Counter[tuple[Any, ...]] = Counter()
    for found in _lines(path):
        at_us, source, said = found["at_us"], found["source"], found["text"]
        if source == "rtds":
            for kind, event in _frame(said, at_us):
                told.setdefault(kind, []).append(event)
        elif source == "data_api" and str(found.get("asked", "")).startswith("/v2/activity"):
            index |= Counter(_rows(said))
    # Both kinds tell of every trade; one of them may be silent.
    said_rows = told.get("trades") or told.get("orders_matched") or []
    known = {event["tx_hash"] for event in said_rows}
    unsaid = [dict(row) | {"said": False} for row in index.elements()]
    return [*said_rows, *(event for event in unsaid if event["tx_hash"] not in known)]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            try:
                found = json.loads(line)
                right = isinstance(found["at_us"], int) and isinstance(found["text"], str)
            except (ValueError, KeyError, TypeError, RecursionError):
                right = False
            if not right:
                problem = "expected a line of botctl record"
                raise ConfigError(f"{path}: line {number}: {problem}")
            yield found


def _frame(text: str, at_us: int) -> Iterator[tuple[str, Event]]:
    frame = _json(text)
    payload = frame.get("payload") if isinstance(frame, dict) else None
    if not isinstance(payload, dict) or frame.get("topic") != "activity":
        return
    yield str(frame.get("type")), {
        "tx_hash": _lower(payload.get("transactionHash")),
        "trader": payload.get("proxyWallet"), "market_id": payload.get("conditionId"),
        "token_id": payload.get("asset"), "outcome": payload.get("outcome", ""),
        "side": payload.get("side"), "price": payload.get("price"), "size": payload.get("size"),
        "title": payload.get("title", ""), "slug": payload.get("slug", ""),
        "source_ts_ms": at_us // 1000, "said": True,
    }  # fmt: skip


def _rows(text: str) -> Iterator[tuple[tuple[str, Any], ...]]:
    answer = _json(text)
    rows = answer.get("data") if isinstance(answer, dict) else None
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("type") == "TRADE":
            yield tuple({
                "tx_hash": _lower(row.get("transaction_hash")), "trader": row.get("proxy_wallet"),
                "market_id": row.get("condition_id"), "token_id": row.get("token_id"),
                "outcome": row.get("outcome", ""), "side": row.get("side"),
                "price": row.get("price"), "size": row.get("size"), "title": row.get("title", ""),
                "slug": row.get("slug", ""), "source_ts_ms": row.get("timestamp", 0) * 1000,
            }.items())  # fmt: skip


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError, ArithmeticError):
        return None  # an empty first frame, a pong


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
