"""How sources do: one row each."""

from collections.abc import Sequence

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
    return [
        SourceHealth(
            r["name"],
            r["heard_us"],
            r["lag_us"],
            Rate(r["hits"] / _MILLION, r["misses"] / _MILLION),
            Rate(r["real"] / _MILLION, r["phantoms"] / _MILLION),
            r["note"],
        )
        for r in rows(tx, "SELECT * FROM source ORDER BY name")
    ]
