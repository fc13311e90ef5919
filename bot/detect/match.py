"""One match, as a connection of the stream tells of it: which of its rows were filled twice? Pure.

Rows carry no key. A stream repeats rows, and a match may have two that are the same. But its first
row is the taker's, whose shares are those of all resting orders that he met (it was so in 48 of 48
recorded matches of several rows). Where the distinct rows add up to less, and exactly one choice
of repeated ones makes up for it, those were filled twice. A stream that repeats the taker's row as
well repeats everything, and proves nothing.
"""

from collections import Counter
from itertools import product

from bot.model.leader import LeaderFill
from bot.model.totals import Group, Total

#: Sources round. A match of more kinds of repeated rows than this is left to the chain.
EXACT, MOST_KINDS, MOST_TIMES = 10_000, 4, 8
_Row = tuple[Group, Total]


class Match:
    """The rows of one transaction on one connection, each with how often it was told."""

    def __init__(self) -> None:
        self._rows: Counter[_Row] = Counter()  #: the first comes first
        self._watched: dict[Group, LeaderFill] = {}
        self._told: dict[Group, Total] = {}

    def add(self, fill: LeaderFill, *, watched: bool) -> list[tuple[LeaderFill, Total]]:
        """Take a row; return watched wallets' groups whose running total (shares, usdc) is news.

        A row that may be only a repetition counts once: what is counted twice by mistake nothing
        lowers before the chain does.
        """
        self._rows[fill.group, fill.amounts] += 1
        if watched:
            self._watched.setdefault(fill.group, fill)
        if not self._watched:
            return []
        twice, news = self._filled_twice(), []
        for group, first in self._watched.items():
            rows = [(n, 1 + twice.get((g, n), 0)) for g, n in self._rows if g == group]
            total = sum(n[0] * times for n, times in rows), sum(n[1] * times for n, times in rows)
            if total > self._told.get(group, (0, 0)):
                self._told[group] = total
                news.append((first, total))
        return news

    def _filled_twice(self) -> dict[_Row, int]:
        """Return how many times more than once each repeated row was filled."""
        taker, *rest = self._rows
        missing = taker[1][0] - sum(shares for _, (shares, _) in rest)
        repeated = [row for row in rest if self._rows[row] > 1]
        if missing < EXACT or self._rows[taker] > 1 or not 0 < len(repeated) <= MOST_KINDS:
            return {}
        ranges = [range(min(self._rows[row], MOST_TIMES)) for row in repeated]
        found = [
            dict(zip(repeated, more, strict=True))
            for more in product(*ranges)
            if abs(sum(n * row[1][0] for n, row in zip(more, repeated, strict=True)) - missing)
            <= EXACT
        ]
        return found[0] if len(found) == 1 else {}
