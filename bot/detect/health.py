"""How every source does, held against the chain: late, missing, or telling of what never was.

A trade that the chain has must have been told of by each other source in its time. What the stream
tells first is proven, or proven to be nothing. What is known is stored every ten seconds.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from bot.detect.fold import Sight
from bot.detect.hook import HOOK
from bot.ledger import sources
from bot.ledger.db import Ledger
from bot.model import totals
from bot.model.leader import FactKind, FactState
from bot.model.source import SourceHealth
from bot.model.units import MICRO

STREAM = "rtds"
#: So long after its block each source has to tell of a trade.
IN_TIME_US = {
    totals.CHAIN: 60 * MICRO, STREAM: 10 * MICRO, HOOK: 10 * MICRO, totals.INDEX: 120 * MICRO,
}  # fmt: skip
#: Who tells of trades that may never be in a block.
EARLY = (STREAM, HOOK)
STORED_S = 10.0
REMEMBERED = 20_000
#: A stream of which more is of nothing is acted on no more before a block has it.
PHANTOMS = 0.02


@dataclass(slots=True)
class _Trade:
    """Who told of a trade, how late, and what came of it."""

    noted_us: int
    traded_s: int
    lags_us: dict[str, int] = field(default_factory=dict)
    early: str = ""  #: who told of it first, before anybody who knows
    proven: bool = False
    reverted: bool = False


class Health:
    """Notes every sight, and judges each trade once all had their time."""

    def __init__(
        self, ledger: Ledger, now_us: Callable[[], int], watched: Mapping[str, bool]
    ) -> None:
        """`watched`: the sources, by name, and whether each is switched on."""
        self._ledger, self._now = ledger, now_us
        self.found = {name: SourceHealth(name) for name, on in watched.items() if on}
        self._trades: OrderedDict[totals.Group, _Trade] = OrderedDict()
        self._began_us = now_us()

    async def load(self) -> None:
        """Go on from what another life has stored."""
        for stored in await self._ledger.look(sources.all_known):
            if stored.name in self.found:
                self.found[stored.name] = stored

    def note(self, sight: Sight) -> None:
        """Note that a source has told of a leader's trade."""
        if sight.fill.kind is not FactKind.TRADE:
            return
        name, group = sight.source.split(":")[0], sight.fill.group
        trade = self._trades.get(group)
        if trade is None:
            trade = self._trades[group] = _Trade(sight.seen_us, sight.fill.traded_s)
            trade.early = name if name in EARLY else ""
            if len(self._trades) > REMEMBERED:
                self._trades.popitem(last=False)
        if sight.state is FactState.REVERTED:
            trade.reverted = True
        else:
            trade.proven |= sight.state in (FactState.MINED, FactState.FINAL)
            lag_us = max(sight.seen_us - trade.traded_s * MICRO, 0)
            trade.lags_us.setdefault(name, lag_us)

    def judge(self) -> None:
        """Judge the trades of which everybody had the time to tell."""
        while self._trades:
            group, trade = next(iter(self._trades.items()))
            if self._now() - trade.noted_us < max(IN_TIME_US.values()):
                return
            del self._trades[group]
            self._judge(trade)

    def _judge(self, trade: _Trade) -> None:
        if trade.early in self.found and (trade.proven or trade.reverted):
            self.found[trade.early] = self.found[trade.early].proven(real=not trade.reverted)
        # What was done before this life began, another one has seen.
        if trade.reverted or not trade.proven or trade.traded_s * MICRO < self._began_us:
            return
        for name, found in self.found.items():
            lag_us = trade.lags_us.get(name)
            in_time = lag_us is not None and lag_us <= IN_TIME_US[name]
            self.found[name] = found.saw(lag_us or 0) if in_time else found.missed()

    @property
    def haunted(self) -> bool:
        """Return whether those who tell early tell too often of what never is in a block."""
        early = (self.found[name].phantoms for name in EARLY if name in self.found)
        return any(phantoms is not None and phantoms > PHANTOMS for phantoms in early)

    async def run(self, heard: Callable[[], Mapping[str, tuple[int | None, str]]]) -> None:
        """Judge and store until cancelled; `heard` tells when each source was heard, and a note."""
        while True:
            await asyncio.sleep(STORED_S)
            self.judge()
            await self.store(heard())

    async def store(self, heard: Mapping[str, tuple[int | None, str]]) -> None:
        """Store how every source does."""
        for name, (at_us, note) in heard.items():
            if name in self.found:
                self.found[name] = replace(self.found[name], heard_us=at_us, note=note)
        await self._ledger.transact(sources.store, list(self.found.values()), now_us=self._now())
