"""Tallies: counters by UTC day, raised in the transaction that causes them.

Nothing that counts history grows with it, or falls when rows are pruned.
"""

from bot.ledger.db import Tx, run
from bot.model.units import utc_day

#: Leader trades seen, and of those the ones that were copied, by wallet; gains by portfolio.
SEEN, COPIED, REALIZED = "seen", "copied", "realized"


def count(tx: Tx, kind: str, key: str, *, now_us: int, n: int = 1) -> None:
    """Raise one counter of today by `n`."""
    run(
        tx,
        "INSERT INTO tally (day, kind, key, n) VALUES (:day, :kind, :key, :n)"
        " ON CONFLICT (day, kind, key) DO UPDATE SET n = tally.n + excluded.n",
        day=utc_day(now_us),
        kind=kind,
        key=key,
        n=n,
    )
