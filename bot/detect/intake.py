"""Store what sources observe: trade, holding, signal and cursor in one transaction."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from cachetools import LRUCache

from bot import failpoints
from bot.ledger import leaders, signals
from bot.ledger.db import Ledger, Tx
from bot.model import totals
from bot.model.intent import mirror
from bot.model.leader import Holding, LeaderFill, Wallet
from bot.model.market import ConditionId, Side
from bot.model.signal import Signal, SignalKind

Observation = tuple[LeaderFill, totals.Total]
#: Groups whose total is remembered, so that what repeats it costs nothing.
REMEMBERED = 50_000


@dataclass(frozen=True, slots=True)
class Sight:
    """A source's running total of one leader trade."""

    source: str
    fill: LeaderFill
    total: totals.Total
    seen_us: int


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
            found = [self._fold(tx, s.source, s.fill, s.total, s.seen_us) for s in rows]
            if cursor is not None:
                leaders.advance(tx, *cursor, now_us=self._now())
            failpoints.reach("seen.written")
            return [signal for signal in found if signal is not None]

        emitted = await self._ledger.transact(store)
        for s in rows:
            self._known[s.fill.group] = max(s.total, self._known.get(s.fill.group, (0, 0)))
        failpoints.reach("seen.committed")
        for signal in emitted:
            self._announce(signal)
            failpoints.reach("seen.announced")
        return len(emitted)

    def _fold(
        self, tx: Tx, source: str, fill: LeaderFill, total: totals.Total, seen_us: int
    ) -> Signal | None:
        trade = leaders.trade(tx, fill.group)
        if trade is None:
            trade = leaders.add_trade(tx, fill, total, now_us=seen_us)
        if total <= trade.totals.get(source, (0, 0)):
            return None
        target = totals.target({**trade.totals, source: total})
        leaders.store_total(tx, trade.id, source, total)
        grown = totals.growth(target, trade.emitted)
        if grown is None:
            leaders.store_target(tx, trade.id, target)
            return None
        before = leaders.holding(tx, fill.wallet, fill.token)
        after = totals.moved(before, fill.side, grown[0])
        leaders.hold(tx, fill.wallet, fill.token, fill.condition, after, now_us=seen_us)
        seen = _Seen(source.split(":")[0], seen_us, trade, target, grown)
        signal = _signal(fill, seen, after)
        signals.emit(tx, signal)
        return signal


@dataclass(frozen=True, slots=True)
class _Seen:
    """How a leader trade was seen to grow: its total so far, and by how much."""

    source: str
    seen_us: int
    trade: leaders.TradeRow
    total: totals.Total
    grown: totals.Total


def _signal(fill: LeaderFill, seen: _Seen, after: Holding) -> Signal:
    return Signal(
        id=totals.signal_id(fill.group, seen.total),
        kind=SignalKind.INCREASE if fill.side is Side.BUY else SignalKind.DECREASE,
        portfolio=mirror(fill.wallet),
        condition=fill.condition,
        token=fill.token,
        trade_id=seen.trade.id,
        note="",
        seq=seen.trade.signals,
        tx=fill.tx,
        wallet=Wallet(fill.wallet),
        side=fill.side,
        shares=seen.grown[0],
        usdc=seen.grown[1],
        group_shares=seen.total[0],
        group_usdc=seen.total[1],
        leader_watched=after.watched,
        title=fill.title,
        outcome=fill.outcome,
        traded_s=fill.traded_s,
        seen_us=seen.seen_us,
        source=seen.source,
    )
