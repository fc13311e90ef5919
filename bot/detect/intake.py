"""Store what sources observe: trade, holding, signal and cursor in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cachetools import LRUCache

from bot import failpoints
from bot.detect.fold import TWINS_S, Fold, Moved, Pair, Sight, Trade
from bot.ledger import facts, intents, leaders, markets, roster, signals
from bot.ledger.db import Ledger, Tx
from bot.model import totals
from bot.model.intent import mirror
from bot.model.leader import FactState, LeaderFill, Wallet
from bot.model.market import ConditionId, Side, TokenId
from bot.model.signal import Signal

Observation = tuple[LeaderFill, totals.Total]


@dataclass(frozen=True, slots=True)
class Observed:
    """What a leader holds of a token, at the end of a block or, less surely, of none."""

    wallet: Wallet
    token: TokenId
    condition: ConditionId
    shares: int
    block: int | None = None
    block_s: int | None = None


_Chained = tuple[totals.Total, FactState, int | None]  #: what the chain has told last
_SURE = (FactState.MINED, FactState.FINAL)
#: Groups whose total is remembered, so that what repeats it costs nothing: those of a poll's
#: overlap. Beyond it a repetition costs a transaction without news.
REMEMBERED = 5_000
#: Sights, or balances, in one transaction: each writes four rows at most.
AT_ONCE = 50


class Intake:
    """The only writer of leader trades and signals."""

    def __init__(
        self,
        ledger: Ledger,
        announce: Callable[[Signal], None],
        now_us: Callable[[], int],
        warm: Callable[[LeaderFill], None] = lambda _: None,
        used: Callable[[ConditionId], None] = lambda _: None,
        seen: Callable[[Sight], None] = lambda _: None,
        *,
        provisional: Callable[[], bool] = lambda: False,
    ) -> None:
        """`provisional` tells whether what a stream alone has told of counts already."""
        self._ledger, self._announce, self._now = ledger, announce, now_us
        self._provisional = provisional
        self._seen = seen  #: told of everything that a source tells of a leader
        self._warm = warm  #: told of a purchase before it is stored
        self.used = used  #: told of every market in which a leader trades or holds something
        self._watched: Mapping[str, tuple[Wallet, int]] = {}
        self._told: LRUCache[tuple[totals.Group, bool], totals.Total] = LRUCache(REMEMBERED)
        self._chained: LRUCache[totals.Group, _Chained] = LRUCache(REMEMBERED)
        self.refused = 0  #: rows that could not be read since start

    async def load(self) -> list[Wallet]:
        """Read whom we follow from the ledger and return the wallets."""
        starts = await self._ledger.look(roster.watch_starts)
        self._watched = {wallet.lower(): (wallet, start) for wallet, start in starts.items()}
        return list(starts)

    def wallets(self) -> list[Wallet]:
        """Return all followed wallets."""
        return [wallet for wallet, _ in self._watched.values()]

    def knows(self, wallet: str) -> bool:
        """Return whether a wallet, in lower case, is a followed leader's."""
        return wallet in self._watched

    def follows(self, fill: LeaderFill) -> bool:
        """Return whether a row is a followed leader's, since we watch."""
        known = self._watched.get(fill.wallet)
        return known is not None and fill.traded_s >= known[1]

    def _repeats(self, sight: Sight) -> bool:
        """Return whether a sight tells nothing that is not stored already."""
        group, stands = sight.fill.group, self._chained.get(sight.fill.group)
        if sight.source == totals.CHAIN:
            return stands == (sight.total, sight.state, sight.block)
        if stands is not None and stands[1] in _SURE and sight.total <= stands[0]:
            return True
        told = self._told.get((group, True), (0, 0))
        if sight.state is FactState.PROVISIONAL:
            told = max(told, self._told.get((group, False), (0, 0)))
        return sight.total <= told

    def _remember(self, sight: Sight) -> None:
        group, sure = sight.fill.group, sight.state in _SURE
        if sight.source == totals.CHAIN:
            self._chained[group] = (sight.total, sight.state, sight.block)
        else:
            self._told[group, sure] = max(sight.total, self._told.get((group, sure), (0, 0)))

    async def absorb(
        self,
        source: str,
        seen: Iterable[Observation],
        *,
        seen_us: int,
        cursor: tuple[str, str, int] | None = None,
    ) -> int:
        """Fold running totals of one source and return how many signals were stored or grew."""
        sure = FactState.MINED if source == totals.INDEX else FactState.PROVISIONAL
        found = [Sight(source, f, total, seen_us, sure) for f, total in seen]
        return await self.take(found, cursor)

    async def take(
        self, sights: Iterable[Sight], cursor: tuple[str, str, int] | None = None
    ) -> int:
        """Fold running totals and return how many signals were stored or grew.

        What belongs together commits together before any signal of it is announced: a crash in
        between costs a doorbell, not a trade. Much is stored in parts, and the cursor (name,
        wallet, second) with the last of them. What only repeats what this life has stored takes
        no transaction: a total that is no higher changes nothing.
        """
        # Checksummed here once: feeds disagree about the case of addresses.
        rows = [
            replace(s, fill=replace(s.fill, wallet=self._watched[s.fill.wallet][0]))
            for s in sights
            if self.follows(s.fill)
        ]
        for s in rows:
            self._seen(s)
        rows = [s for s in rows if not self._repeats(s)]
        if not rows and cursor is None:
            return 0

        for s in rows:
            self.used(s.fill.condition)
            if s.fill.side is Side.BUY:
                self._warm(s.fill)
        emitted = 0
        for start in range(0, max(len(rows), 1), AT_ONCE):
            last = start + AT_ONCE >= len(rows)
            emitted += await self._keep(rows[start : start + AT_ONCE], cursor if last else None)
        return emitted

    async def _keep(self, rows: Sequence[Sight], cursor: tuple[str, str, int] | None) -> int:
        provisional = self._provisional()

        def store(tx: Tx) -> list[Signal]:
            found = _store(tx, rows, provisional=provisional)
            if cursor is not None:
                leaders.advance(tx, *cursor, now_us=self._now())
            failpoints.reach("seen.written")
            return found

        emitted = await self._ledger.transact(store)
        for s in rows:
            self._remember(s)
        failpoints.reach("seen.committed")
        self._tell(emitted)
        return len(emitted)

    def _tell(self, emitted: Sequence[Signal]) -> None:
        for signal in emitted:
            self._announce(signal)
            failpoints.reach("seen.announced")

    async def observe(self, found: Sequence[Observed]) -> int:
        """Let balances replace facts, and return how many signals ask what is to be done.

        What came late gives no entry: a correction never buys.
        """
        emitted = 0
        for start in range(0, len(found), AT_ONCE):
            part = found[start : start + AT_ONCE]
            asked = await self._ledger.transact(_observe, part, now_us=self._now())
            self._tell(asked)
            emitted += len(asked)
        return emitted


