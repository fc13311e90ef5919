"""A faulty exchange in virtual time: both ports of the executor, without sockets, with a seed.

It knows nothing of the executor and believes nothing it says; what it has accepted is true.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from bot.errors import Unavailable
from bot.model.fill import Evidence, Fill, Settlement
from bot.model.market import Book, ConditionId, Market, Side, TokenId
from bot.model.order import (
    Accepted,
    Deferred,
    LiveOrder,
    Order,
    OrderId,
    OrderKind,
    Outcome,
    Rejected,
    RejectReason,
    Unknown,
)
from bot.model.units import MICRO

PRICE = 500_000
OWNER = "virtual"
#: What may become of a POST, and how often, in percent.
ANSWERS = {
    "matched": 46, "lost_after": 12, "lost_before": 8, "busy": 8, "late": 6, "killed": 5,
    "killed_but_filled": 4, "delayed": 4, "refused": 4, "unmatched": 3,
}  # fmt: skip
#: What a cancel does: says so, says nothing, does not do it, or comes too late for a last fill.
CANCELS = ("cancelled", "cancelled", "cancelled", "filled", "denied", "lost")
WAYS = (Settlement.CONFIRMED, Settlement.RETRYING, Settlement.FAILED)


@dataclass
class Trade:
    """A match of one of our orders, on its way to the chain."""

    id: str
    order: Order
    shares: int
    at_s: int
    settlement: Settlement = Settlement.MATCHED
    tx: str | None = None

    def fill(self, settlement: Settlement | None = None) -> Fill:
        """Return it as the executor hears of it, now or as it was."""
        return Fill(
            self.id,
            self.order.id,
            self.order.condition,
            self.order.token,
            self.order.side,
            self.shares,
            self.shares * PRICE // MICRO,
            0,
            settlement or self.settlement,
            self.tx,
            self.at_s * MICRO,
        )


@dataclass
class Taken:
    """An order that the exchange has, and when it was, or will be, matched."""

    order: Order
    at_s: float
    trades: list[Trade] = field(default_factory=list)
    rests: bool = False


@dataclass
class VirtualExchange:
    """One wallet at a faulty exchange. `on_evidence` hears of trades, when it hears at all."""

    rng: random.Random
    now_s: Callable[[], float]
    markets: list[Market]
    opening: int
    calm: bool = False
    #: What becomes of the next POSTs, and how the next trades settle, before chance decides.
    answers: list[str] = field(default_factory=list)
    ways: list[Settlement] = field(default_factory=list)
    orders: dict[OrderId, Taken] = field(default_factory=dict)
    accepted: list[OrderId] = field(default_factory=list)  #: in order
    seen: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)  #: rules that a client must never break
    on_evidence: Callable[[Evidence], Awaitable[None]] | None = None
    alive: Callable[[], None] = lambda: None
    coming: set[asyncio.Task[None]] = field(default_factory=set)  #: what is still on its way
    dry: set[TokenId] = field(default_factory=set)  #: tokens that nobody bids for just now
    _by_market: dict[str, list[tuple[Taken, Trade]]] = field(default_factory=dict)

    owner = OWNER
    skew_s = 0

    def __post_init__(self) -> None:
        self._known = {market.condition: market for market in self.markets}
        self._number = 0

    async def _wait(self, low: float, high: float) -> None:
        await asyncio.sleep(self.rng.uniform(low, high))
        self.alive()

    # --- OrderVenue

    async def post(self, order: Order) -> Outcome:
        """Take an order, or not; say so, or not."""
        self.alive()
        if self.now_s() * MICRO > order.deadline_us:
            self.broken.append(f"order {order.id[:14]} was sent after its deadline")
        answer = self._next_answer()
        self.seen[answer] += 1
        await self._wait(0.001, 0.05)
        if answer == "lost_before":
            await self._wait(0, 3)
            return Unknown("reset")
        if answer == "busy":
            return Deferred("HTTP 425", self.rng.choice((None, 1, 2)))
        if order.id in self.orders:
            return Accepted("duplicate")
        if answer == "refused":
            return Rejected(RejectReason.NO_BALANCE, "not enough balance / allowance")
        if answer == "late":
            self._later(self.rng.uniform(0, 9), lambda: self._accept(order, "matched"))
            await self._wait(10, 10)
            return Unknown("timeout")
        self._accept(order, answer)
        return await self._answer(order, answer)

    def _next_answer(self) -> str:
        if self.answers:
            return self.answers.pop(0)
        return (
            "matched" if self.calm else self.rng.choices(list(ANSWERS), list(ANSWERS.values()))[0]
        )

    async def _answer(self, order: Order, answer: str) -> Outcome:
        if answer == "lost_after":
            await self._wait(0, 10)
            return Unknown(self.rng.choice(("timeout", "reset", "HTTP 500", "half JSON")))
        if answer in ("killed", "killed_but_filled"):
            return Accepted("killed", text="no orders found to match with FAK order")
        if answer in ("delayed", "unmatched"):
            return Accepted("delayed" if answer == "delayed" else "unmatched")
        made = sum(trade.shares for trade in self.orders[order.id].trades)
        paid = made * PRICE // MICRO
        return Accepted("matched", *((paid, made) if order.side is Side.BUY else (made, paid)))

    async def order(self, order_id: OrderId) -> LiveOrder | None:
        """Return a live order: one that rests, mostly, or is delayed."""
        await self._lookup()
        found = self.orders.get(order_id)
        if found is None or (not self.calm and self.rng.random() < 0.1):
            return None  # a blip: not found is no proof
        waiting = found.rests or (not found.trades and self.now_s() < found.at_s)
        return LiveOrder(order_id) if waiting else None

    async def cancel(self, order_id: OrderId) -> bool:
        """Take an order off its book, or say so, or do so unsaid; its last fill may come after."""
        await self._lookup()
        found = self.orders.get(order_id)
        if found is None or not found.rests:
            return False
        how = "cancelled" if self.calm else self.rng.choice(CANCELS)
        self.seen[f"cancel_{how}"] += 1
        if how == "denied":
            return False
        found.rests = False
        if how == "filled":
            self._later(self.rng.uniform(0, 4), lambda: self._match(found, [self._left(found)]))
        if how == "lost":
            raise Unavailable("the answer to a cancel was lost")
        return True

    async def open_orders(self) -> list[LiveOrder]:
        """Return what rests."""
        return [LiveOrder(order_id) for order_id, taken in self.orders.items() if taken.rests]

    async def fills(self, condition: str | None, *, after_s: int) -> Evidence:
        """Return our fills, those that the lookups show by now."""
        await self._lookup()
        lag = 0.0 if self.calm else self.rng.uniform(0, 4)
        found = self._by_market.get(condition or "", [])
        shown = [t for o, t in found if o.at_s + lag <= self.now_s() and t.at_s >= after_s]
        return Evidence(tuple(trade.fill() for trade in shown))

    async def collateral(self) -> int:
        """Return our settled collateral."""
        return self.cash()

    async def shares(self, token: TokenId) -> int:
        """Return our settled shares of a token."""
        return self.held().get(token, 0)

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

    def at_hand(self, condition: str, token: TokenId, *, max_age_us: int) -> Market | None:
        """Half of the time it is: then a decision waits for nobody."""
        self.alive()
        return self._known.get(ConditionId(condition)) if self.rng.random() < 0.5 else None

    def forget_market(self, condition: str) -> None:
        """Facts never change."""

    async def watch(self, tokens: list[TokenId], *, max_age_us: int) -> None:
        """Books are always there."""

    def book(self, token: TokenId) -> Book | None:
        """Return a deep book around one half."""
        bid = () if token in self.dry else ((PRICE - 10_000, 10**6 * MICRO),)
        return Book(bid, ((PRICE, 10**6 * MICRO),), int(self.now_s() * MICRO))

    def last_bid(self, token: TokenId) -> int | None:
        """Bids are always the same, where there are any."""
        return PRICE - 10_000

    def dries_up(self, token: TokenId, seconds: float) -> None:
        """Let nobody bid for a token for a while; what rests then is taken when bids are back."""
        if token not in self.dry:
            self.seen["dry"] += 1
            self.dry.add(token)
            self._later(seconds, lambda: self._flows(token))

    def _flows(self, token: TokenId) -> None:
        self.dry.discard(token)
        for taken in self.orders.values():
            if taken.rests and taken.order.token == token:
                self._take_resting(taken)

    def _take_resting(self, taken: Taken) -> None:
        if not taken.rests:
            return
        left = self._left(taken)
        part = left if self.calm else left * self.rng.choice((100, 100, 40)) // 100
        self._match(taken, [part // 10_000 * 10_000])
        taken.rests = self._left(taken) >= 10_000
        if taken.rests:
            # Somebody else takes the rest, later.
            self._later(self.rng.uniform(1, 60), lambda: self._take_resting(taken))

    def _left(self, taken: Taken) -> int:
        return taken.order.maker_amount - sum(trade.shares for trade in taken.trades)

    def _expires(self, taken: Taken) -> None:
        if taken.rests:
            self.seen["expired"] += 1
            taken.rests = False

    # --- what becomes of an order

    def _accept(self, order: Order, answer: str) -> None:
        if order.id in self.orders:
            return
        held_back = self.rng.uniform(0.5, 2) if answer == "delayed" else 0.0
        self.orders[order.id] = taken = Taken(order, self.now_s() + held_back)
        self.accepted.append(order.id)
        if self._rests(taken) or answer in ("killed", "unmatched") or order.token in self.dry:
            return
        part = self.rng.choice((100, 100, 100, 60, 30)) if not self.calm else 100
        whole = (
            order.maker_amount * MICRO // PRICE if order.side is Side.BUY else order.maker_amount
        )
        shares = whole * part // 100 // 10_000 * 10_000
        one_piece = self.rng.random() < 0.8 or shares < 20_000
        pieces = [shares] if one_piece else [shares // 2, shares - shares // 2]
        if held_back:
            self._later(held_back, lambda: self._match(taken, pieces))
        else:
            self._match(taken, pieces)

    def _rests(self, taken: Taken) -> bool:
        """Put a GTD sale that nobody takes into the book; return whether that ends it for now."""
        order = taken.order
        if order.kind is not OrderKind.GTD:
            return False
        taken.rests = True
        assert order.expires_us is not None
        seconds = order.expires_us / MICRO - 60 - self.now_s()
        self._later(max(seconds, 0), lambda: self._expires(taken))
        if order.token not in self.dry:
            self._later(self.rng.uniform(0, 2), lambda: self._take_resting(taken))
        return True

    def _match(self, taken: Taken, pieces: list[int]) -> None:
        for shares in pieces:
            if shares <= 0:
                continue
            self._number += 1
            trade = Trade(f"trade-{self._number}", taken.order, shares, int(self.now_s()))
            taken.trades.append(trade)
            self._by_market.setdefault(taken.order.condition, []).append((taken, trade))
            self._spawn(self._settle(trade))

    def _way(self) -> Settlement:
        if self.ways:
            return self.ways.pop(0)
        return Settlement.CONFIRMED if self.calm else self.rng.choices(WAYS, (80, 10, 10))[0]

    async def _settle(self, trade: Trade) -> None:
        self._tell(trade)
        await asyncio.sleep(self.rng.uniform(1, 3))
        way = self._way()
        if way is Settlement.RETRYING:
            trade.settlement = way
            self._tell(trade)
            await asyncio.sleep(self.rng.uniform(1, 5))
        if way is Settlement.FAILED:
            trade.settlement = way
        else:
            trade.settlement, trade.tx = Settlement.MINED, f"0x{self.rng.getrandbits(256):064x}"
            self._tell(trade)
            await asyncio.sleep(self.rng.uniform(1, 3))
            trade.settlement = Settlement.CONFIRMED
        self._tell(trade)

    def _tell(self, trade: Trade) -> None:
        """Announce a trade as it is now: never, once, or several times, now and later."""
        fill = trade.fill()
        for _ in range(self.rng.choice((0, 1, 1, 1, 3))):
            self._later(self.rng.uniform(0, 3), lambda: self.announce(fill))

    def announce(self, fill: Fill) -> None:
        """Say on the user channel what is, or was, known of a fill."""
        if self.on_evidence is not None:
            self._spawn(self._hear(Evidence((fill,))))

    async def _hear(self, evidence: Evidence) -> None:
        if self.on_evidence is not None:
            try:
                await self.on_evidence(evidence)
            except Unavailable:
                self.seen["unheard"] += 1  # the channel's reader drops it; lookups will find it

    def _later(self, seconds: float, work: Callable[[], object]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            work()

        self._spawn(wait())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="exchange")
        self.coming.add(task)
        task.add_done_callback(self.coming.discard)

    @property
    def busy(self) -> bool:
        """Return whether anything is still on its way."""
        return bool(self.coming)

    # --- what is true

    def _real(self) -> list[Trade]:
        every = (trade for taken in self.orders.values() for trade in taken.trades)
        return [trade for trade in every if trade.settlement is not Settlement.FAILED]

    def held(self) -> dict[TokenId, int]:
        """Return our shares by token, all trades but the failed ones counted."""
        found: dict[TokenId, int] = {}
        for trade in self._real():
            sign = 1 if trade.order.side is Side.BUY else -1
            found[trade.order.token] = found.get(trade.order.token, 0) + sign * trade.shares
        return {token: shares for token, shares in found.items() if shares}

    def cash(self) -> int:
        """Return our collateral, all trades but the failed ones counted. There are no fees here."""
        moved = 0
        for trade in self._real():
            sign = 1 if trade.order.side is Side.SELL else -1
            moved += sign * (trade.shares * PRICE // MICRO)
        return self.opening + moved

    def truth(self) -> dict[str, Any]:
        """Return what is true at this moment, as the simulated exchange tells it to the checker."""
        return {
            "settled": not self.busy,
            "orders": [str(order_id) for order_id in self.accepted],
            "collateral": self.cash(),
            "shares": {str(token): shares for token, shares in self.held().items()},
        }
