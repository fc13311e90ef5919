"""What sources tell of virtual leaders: early, late, twice, and of what did not last."""

import asyncio
import random
from collections.abc import Callable

from bot.detect.fold import Sight
from bot.detect.intake import Intake
from bot.model.leader import FactState, LeaderFill
from bot.model.totals import CHAIN, INDEX, Group
from bot.model.units import MICRO

#: The Data API's poll, and the chain's reader, begin this long before where they were.
OVERLAP_S = 120
#: What is told of a trade, in turn. `out`: its block is out of the chain.
WAYS = (
    ("mined",),
    ("mined", "index"),
    ("said", "mined"),
    ("said", "said", "index"),
    ("said", "mined", "index", "final"),
    ("index", "mined", "final"),
    ("mined", "out", "mined", "final"),
    ("said", "reverted"),
    ("mined", "out", "reverted"),
)
#: Between two words about a trade, seconds.
_GAPS_S = (0.0, 0.0, 0.05, 2.0)


class Sources:
    """Tells a process of each trade in one of the ways, and all that is recent to a new process."""

    def __init__(self, rng: random.Random, now_us: Callable[[], int]) -> None:
        self._rng, self._now = rng, now_us
        self.traded: dict[Group, int] = {}  #: shares of what is in a block
        self.undone: list[tuple[Group, int]] = []  #: shares of what was in one
        self.fates: list[tuple[LeaderFill, str]] = []  #: each trade, and the last word about it

    def knows(self, fill: LeaderFill) -> bool:
        """Return whether a trade of this group was told of already."""
        return any(fill.group == told.group for told, _ in self.fates[-5:])

    async def tell(self, intake: Intake, fill: LeaderFill) -> None:
        """Tell of a trade, in a way that is drawn."""
        way = self._rng.choice(WAYS)
        self.fates.append((fill, way[-1]))
        if way[-1] != "reverted":
            self.traded[fill.group] = fill.shares
        elif "mined" in way:
            self.undone.append((fill.group, fill.shares))
        for word in way:
            await intake.take([self._sight(fill, word)])
            await asyncio.sleep(self._rng.choice(_GAPS_S))

    async def replay(self, intake: Intake) -> None:
        """Tell a process that begins of all that is recent, as it stands."""
        since_s = self._now() // MICRO - OVERLAP_S
        recent = [(f, word) for f, word in self.fates[-200:] if f.traded_s >= since_s]
        await intake.take([self._sight(fill, word) for fill, word in recent])

    def _sight(self, fill: LeaderFill, word: str) -> Sight:
        total, now, block = fill.amounts, self._now(), fill.traded_s
        match word:
            case "said":
                return Sight("rtds:1", fill, total, now, FactState.PROVISIONAL)
            case "index":
                return Sight(INDEX, fill, total, now, FactState.MINED)
            case "out":
                return Sight(CHAIN, fill, (0, 0), now, FactState.PROVISIONAL, block)
            case "reverted":
                return Sight(CHAIN, fill, (0, 0), now, FactState.REVERTED)
        return Sight(CHAIN, fill, total, now, FactState(word), block)
