"""What each worker's newest life has said of itself with its last beat."""

import json
from dataclasses import dataclass
from typing import Any

from bot.report.reader import Report


@dataclass(frozen=True, slots=True)
class Beat:
    """A life's number, and its gauges by name."""

    life: int
    said: dict[str, Any]


def beats(found: Report) -> dict[str, Beat]:
    """Return the last beat of each worker that has ever lived."""
    rows = found.rows(
        "SELECT id, worker, detail FROM boot b"
        " WHERE id = (SELECT MAX(id) FROM boot WHERE worker = b.worker) ORDER BY worker"
    )
    return {row["worker"]: Beat(row["id"], json.loads(row["detail"] or "{}")) for row in rows}
