"""Law 7 for all that is stored together: what sights make of facts and holdings. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bot.ledger.facts import NewTrade, TradeRow
from bot.model import totals
from bot.model.intent import mirror
from bot.model.leader import FactKind, FactState, Holding, LeaderFill, Wallet
from bot.model.market import ConditionId, Side
from bot.model.signal import REVERTED, Signal, SignalKind

Pair = tuple[str, str]  #: (wallet, token)
#: A match that is settled again is told again within this.
TWINS_S = 120
_OTHER = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}


@dataclass(frozen=True, slots=True)
class Sight:
    """A source's running total of one fact, and what its telling proves."""

    source: str
    fill: LeaderFill
    total: totals.Total
    seen_us: int
    state: FactState = FactState.PROVISIONAL
    block: int | None = None  #: where the chain has it
    corrects: bool = False  #: of a final block it was told otherwise, before more of it was known


@dataclass(frozen=True, slots=True)
class Growth:
    """By how much a trade has grown, who saw it, and what its leader has bought with it."""

    shares: int
    usdc: int
    source: str
    seen_us: int
    watched: int


@dataclass(slots=True)
class Trade:
    """A fact, as it is stored and as it is now."""

    fill: LeaderFill
    seen_us: int
    id: int | None = None  #: None: not stored yet
    by_source: dict[str, totals.Total] = field(default_factory=dict)
    emitted: totals.Total = (0, 0)
    signals: int = 0
    state: FactState = FactState.PROVISIONAL
    block: int | None = None
    target: totals.Total = (0, 0)  #: what it amounts to
    changed: set[str] = field(default_factory=set)  #: sources whose total is news
    grown: Growth | None = None
    fell: int = 0  #: shares that were told of and are taken back
    twin: "Trade | None" = None  #: what was told of before under another hash: it was this one

    def now(self) -> NewTrade:
        """Return it as it is stored."""
        stands = (self.state, self.block, self.grown is not None)
        return NewTrade(self.fill, self.target, self.emitted, self.seen_us, *stands)

    def signal(self, trade_id: int) -> Signal | None:
        """Return what its growth asks for, under the id it is stored by; None without growth."""
        fill, grown = self.fill, self.grown
        if grown is None:
            return None
        return Signal(
            id=totals.signal_id(fill.group, self.emitted, self.signals),
            kind=SignalKind.INCREASE if fill.side is Side.BUY else SignalKind.DECREASE,
            portfolio=mirror(fill.wallet),
            condition=fill.condition,
            token=fill.token,
            trade_id=trade_id,
            note="",
            seq=self.signals,
            tx=fill.tx,
            wallet=Wallet(fill.wallet),
            side=fill.side,
            shares=grown.shares,
            usdc=grown.usdc,
            group_shares=self.emitted[0],
            group_usdc=self.emitted[1],
            leader_watched=grown.watched,
            title=fill.title,
            outcome=fill.outcome,
            traded_s=fill.traded_s,
            seen_us=grown.seen_us,
            source=grown.source,
        )


@dataclass(frozen=True, slots=True)
class Moved:
    """A leader's holding after what he did, and when that was seen.

    `asks`: it has changed otherwise than by a trade of his, and somebody must look at it: by
    `silently` shares (below 0: he has less), and `why`.
    """

    condition: ConditionId
    holding: Holding
    seen_us: int
    asks: bool = False
    silently: int = 0
    why: str = ""