def _observe(tx: Tx, found: Sequence[Observed], *, now_us: int) -> list[Signal]:
    moved: dict[Pair, Moved] = {}
    for seen in found:
        wallet, token = seen.wallet, seen.token
        held = leaders.holding(tx, wallet, token)
        if seen.block is None or seen.block_s is None:
            after = totals.told(held, seen.shares)
        elif held.block is not None and held.block >= seen.block:
            continue
        else:
            later = facts.since(tx, wallet, token, seen.block, seen.block_s)
            after = totals.observed(held, seen.shares, later, seen.block, seen.block_s)
        leaders.hold(tx, wallet, token, seen.condition, after, now_us=now_us)
        by = after.counted - held.counted
        moved[wallet, token] = Moved(seen.condition, after, now_us, asks=by != 0, silently=by)
    return _corrections(tx, moved)


def _store(tx: Tx, sights: Sequence[Sight], *, provisional: bool) -> list[Signal]:
    """Fold sights, store what is news of them, and return the signals."""
    groups = list(dict.fromkeys(sight.fill.group for sight in sights))
    pairs: set[Pair] = {(sight.fill.wallet, sight.fill.token) for sight in sights}
    held = {pair: leaders.holding(tx, *pair) for pair in pairs}
    near = facts.near(tx, [(sight.fill, sight.total) for sight in sights], TWINS_S)
    stored = facts.trades(tx, list(dict.fromkeys([*groups, *(fill.group for fill in near)])))
    found = Fold(stored, held, provisional, near).take(sights)
    trades = list(found.trades.values())
    ids = {trade.fill.group: trade.id for trade in trades if trade.id is not None}
    ids |= facts.add_trades(tx, [trade.now() for trade in trades if trade.id is None])
    told = [(trade, trade.signal(ids[trade.fill.group])) for trade in trades]
    signals.add(tx, [news for trade, news in told if trade.id is None and news is not None])
    for trade, news in told:
        if trade.id is not None:
            _restate(tx, trade.id, trade, news)
    for trade in trades:
        if trade.twin is not None and trade.twin.id is not None:
            signals.hand_over(tx, trade.twin.id, ids[trade.fill.group])
    facts.store_totals(
        tx, [(ids[t.fill.group], name, t.by_source[name]) for t in trades for name in t.changed]
    )
    for (wallet, token), after in found.moved.items():
        leaders.hold(tx, wallet, token, after.condition, after.holding, now_us=after.seen_us)
    return [*(news for _, news in told if news is not None), *_corrections(tx, found.moved)]


def _restate(tx: Tx, trade_id: int, trade: Trade, news: Signal | None) -> None:
    facts.restate(tx, trade_id, trade.now(), first=trade.signals == 0)
    if trade.fell:
        signals.take_back(tx, trade_id, trade.fell)
    if news is not None:
        signals.emit(tx, news)


def _corrections(tx: Tx, moved: Mapping[Pair, Moved]) -> list[Signal]:
    """Ask for decisions on holdings that have changed otherwise than by a trade; return what asks.

    Both tokens of a market count: who has got the other one holds less of ours, net of it.
    """
    found: dict[str, Signal | None] = {}
    asking = {(pair[0], after.condition): after for pair, after in moved.items() if after.asks}
    for (wallet, condition), after in asking.items():
        by = {
            pair[1]: a for pair, a in moved.items() if (pair[0], a.condition) == (wallet, condition)
        }
        known = markets.tokens_of(tx, [condition]).get(condition, [])
        for token in dict.fromkeys([*by, *(token for token, _ in known)]):
            if not intents.concerned(tx, mirror(wallet), token):
                continue
            net = sum(a.silently if t == token else -a.silently for t, a in by.items())
            why = by[token].why if token in by else ""
            asked = signals.correct(
                tx, mirror(wallet), condition, token, why, fell=max(-net, 0), now_us=after.seen_us
            )
            found[asked] = signals.undecided(tx, asked)
    return [signal for signal in found.values() if signal is not None]
