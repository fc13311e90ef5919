"""How sources do: one row each."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.ledger.db import Tx, rows, run, upsert_all
from bot.model.source import Rate, SourceHealth

_MILLION = 1_000_000


def store(tx: Tx, found: Sequence[SourceHealth], *, now_us: int) -> None:
    """Store how sources do; those that are not among them are watched no more."""
    kept = {source.name for source in found}
    for row in rows(tx, "SELECT name FROM source"):
        if row["name"] not in kept:
            run(tx, "DELETE FROM source WHERE name = :name", name=row["name"])
    upsert_all(
        tx,
        "source",
        ["name"],
        [
            {
                "name": s.name,
                "heard_us": s.heard_us,
                "lag_us": s.lag_us,
                "hits": round(s.hits.good * _MILLION),
                "misses": round(s.hits.bad * _MILLION),
                "real": round(s.real.good * _MILLION),
                "phantoms": round(s.real.bad * _MILLION),
                "note": s.note,
                "updated_us": now_us,
            }
            for s in found
        ],
    )


def all_known(tx: Tx) -> list[SourceHealth]:
    """Return how every source did when it was last stored."""
    return [of_row(row) for row in rows(tx, "SELECT * FROM source ORDER BY name")]


def of_row(row: Mapping[str, Any]) -> SourceHealth:
    """Return a stored row as what it says."""
    return SourceHealth(
        row["name"],
        row["heard_us"],
        row["lag_us"],
        Rate(row["hits"] / _MILLION, row["misses"] / _MILLION),
        Rate(row["real"] / _MILLION, row["phantoms"] / _MILLION),
        row["note"],
    )
