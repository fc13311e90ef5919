"""Tallies: counters by UTC day, raised in the transaction that causes them.

Nothing that counts history grows with it, or falls when rows are pruned.
"""

from bot.ledger.db import Tx, run
from bot.model.units import utc_day

#: Leader trades seen, and of those the ones that were copied, by wallet; gains by portfolio.
SEEN, COPIED, REALIZED = "seen", "copied", "realized"


def count(tx: Tx, *counters: tuple[str, str], now_us: int, n: int = 1) -> None:
    """Raise counters (kind, key) of today by `n`, each once."""
    add(tx, utc_day(now_us), *counters, n=n)


def add(tx: Tx, day: str, *counters: tuple[str, str], n: int) -> None:
    """Raise counters (kind, key) of a UTC day ('2026-11-27') by `n`, each once."""
    marks = ", ".join(f"(:day, :kind{i}, :key{i}, :n)" for i in range(len(counters)))
    values = {f"kind{i}": kind for i, (kind, _) in enumerate(counters)}
    values |= {f"key{i}": key for i, (_, key) in enumerate(counters)}
    run(
        tx,
        f"INSERT INTO tally (day, kind, key, n) VALUES {marks}"
        " ON CONFLICT (day, kind, key) DO UPDATE SET n = tally.n + excluded.n",
        day=day,
        n=n,
        **values,
    )
