"""Store what sources observe: trade, holding, signal and cursor in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from cachetools import LRUCache

from bot import failpoints
from bot.detect.fold import Pair, Sight, fold
from bot.ledger import leaders, signals
from bot.ledger.db import Ledger, Tx
from bot.model import totals
from bot.model.leader import LeaderFill, Wallet
from bot.model.market import ConditionId, Side
from bot.model.signal import Signal

Observation = tuple[LeaderFill, totals.Total]
#: Groups whose total is remembered, so that what repeats it costs nothing: those of a poll's
#: overlap. Beyond it a repetition costs a transaction without news.
REMEMBERED = 5_000


class Intake:
    """The only writer of leader trades and signals."""

    def __init__(
        self,
        ledger: Ledger,
        announce: Callable[[Signal], None],
        now_us: Callable[[], int],
        warm: Callable[[LeaderFill], None] = lambda _: None,
        used: Callable[[ConditionId], None] = lambda _: None,
    ) -> None:
        self._ledger, self._announce, self._now = ledger, announce, now_us
        self._warm = warm  #: told of a purchase before it is stored
        self.used = used  #: told of every market in which a leader trades or holds something
        self._watched: Mapping[str, tuple[Wallet, int]] = {}
        self._known: LRUCache[totals.Group, totals.Total] = LRUCache(REMEMBERED)
        self.refused = 0  #: rows that could not be read since start

    async def load(self) -> list[Wallet]:
        """Read whom we follow from the ledger and return the wallets."""
        starts = await self._ledger.look(leaders.watch_starts)
        self._watched = {wallet.lower(): (wallet, start) for wallet, start in starts.items()}
        return list(starts)

    def knows(self, wallet: str) -> bool:
        """Return whether a wallet, in lower case, is a followed leader's."""
        return wallet in self._watched

    def follows(self, fill: LeaderFill) -> bool:
        """Return whether a row is a followed leader's, since we watch."""
        known = self._watched.get(fill.wallet)
        return known is not None and fill.traded_s >= known[1]

    async def absorb(
        self,
        source: str,
        seen: Iterable[Observation],
        *,
        seen_us: int,
        cursor: tuple[str, str, int] | None = None,
    ) -> int:
        """Fold running totals of one source and return how many signals were stored or grew."""
        return await self.take([Sight(source, f, total, seen_us) for f, total in seen], cursor)

    async def take(
        self, sights: Iterable[Sight], cursor: tuple[str, str, int] | None = None
    ) -> int:
        """Fold running totals and return how many signals were stored or grew.

        Everything commits together, the cursor (name, wallet, second) included, before any
        signal is announced: a crash in between costs a doorbell, not a trade. What only repeats
        what this life has stored takes no transaction: a total that is no higher changes nothing.
        """
        # Checksummed here once: feeds disagree about the case of addresses.
        rows = [
            replace(s, fill=replace(s.fill, wallet=self._watched[s.fill.wallet][0]))
            for s in sights
            if self.follows(s.fill)
        ]
        rows = [s for s in rows if s.total > self._known.get(s.fill.group, (0, 0))]
        if not rows and cursor is None:
            return 0

        for s in rows:
            self.used(s.fill.condition)
            if s.fill.side is Side.BUY:
                self._warm(s.fill)

        def store(tx: Tx) -> list[Signal]:
            found = _store(tx, rows)
            if cursor is not None:
                leaders.advance(tx, *cursor, now_us=self._now())
            failpoints.reach("seen.written")
            return found

        emitted = await self._ledger.transact(store)
        for s in rows:
            self._known[s.fill.group] = max(s.total, self._known.get(s.fill.group, (0, 0)))
        failpoints.reach("seen.committed")
        for signal in emitted:
            self._announce(signal)
            failpoints.reach("seen.announced")
        return len(emitted)


def _store(tx: Tx, sights: Sequence[Sight]) -> list[Signal]:
    """Fold sights, store what is news of them, and return the signals."""
    groups = list(dict.fromkeys(sight.fill.group for sight in sights))
    pairs: set[Pair] = {(sight.fill.wallet, sight.fill.token) for sight in sights}
    held = {pair: leaders.holding(tx, *pair) for pair in pairs}
    trades, moved = fold(sights, leaders.trades(tx, groups), held)
    ids = {trade.fill.group: trade.id for trade in trades if trade.id is not None}
    ids |= leaders.add_trades(tx, [trade.new() for trade in trades if trade.id is None])
    told = [(trade, trade.signal(ids[trade.fill.group])) for trade in trades]
    signals.add(tx, [news for trade, news in told if trade.id is None and news is not None])
    for trade, news in told:
        if trade.id is not None:
            _grow(tx, trade.id, trade.target, news)
    leaders.store_totals(
        tx, [(ids[t.fill.group], name, t.by_source[name]) for t in trades for name in t.raised]
    )
    for (wallet, token), after in moved.items():
        leaders.hold(tx, wallet, token, after.condition, after.holding, now_us=after.seen_us)
    return [news for _, news in told if news is not None]


def _grow(tx: Tx, trade_id: int, target: totals.Total, news: Signal | None) -> None:
    if news is not None:
        signals.emit(tx, news)
    else:
        leaders.store_target(tx, trade_id, target)