@dataclass(slots=True)
class Fold:
    """What sights make of what is stored; they count one after the other."""

    stored: Mapping[totals.Group, TradeRow]
    holdings: Mapping[Pair, Holding]
    provisional: bool = False  #: what a stream alone has told of counts already
    near: Sequence[LeaderFill] = ()  #: facts in `stored` that may be others' twins
    trades: dict[totals.Group, Trade] = field(default_factory=dict)  #: those with news
    moved: dict[Pair, Moved] = field(default_factory=dict)

    def take(self, sights: Iterable[Sight]) -> "Fold":
        """Count sights in their order: what grows twice is one growth, by all of it."""
        for sight in sights:
            self._count(sight)
        return self

    def _count(self, sight: Sight) -> None:
        group = sight.fill.group
        trade = self.trades.get(group) or self._trade(sight)
        state = totals.state_after(trade.state, sight.state, sight.source)
        if sight.state is FactState.REVERTED and state is not FactState.REVERTED:
            return  # whoever has not seen its block knows less than who has
        known = trade.by_source.get(sight.source)
        # Totals only grow: a lower one has not seen everything. Those of a chain that is not final
        # may fall.
        # What it said of a block that is final it takes back only where it says so: another life,
        # or a provider that leaves logs out, may know less of that block.
        falls = sight.source == totals.CHAIN and (
            trade.state is not FactState.FINAL or sight.corrects
        )
        news = known != sight.total if falls else sight.total > (known or (0, 0))
        if not news and (state, sight.block or trade.block) == (trade.state, trade.block):
            return
        self.trades[group] = trade
        if news:
            trade.by_source[sight.source] = sight.total
            trade.changed.add(sight.source)
        trade.target = totals.target(trade.by_source, state, provisional=self.provisional)
        self._meet_twin(trade, state)
        more = totals.growth(trade.target, trade.emitted)
        fell = 0 if more else totals.shrinkage(trade.target, trade.emitted, state)
        after = self._move(sight, trade, (state, sight.block or trade.block), more or (-fell, 0))
        trade.state, trade.block = state, sight.block or trade.block
        if more:
            self._grow(sight, trade, more, after)
        elif fell:
            trade.grown, trade.fell = None, trade.fell + fell

    def _trade(self, sight: Sight) -> Trade:
        row = self.stored.get(sight.fill.group)
        if row is None:
            return Trade(sight.fill, sight.seen_us)
        return _stored(row, sight.fill, sight.seen_us)

    def _meet_twin(self, trade: Trade, state: FactState) -> None:
        """Count one fill once that is told under two hashes: a match that fails comes again under
        another one, and its first is taken back much later.

        While no block has it, it counts nothing beside its twin. Once a block has it, what was told
        of a twin that is in none was it.
        """
        if trade.emitted != (0, 0) or trade.target == (0, 0):
            return
        if trade.fill.kind is not FactKind.TRADE:
            return
        for twin in self._twins(trade):
            if state is FactState.PROVISIONAL:
                trade.target = (0, 0)
            elif twin.state is FactState.PROVISIONAL:
                self.trades[twin.fill.group] = twin
                trade.twin, trade.emitted, trade.grown = twin, twin.emitted, twin.grown
                twin.emitted, twin.target, twin.grown = (0, 0), (0, 0), None
            else:
                continue  # both are in blocks: these are two
            return

    def _twins(self, trade: Trade) -> list[Trade]:
        near = {fill.group: fill for fill in self.near}
        known = [
            self.trades.get(group) or _stored(self.stored[group], fill, trade.seen_us)
            for group, fill in near.items()
        ]
        beside = [other for group, other in self.trades.items() if group not in near]
        return [
            other
            for other in [*known, *beside]
            if other.fill.group[0] != trade.fill.tx
            and other.fill.group[1:] == trade.fill.group[1:]
            and abs(other.fill.traded_s - trade.fill.traded_s) <= TWINS_S
            and other.emitted[0] == trade.target[0]
        ]

    def _grow(self, sight: Sight, trade: Trade, more: totals.Total, after: Holding) -> None:
        if trade.fill.kind is not FactKind.TRADE:
            return
        earlier = trade.grown or Growth(0, 0, sight.source.split(":")[0], sight.seen_us, 0)
        trade.grown = Growth(
            earlier.shares + more[0],
            earlier.usdc + more[1],
            earlier.source,
            earlier.seen_us,
            after.watched,
        )

    def _move(
        self,
        sight: Sight,
        trade: Trade,
        stands: tuple[FactState, int | None],
        change: totals.Total,
    ) -> Holding:
        """Let a holding have what a fact amounts to now, and no more what it did before.

        A fact may turn out to be in an observed balance already, or not to be in it.
        """
        fill = trade.fill
        pair = (fill.wallet, fill.token)
        earlier = self.moved.get(pair)
        held = earlier.holding if earlier else self.holdings.get(pair, Holding())
        before, told = trade.emitted[0], change[0]
        if told:
            trade.emitted = trade.target
        was = before if totals.counts(held, trade.state, trade.block, fill.traded_s) else 0
        now = trade.emitted[0] if totals.counts(held, *stands, fill.traded_s) else 0
        if now == was and told >= 0:
            return held
        side = fill.side if now > was else _OTHER[fill.side]
        after = totals.moved(held, side, abs(now - was), fill.kind)
        # What his trade's signal does not tell, somebody must look at. A transfer is no sale.
        silent = fill.kind is not FactKind.TRADE or now - was != told
        by = after.counted - held.counted if silent or told < 0 else 0
        asks = told < 0 or by != 0
        why = REVERTED if told < 0 else ""
        if earlier is not None:
            asks, by, why = asks or earlier.asks, by + earlier.silently, why or earlier.why
        self.moved[pair] = Moved(fill.condition, after, sight.seen_us, asks, by, why)
        return after


def _stored(row: TradeRow, fill: LeaderFill, seen_us: int) -> Trade:
    found = Trade(fill, seen_us, row.id, dict(row.totals), row.emitted, row.signals)
    found.state, found.block = row.state, row.block
    return found
