"""COMPARE the ledger with the exchange, and adopt what differs when the operator says so.

In the ordinary way every fill is booked by evidence for an order that the ledger knows. What is
left is what somebody did elsewhere with the same wallet, or what a restored ledger has forgotten.
Only the operator can tell which; until then nothing is changed, and an alert stands.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bot.errors import BotError
from bot.execution import fills
from bot.ledger import account, control, orders, positions
from bot.ledger.db import Ledger, Tx
from bot.model.fill import Evidence, Fill, Settlement, Unreadable
from bot.model.leader import Wallet
from bot.model.market import ConditionId, Side, TokenId
from bot.model.order import Order, OrderId, OrderState
from bot.model.units import MICRO, decimal_text
from bot.ports import OrderVenue

#: Whom shares belong to that we hold by following nobody.
NOBODY = Wallet("0x0000000000000000000000000000000000000000")
#: Trades are looked up from the newest one on that was compared without finding a stranger, less this.
OVERLAP_S = 3600
_UNREADABLE = "evidence:unreadable"
#: Differences that fit into one frame of the queue.
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that ledger and exchange say differently. Amounts in micro-units."""

    kind: Literal["open_order", "trade", "shares", "cash"]
    subject: str  #: order id, trade id, token, or wallet
    ledger: int
    exchange: int
    text: str
    fill: Fill | None = None  #: of a trade that the ledger does not know
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found. Balances are compared only where nothing is in flight (`quiet`)."""

    differences: tuple[Difference, ...]
    quiet: bool

    @property
    def forgotten(self) -> int:
        """Return how many trades of this wallet the ledger does not know."""
        return sum(d.kind == "trade" for d in self.differences)


class Reconciler:
    """Compares and adopts for one wallet at one exchange; `book` books evidence for orders we know."""

    def __init__(
        self,
        ledger: Ledger,
        venue: OrderVenue,
        wallet: str,
        apply: Callable[[Evidence], Awaitable[None]],
    ) -> None:
        self._ledger, self._venue, self._wallet, self._apply = ledger, venue, wallet, apply
        self._one = asyncio.Lock()  #: two at once would both adopt what both have seen

    async def compare(self, *, now_us: int, balances: bool = True) -> Comparison:
        """Return the differences, and let alert and locks say what was found.

        Fills of orders that we know are booked on the way, however late. Raises Unavailable if
        the exchange does not answer; entries stay locked then.
        """
        async with self._one:
            return await self._compare(now_us, balances)

    async def _compare(self, now_us: int, balances: bool) -> Comparison:
        strangers, newest_s, unreadable = await self._strangers()
        found = [*await self._open_orders(), *strangers]
        before = await self._ledger.look(account.stillness)
        wrong = await self._balances() if balances and before is not None else []
        # What moved while we were asking makes balances of two moments: not a difference.
        quiet = (
            balances and before is not None and await self._ledger.look(account.stillness) == before
        )
        comparison = Comparison((*found, *(wrong if quiet else [])), quiet)
        mark_s = None if strangers or unreadable else newest_s - OVERLAP_S
        await self._ledger.transact(_conclude, comparison, mark_s, unreadable, now_us=now_us)
        return comparison

    async def _open_orders(self) -> list[Difference]:
        live = await self._venue.open_orders()
        known = await self._ledger.look(orders.known, [order.id for order in live])
        text = "order {} rests at the exchange and is none of ours"
        return [
            Difference("open_order", order.id, 0, 1, text.format(order.id))
            for order in live
            if order.id not in known
        ]

    async def _strangers(self) -> tuple[list[Difference], int, tuple[Unreadable, ...]]:
        """Book what is ours; return fills of unknown orders, the newest second, unreadable rows.

        A row that nobody can read costs itself alone: what it did shows in the balances.
        """
        since = await self._ledger.look(account.compared_until_s)
        evidence = await self._venue.fills(None, after_s=since)
        known = await self._ledger.look(orders.known, [fill.order_id for fill in evidence.fills])
        ours = tuple(fill for fill in evidence.fills if fill.order_id in known)
        await self._apply(Evidence(ours))
        newest = max((fill.matched_us // MICRO for fill in evidence.fills), default=0)
        strangers = [
            _stranger(fill)
            for fill in evidence.fills
            if fill.order_id not in known and fill.settlement is not Settlement.FAILED
        ]
        return strangers, max(newest, since + OVERLAP_S), evidence.unreadable

    async def _balances(self) -> list[Difference]:
        held = await self._ledger.look(positions.held_by_token)
        cash = await self._ledger.look(account.cash)
        there = await self._venue.collateral()
        found = []
        if cash != there:
            text = f"cash {decimal_text(cash)} USDC in the ledger, {decimal_text(there)} at the exchange"
            found.append(Difference("cash", self._wallet, cash, there, text))
        for token, condition, shares in held:
            arrived = await self._venue.shares(token)
            if arrived != shares:
                text = f"{decimal_text(shares)} shares in the ledger, {decimal_text(arrived)} at the exchange"
                found.append(
                    Difference("shares", token, shares, arrived, text, condition=condition)
                )
        return found

    async def adopt(self, *, now_us: int) -> list[Difference]:
        """Make the ledger agree with the exchange; return what was adopted.

        Unknown trades are booked first, once they are final, as fills of orders that follow
        nobody; what cash and shares still differ by is booked at cost, so that it makes neither
        profit nor loss. Adopting twice changes nothing the second time.
        """
        async with self._one:
            found = (await self._compare(now_us, True)).differences
            trades = [
                d for d in found if d.fill is not None and d.fill.settlement is Settlement.CONFIRMED
            ]
            for difference in sorted(trades, key=lambda d: d.fill.matched_us if d.fill else 0):
                await self._ledger.transact(_adopt_trade, difference, now_us)
            comparison = await self._compare(now_us, True)
            # Balances explain themselves by trades that are still unknown: not before those are booked.
            balances = (
                []
                if comparison.forgotten
                else [d for d in comparison.differences if d.kind in ("shares", "cash")]
            )
            for difference in balances:
                await self._ledger.transact(_adopt_balance, difference, now_us)
            return trades + balances

    async def answer(self, *, adopt: bool, now_us: int) -> str:
        """Return what `botctl reconcile` prints, as JSON; adopted first if asked for."""
        try:
            adopted = await self.adopt(now_us=now_us) if adopt else []
            found = await self.compare(now_us=now_us)
        except BotError as error:
            return json.dumps({"error": str(error)})
        shown = [
            {
                "kind": d.kind,
                "subject": d.subject,
                "ledger_micros": d.ledger,
                "exchange_micros": d.exchange,
                "text": d.text,
            }
            for d in found.differences[:SHOWN]
        ]
        count, texts = len(found.differences), [d.text for d in adopted[:SHOWN]]
        return json.dumps(
            {"differences": shown, "count": count, "quiet": found.quiet, "adopted": texts}
        )


def tell(tx: Tx, found: Comparison, unreadable: Sequence[Unreadable] = (), *, now_us: int) -> None:
    """Let an alert stand while ledger and exchange differ, and entries be locked while it has forgotten trades.

    Such a ledger would buy them again: a restored one, or one beside another bot.
    """
    control.unlock(tx, control.UNCOMPARED)
    nameless = sum(row.token is None for row in unreadable)
    if nameless:
        # It may be any trade of ours: such a ledger may have forgotten it.
        control.lock(tx, control.FORGOTTEN, f"{nameless} trades at the exchange cannot be read")
    elif found.forgotten:
        reason = (
            f"{found.forgotten} trades of this wallet are not in the ledger;"
            " botctl reconcile shows them, botctl reconcile --adopt books them"
        )
        control.lock(tx, control.FORGOTTEN, reason)
    else:
        control.unlock(tx, control.FORGOTTEN)
    _lock_tokens(tx, found, unreadable)
    if found.differences:
        stop = "entries stop; " if found.forgotten else ""
        count = f"{len(found.differences)} in all, botctl reconcile --adopt books them"
        text = f"{stop}{found.differences[0].text}; {count}"
        control.alert(tx, "reconcile:differs", "critical", text[:300], now_us=now_us)
    elif found.quiet:
        control.clear_alerts(tx, set(), "reconcile:", now_us=now_us)


def _lock_tokens(tx: Tx, found: Comparison, unreadable: Sequence[Unreadable]) -> None:
    """Let nothing be bought or sold of tokens whose trades the ledger does not know."""
    adopt = "trades of this token are not in the ledger; botctl reconcile --adopt books them"
    reasons = {f"{control.IN_TOKEN}{d.fill.token}": adopt for d in found.differences if d.fill}
    reasons |= {f"{control.IN_TOKEN}{r.token}": r.why[:200] for r in unreadable if r.token}
    control.lock_only(tx, control.IN_TOKEN, reasons)


def _stranger(fill: Fill) -> Difference:
    what = f"{fill.side} {decimal_text(fill.shares)} shares for {decimal_text(fill.usdc)} USDC"
    return Difference(
        "trade", fill.trade_id, 0, fill.shares, f"{what} by an unknown order", fill, fill.condition
    )


def _conclude(
    tx: Tx, found: Comparison, mark_s: int | None, unreadable: Sequence[Unreadable], *, now_us: int
) -> None:
    if mark_s is not None:
        account.note_compared(tx, mark_s)
    if unreadable:
        count = f"{len(unreadable)} trades of ours at the exchange are unreadable and left out"
        control.alert(
            tx, _UNREADABLE, "critical", f"{count}: {unreadable[0].why}"[:300], now_us=now_us
        )
    else:
        control.clear_alerts(tx, set(), _UNREADABLE, now_us=now_us)
    tell(tx, found, unreadable, now_us=now_us)


def _adopt_trade(tx: Tx, difference: Difference, now_us: int) -> None:
    fill = difference.fill
    assert fill is not None
    fill = fill if fill.matched_us else replace(fill, matched_us=now_us)
    if fill.side is Side.BUY:
        _store(tx, fill, NOBODY, difference, now_us)
        return
    left = fill.shares
    for held in [*positions.holders(tx, fill.token), positions.Holder(NOBODY, fill.shares, 0)]:
        part = min(left, held.shares)
        if part > 0:
            # The first part keeps the order's own id: by it the trade is known from now on.
            own = left == fill.shares
            ident = fill.order_id if own else OrderId(_hash(f"{fill.order_id}|{held.wallet}"))
            usdc, fee = fill.usdc * part // fill.shares, fill.fee * part // fill.shares
            piece = replace(fill, order_id=ident, shares=part, usdc=usdc, fee=fee)
            _store(tx, piece, held.wallet, difference, now_us)
        left -= part


def _adopt_balance(tx: Tx, difference: Difference, now_us: int) -> None:
    change = difference.exchange - difference.ledger
    if difference.kind == "cash":
        account.move_opening(tx, change, now_us=now_us)
        control.record(tx, "executor", "reconcile.adopted", difference.text, now_us=now_us)
    elif change > 0:
        _adopt_shares(tx, difference, NOBODY, (Side.BUY, change, 0), now_us)
    else:
        left = -change
        for held in positions.holders(tx, difference.subject):
            part = min(left, held.shares)
            if part > 0:
                cost = held.cost * part // held.shares
                _adopt_shares(tx, difference, held.wallet, (Side.SELL, part, cost), now_us)
            left -= part


def _adopt_shares(
    tx: Tx, difference: Difference, wallet: Wallet, moved: tuple[Side, int, int], now_us: int
) -> None:
    """Book (side, shares, cost) as a fill at cost. No collateral has moved, so the opening takes it back."""
    side, shares, cost = moved
    ident = _hash(f"{difference.subject}|{wallet}|{side}|{shares}|{now_us}")
    fill = Fill(
        f"adopted-{ident[2:18]}",
        OrderId(ident),
        ConditionId(difference.condition),
        TokenId(difference.subject),
        side,
        shares,
        cost,
        0,
        Settlement.CONFIRMED,
        None,
        now_us,
    )
    _store(tx, fill, wallet, difference, now_us)
    account.move_opening(tx, -cost if side is Side.SELL else cost, now_us=now_us)


def _hash(text: str) -> str:
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


def _store(tx: Tx, fill: Fill, wallet: Wallet, difference: Difference, now_us: int) -> None:
    order = orders.order(tx, fill.order_id)
    if order is None:
        making, taking = (
            (fill.usdc, fill.shares) if fill.side is Side.BUY else (fill.shares, fill.usdc)
        )
        order = Order(
            fill.order_id,
            f"adopted:{fill.order_id}",
            wallet,
            ConditionId(difference.condition),
            fill.token,
            fill.side,
            0,
            making,
            taking,
            0,
            "",
            OrderState.OPEN,
            now_us,
            now_us,
            reason="adopted",
        )
        orders.add(tx, order)
        orders.move(tx, order, OrderState.FILLED)
    fills.book(tx, replace(order, state=OrderState.FILLED), fill, now_us=now_us)
    control.record(tx, "executor", "reconcile.adopted", difference.text, now_us=now_us)
