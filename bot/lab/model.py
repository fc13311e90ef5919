"""A faulty exchange as a model: what the executor may meet, without sockets and with a seed.

It knows nothing of the executor and believes nothing it says; what it has accepted is true.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from decimal import Decimal

from bot.errors import Unavailable
from bot.model import (
    Accepted,
    Book,
    ConditionId,
    Market,
    Order,
    OrderId,
    Outcome,
    Rejected,
    RejectReason,
    Side,
    TokenId,
    Unknown,
)  # fmt: skip
from bot.polymarket.wire import MakerOrder, OpenOrder, Trade
from bot.units import MICRO, decimal_text

PRICE = 500_000
OWNER = "model"
#: What may become of a POST, and how often, in percent.
ANSWERS = {
    "matched": 46, "lost_after": 12, "lost_before": 8, "busy": 8, "late": 6, "killed": 5, "killed_but_filled": 4,
    "delayed": 4, "refused": 4, "unmatched": 3,
}  # fmt: skip
WAYS = ("CONFIRMED", "RETRYING", "FAILED")


@dataclass
class Accepted_:
    """An order that the exchange has."""

    order: Order
    at_s: float
    trades: list[Trade] = field(default_factory=list)


@dataclass
class Faulty:
    """One wallet at a faulty exchange. `on_trade` hears of trades, when it hears at all."""

    rng: random.Random
    now_s: Callable[[], float]
    markets: list[Market]
    collateral_: int
    calm: bool = False
    ways: list[str] = field(default_factory=list)  #: how the next trades settle, before chance decides
    fates: list[str] = field(default_factory=list)  #: what becomes of the next POSTs, before chance decides
    orders: dict[OrderId, Accepted_] = field(default_factory=dict)
    landed: list[tuple[str, OrderId]] = field(default_factory=list)  #: (signal, order) in order of acceptance
    seen: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)  #: rules that a client must never break
    on_trade: Callable[[Trade], Awaitable[None]] | None = None
    alive: Callable[[], None] = lambda: None
    coming: set[asyncio.Task[None]] = field(default_factory=set)  #: what is still on its way
    _by_market: dict[str, list[tuple[Accepted_, Trade]]] = field(default_factory=dict)

    owner = OWNER
    skew_s = 0

    def __post_init__(self) -> None:
        self._known = {market.condition: market for market in self.markets}
        self._number = 0

    async def _wait(self, low: float, high: float) -> None:
        await asyncio.sleep(self.rng.uniform(low, high))
        self.alive()

    # --- what the executor asks

    async def post(self, order: Order) -> Outcome:
        """Take an order, or not; say so, or not."""
        self.alive()
        if self.now_s() * MICRO > order.deadline_us:
            self.broken.append(f"order {order.id[:14]} was sent after its deadline")
        fate = self._fate()
        self.seen[fate] += 1
        await self._wait(0.001, 0.05)
        if fate == "lost_before":
            await self._wait(0, 3)
            return Unknown("reset")
        if fate == "busy":
            return Rejected(RejectReason.BUSY, "HTTP 425", self.rng.choice((None, 1, 2)))
        if order.id in self.orders:
            return Accepted("duplicate")
        if fate == "refused":
            return Rejected(RejectReason.NO_BALANCE, "not enough balance / allowance")
        if fate == "late":
            self._later(self.rng.uniform(0, 9), lambda: self._accept(order, "matched"))
            await self._wait(10, 10)
            return Unknown("timeout")
        self._accept(order, fate)
        return await self._answer(order, fate)

    def _fate(self) -> str:
        if self.fates:
            return self.fates.pop(0)
        return "matched" if self.calm else self.rng.choices(list(ANSWERS), list(ANSWERS.values()))[0]

    async def _answer(self, order: Order, fate: str) -> Outcome:
        if fate == "lost_after":
            await self._wait(0, 10)
            return Unknown(self.rng.choice(("timeout", "reset", "HTTP 500", "half JSON")))
        if fate in ("killed", "killed_but_filled"):
            return Rejected(RejectReason.NO_MATCH, "no orders found to match with FAK order")
        if fate in ("delayed", "unmatched"):
            return Accepted("delayed" if fate == "delayed" else "unmatched")
        made = sum(_shares(t) for t in self.orders[order.id].trades)
        return Accepted("matched", *((_usdc(made), made) if order.side is Side.BUY else (made, _usdc(made))))

    async def order(self, order_id: OrderId) -> OpenOrder | None:
        """Return a live order; only delayed ones ever are."""
        await self._lookup()
        found = self.orders.get(order_id)
        waiting = found is not None and not found.trades and self.now_s() < found.at_s
        return OpenOrder(order_id, "DELAYED") if waiting else None

    async def open_orders(self) -> list[OpenOrder]:
        """Return no order: none ever rests."""
        return []

    async def trades(self, market: str | None, *, after_s: int) -> list[Trade]:
        """Return our trades, those that the lookups show by now."""
        await self._lookup()
        lag = 0.0 if self.calm else self.rng.uniform(0, 4)
        found = self._by_market.get(market or "", [])
        return [t for o, t in found if o.at_s + lag <= self.now_s() and int(t.match_time) >= after_s]

    async def _lookup(self) -> None:
        self.alive()
        await self._wait(0.001, 0.02)
        if not self.calm and self.rng.random() < 0.08:
            raise Unavailable("lookup failed")

    async def market(self, condition: str) -> Market | None:
        """Return a market's facts."""
        self.alive()
        if not self.calm and self.rng.random() < 0.01:
            raise Unavailable("no facts")
        return self._known.get(ConditionId(condition))

    def forget_market(self, condition: str) -> None:
        """Facts never change here."""

    async def collateral(self) -> int:
        """Return our settled collateral."""
        return self.cash()

    async def shares(self, token: TokenId) -> int:
        """Return our settled shares of a token."""
        return self.held().get(token, 0)

    # --- books: deep, and always fresh

    async def watch(self, tokens: list[TokenId], *, max_age_us: int) -> None:
        """Books are always there."""

    def book(self, token: TokenId) -> Book | None:
        """Return a deep book around one half."""
        deep = 1_000_000 * MICRO
        return Book(((PRICE - 10_000, deep),), ((PRICE, deep),), int(self.now_s() * MICRO))

    # --- what becomes of an order

    def _accept(self, order: Order, fate: str) -> None:
        if order.id in self.orders:
            return
        held_back = self.rng.uniform(0.5, 2) if fate == "delayed" else 0.0
        self.orders[order.id] = taken = Accepted_(order, self.now_s() + held_back)
        self.landed.append((order.signal_id, order.id))
        if fate in ("killed", "unmatched"):
            return
        part = self.rng.choice((100, 100, 100, 60, 30)) if not self.calm else 100
        whole = order.making * MICRO // PRICE if order.side is Side.BUY else order.making
        shares = whole * part // 100 // 10_000 * 10_000
        pieces = [shares] if self.rng.random() < 0.8 or shares < 20_000 else [shares // 2, shares - shares // 2]
        if held_back:
            self._later(held_back, lambda: self._match(taken, pieces))
        else:
            self._match(taken, pieces)

    def _match(self, taken: Accepted_, pieces: list[int]) -> None:
        order = taken.order
        for shares in pieces:
            if shares <= 0:
                continue
            self._number += 1
            maker = MakerOrder(f"maker{self._number}", Decimal(decimal_text(shares)), Decimal("0.5"), order.token)
            trade = Trade(
                f"trade-{self._number}", order.id, order.condition, order.token, str(order.side),
                Decimal(decimal_text(shares)), Decimal("0.5"), "MATCHED", [maker], str(int(self.now_s())), owner=OWNER,
            )  # fmt: skip
            taken.trades.append(trade)
            self._by_market.setdefault(order.condition, []).append((taken, trade))
            self._spawn(self._settle(trade))

    def _way(self) -> str:
        if self.ways:
            return self.ways.pop(0)
        return "CONFIRMED" if self.calm else self.rng.choices(WAYS, (80, 10, 10))[0]

    async def _settle(self, trade: Trade) -> None:
        await self._tell(trade)
        await asyncio.sleep(self.rng.uniform(1, 3))
        way = self._way()
        if way == "RETRYING":
            trade.status = way
            await self._tell(trade)
            await asyncio.sleep(self.rng.uniform(1, 5))
        if way == "FAILED":
            trade.status = way
        else:
            trade.status, trade.transaction_hash = "MINED", f"0x{self.rng.getrandbits(256):064x}"
            await self._tell(trade)
            await asyncio.sleep(self.rng.uniform(1, 3))
            trade.status = "CONFIRMED"
        await self._tell(trade)

    def announce(self, trade: Trade, status: str) -> None:
        """Announce a trade once more, with a status that it has or had."""
        known = {name: getattr(trade, name) for name in trade.__struct_fields__}
        self._announce(Trade(**{**known, "status": status}))

    async def _tell(self, trade: Trade) -> None:
        """Announce a trade on the user channel: never, once, or several times, now and later."""
        copy = Trade(**{name: getattr(trade, name) for name in trade.__struct_fields__})
        for _ in range(self.rng.choice((0, 1, 1, 1, 3))):
            self._later(self.rng.uniform(0, 3), lambda: self._announce(copy))

    def _announce(self, trade: Trade) -> None:
        if self.on_trade is not None:
            self._spawn(self._hear(trade))

    async def _hear(self, trade: Trade) -> None:
        if self.on_trade is not None:
            try:
                await self.on_trade(trade)
            except Unavailable:
                self.seen["unheard"] += 1  # the channel's reader drops it; lookups will find it

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            work()

        self._spawn(wait())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self.coming.add(task)
        task.add_done_callback(self.coming.discard)

    @property
    def busy(self) -> bool:
        """Return whether anything is still on its way."""
        return bool(self.coming)

    # --- what is true

    def _real(self) -> list[tuple[Order, Trade]]:
        return [(o.order, t) for o in self.orders.values() for t in o.trades if t.status != "FAILED"]

    def held(self) -> dict[TokenId, int]:
        """Return our shares by token, all trades but the failed ones counted."""
        found: dict[TokenId, int] = {}
        for order, trade in self._real():
            sign = 1 if order.side is Side.BUY else -1
            found[order.token] = found.get(order.token, 0) + sign * _shares(trade)
        return {token: shares for token, shares in found.items() if shares}

    def cash(self) -> int:
        """Return our collateral, all trades but the failed ones counted. There are no fees here."""
        moved = sum((1 if o.side is Side.SELL else -1) * _usdc(_shares(t)) for o, t in self._real())
        return self.collateral_ + moved


def _shares(trade: Trade) -> int:
    return int(trade.size * MICRO)


def _usdc(shares: int) -> int:
    return shares * PRICE // MICRO
