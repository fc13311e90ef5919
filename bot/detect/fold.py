"""Law 7 for all that is stored together: what sights make of trades and holdings. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bot.ledger.leaders import NewTrade, TradeRow
from bot.model import totals
from bot.model.intent import mirror
from bot.model.leader import Holding, LeaderFill, Wallet
from bot.model.market import ConditionId, Side
from bot.model.signal import Signal, SignalKind

Pair = tuple[str, str]  #: (wallet, token)


@dataclass(frozen=True, slots=True)
class Sight:
    """A source's running total of one leader trade."""

    source: str
    fill: LeaderFill
    total: totals.Total
    seen_us: int


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
    """A leader trade, as it is stored and as it is now."""

    fill: LeaderFill
    seen_us: int
    id: int | None = None  #: None: not stored yet
    by_source: dict[str, totals.Total] = field(default_factory=dict)
    emitted: totals.Total = (0, 0)
    signals: int = 0
    raised: set[str] = field(default_factory=set)  #: sources whose total is news
    grown: Growth | None = None

    @property
    def target(self) -> totals.Total:
        """Return what it amounts to: the largest total of any source."""
        return totals.target(self.by_source)

    def new(self) -> NewTrade:
        """Return it as what is stored of it first, together with its first signal."""
        return NewTrade(self.fill, self.target, self.emitted, self.seen_us)

    def signal(self, trade_id: int) -> Signal | None:
        """Return what its growth asks for, under the id it is stored by; None without growth."""
        fill, grown = self.fill, self.grown
        if grown is None:
            return None
        return Signal(
            id=totals.signal_id(fill.group, self.emitted),
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
    """A leader's holding after his trades, and when that was seen."""

    condition: ConditionId
    holding: Holding
    seen_us: int


def fold(
    sights: Iterable[Sight],
    stored: Mapping[totals.Group, TradeRow],
    holdings: Mapping[Pair, Holding],
) -> tuple[list[Trade], dict[Pair, Moved]]:
    """Return the trades that sights make news of, in the order they were seen, and the holdings.

    Sights count one after the other: what grows twice is one growth, by all of it.
    """
    trades: dict[totals.Group, Trade] = {}
    moved: dict[Pair, Moved] = {}
    for sight in sights:
        group = sight.fill.group
        trade = trades.get(group) or _trade(sight, stored.get(group))
        if sight.total <= trade.by_source.get(sight.source, (0, 0)):
            continue
        trades[group] = trade
        trade.by_source[sight.source] = sight.total
        trade.raised.add(sight.source)
        if (more := totals.growth(trade.target, trade.emitted)) is not None:
            _move(sight, trade, more, moved, holdings)
    return list(trades.values()), moved


def _trade(sight: Sight, row: TradeRow | None) -> Trade:
    if row is None:
        return Trade(sight.fill, sight.seen_us)
    return Trade(sight.fill, sight.seen_us, row.id, dict(row.totals), row.emitted, row.signals)


def _move(
    sight: Sight,
    trade: Trade,
    more: totals.Total,
    moved: dict[Pair, Moved],
    holdings: Mapping[Pair, Holding],
) -> None:
    fill = sight.fill
    pair = (fill.wallet, fill.token)
    before = moved[pair].holding if pair in moved else holdings.get(pair, Holding())
    after = totals.moved(before, fill.side, more[0])
    moved[pair] = Moved(fill.condition, after, sight.seen_us)
    trade.emitted = trade.target
    earlier = trade.grown or Growth(0, 0, sight.source.split(":")[0], sight.seen_us, 0)
    trade.grown = Growth(
        earlier.shares + more[0],
        earlier.usdc + more[1],
        earlier.source,
        earlier.seen_us,
        after.watched,
    )
