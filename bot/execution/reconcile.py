"""Compare the ledger with the exchange, and adopt what differs when the operator says so.

In the ordinary way every fill is booked by evidence for an order that the ledger knows. What is
left is what somebody did elsewhere with the same wallet, or what a restored ledger has forgotten.
Only the operator can tell which; until then nothing is changed, and an alert stands.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from bot.errors import BotError, Unavailable
from bot.execution import booking
from bot.execution.venue import Venue
from bot.ledger import control, orders
from bot.ledger.db import Ledger, Tx, rows, scalar, upsert
from bot.model import (
    ConditionId,
    Fill,
    Order,
    OrderId,
    OrderState,
    Settlement,
    Side,
    TokenId,
    Wallet,
    move,
)  # fmt: skip
from bot.polymarket import wire
from bot.units import MICRO, decimal_text

#: Whom shares belong to that we hold by following nobody.
NOBODY = Wallet("0x0000000000000000000000000000000000000000")
#: Trades are looked up from the newest one on that was compared without finding a stranger, less this.
OVERLAP_S = 3600
_MARK = "reconciled_s"
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
        self, ledger: Ledger, venue: Venue, wallet: str, book: Callable[[list[wire.Trade]], Awaitable[None]]
    ) -> None:
        self._ledger, self._venue, self._wallet, self._book = ledger, venue, wallet, book
        self._one = asyncio.Lock()  #: two at once would both adopt what both have seen

    async def compare(self, *, now_us: int, balances: bool = True) -> Comparison:
        """Return the differences, and let alert and locks say what was found.

        Fills of orders that we know are booked on the way, however late. Raises Unavailable if
        the exchange does not answer; entries stay locked then.
        """
        async with self._one:
            return await self._compare(now_us, balances)

    async def _compare(self, now_us: int, balances: bool) -> Comparison:
        strangers, newest_s = await self._trades()
        found = [*await self._open_orders(), *strangers]
        before = await self._ledger.transact(_moment)
        wrong = await self._balances() if balances and before is not None else []
        # What moved while we were asking makes balances of two moments: not a difference.
        quiet = balances and before is not None and await self._ledger.transact(_moment) == before
        comparison = Comparison((*found, *(wrong if quiet else [])), quiet)

        async def store(tx: Tx) -> None:
            if not strangers:
                await _remember(tx, newest_s - OVERLAP_S)
            await tell(tx, comparison, now_us=now_us)

        await self._ledger.transact(store)
        return comparison

    async def _open_orders(self) -> list[Difference]:
        live = await self._venue.open_orders()
        known = await self._ledger.transact(lambda tx: _known(tx, [order.id for order in live]))
        return [
            Difference("open_order", o.id, 0, 1, f"order {o.id} rests at the exchange and is none of ours")
            for o in live if o.id not in known
        ]  # fmt: skip

    async def _trades(self) -> tuple[list[Difference], int]:
        since = await self._ledger.transact(_since_s)
        found: list[Difference] = []
        newest = since + OVERLAP_S
        for trade in await self._venue.trades(None, after_s=since):
            newest = max(newest, wire.matched_s(trade))
            for order_id in _ours(trade, self._venue.owner, self._wallet):
                if await self._ledger.transact(partial(orders.order, order_id=order_id)) is None:
                    found += await self._stranger(trade, order_id)
                elif await self._ledger.transact(partial(orders.fill, trade_id=trade.id, order_id=order_id)) is None:
                    await self._book([trade])
        return found, newest

    async def _stranger(self, trade: wire.Trade, order_id: OrderId) -> list[Difference]:
        market = await self._venue.market(trade.market.lower())
        if market is None:
            raise Unavailable(f"market {trade.market[:20]} of trade {trade.id[:40]} is unknown")
        try:
            fill = wire.our_fill(trade, order_id, market)
        except wire.BadInput as error:
            raise Unavailable(f"trade {trade.id[:80]}: {error}") from None
        if fill is None or fill.settlement is Settlement.FAILED:
            return []
        text = f"{fill.side} {decimal_text(fill.shares)} shares for {decimal_text(fill.usdc)} USDC by an unknown order"
        return [Difference("trade", fill.trade_id, 0, fill.shares, text, fill, market.condition)]

    async def _balances(self) -> list[Difference]:
        held = await self._ledger.transact(_held)
        cash = await self._ledger.transact(orders.cash)
        there = await self._venue.collateral()
        found = []
        if cash != there:
            text = f"cash {decimal_text(cash)} USDC in the ledger, {decimal_text(there)} at the exchange"
            found.append(Difference("cash", self._wallet, cash, there, text))
        for (token, condition), shares in held.items():
            arrived = await self._venue.shares(TokenId(token))
            if arrived != shares:
                text = f"{decimal_text(shares)} shares in the ledger, {decimal_text(arrived)} at the exchange"
                found.append(Difference("shares", token, shares, arrived, text, condition=condition))
        return found

    async def adopt(self, *, now_us: int) -> list[Difference]:
        """Make the ledger agree with the exchange; return what was adopted.

        Unknown trades are booked first, once they are final, as fills of orders that follow
        nobody; what cash and shares still differ by is booked at cost, so that it makes neither
        profit nor loss. Adopting twice changes nothing the second time.
        """
        async with self._one:
            found = (await self._compare(now_us, True)).differences
            trades = [d for d in found if d.fill is not None and d.fill.settlement is Settlement.CONFIRMED]
            for difference in sorted(trades, key=lambda d: d.fill.matched_us if d.fill else 0):
                await self._ledger.transact(partial(_adopt_trade, difference=difference, now_us=now_us))
            comparison = await self._compare(now_us, True)
            # Balances explain themselves by trades that are still unknown: not before those are booked.
            balances = [] if comparison.forgotten else [
                d for d in comparison.differences if d.kind in ("shares", "cash")
            ]  # fmt: skip
            for difference in balances:
                await self._ledger.transact(partial(_adopt_balance, difference=difference, now_us=now_us))
            return trades + balances

    async def answer(self, *, adopt: bool, now_us: int) -> str:
        """Return what `botctl reconcile` prints, as JSON; adopted first if asked for."""
        try:
            adopted = await self.adopt(now_us=now_us) if adopt else []
            found = await self.compare(now_us=now_us)
        except BotError as error:
            return json.dumps({"error": str(error)})
        shown = [
            {"kind": d.kind, "subject": d.subject, "ledger_micros": d.ledger, "exchange_micros": d.exchange,
             "text": d.text}
            for d in found.differences[:SHOWN]
        ]  # fmt: skip
        count, texts = len(found.differences), [d.text for d in adopted[:SHOWN]]
        return json.dumps({"differences": shown, "count": count, "quiet": found.quiet, "adopted": texts})


async def tell(tx: Tx, found: Comparison, *, now_us: int) -> None:
    """Let an alert stand while ledger and exchange differ, and entries be locked while it has forgotten trades.

    Such a ledger would buy them again: a restored one, or one beside another bot.
    """
    await control.unlock(tx, control.UNCOMPARED)
    if found.forgotten:
        reason = f"{found.forgotten} trades of this wallet are not in the ledger; botctl reconcile"
        await control.lock(tx, control.FORGOTTEN, reason)
    else:
        await control.unlock(tx, control.FORGOTTEN)
    if found.differences:
        stop = "entries stop; " if found.forgotten else ""
        text = f"{stop}{found.differences[0].text}; {len(found.differences)} in all, botctl reconcile shows them"
        await control.alert(tx, "reconcile:differs", "critical", text[:300], now_us=now_us)
    elif found.quiet:
        await control.clear_alerts(tx, set(), "reconcile:", now_us=now_us)


def _ours(trade: wire.Trade, owner: str, wallet: str) -> list[OrderId]:
    """Return the orders of this wallet in a trade, whichever API key placed them."""
    makers = [
        OrderId(m.order_id) for m in trade.maker_orders if m.owner == owner or m.maker_address.lower() == wallet.lower()
    ]
    taker = trade.owner == owner or trade.maker_address.lower() == wallet.lower()
    return [OrderId(trade.taker_order_id), *makers] if taker else makers


async def _moment(tx: Tx) -> tuple[int, int] | None:
    """Return a mark that changes whenever an order or a fill comes, or None while any of them moves."""
    moving = await scalar(
        tx,
        "SELECT (SELECT COUNT(*) FROM orders WHERE state IN ('posting', 'unknown', 'open'))"
        " + (SELECT COUNT(*) FROM fill WHERE settlement NOT IN ('confirmed', 'failed'))",
    )
    if moving:
        return None
    return await scalar(tx, "SELECT COUNT(*) FROM orders"), await scalar(tx, "SELECT COUNT(*) FROM fill")


async def _known(tx: Tx, ids: list[str]) -> set[str]:
    return {order_id for order_id in ids if await orders.order(tx, order_id) is not None}


async def _since_s(tx: Tx) -> int:
    """Return from when on trades must be compared: up to there every one is known."""
    mark = await scalar(tx, "SELECT value FROM meta WHERE name = :name", name=_MARK)
    first = await scalar(tx, "SELECT MIN(started_us) FROM boot")
    return int(mark) if mark is not None else int(first or 0) // MICRO


async def _remember(tx: Tx, since_s: int) -> None:
    await upsert(tx, "meta", ["name"], {"name": _MARK, "value": str(since_s)})


async def _held(tx: Tx) -> dict[tuple[str, str], int]:
    found = await rows(
        tx,
        "SELECT token, condition, SUM(shares) AS shares FROM position GROUP BY token, condition"
        " HAVING SUM(shares) <> 0",
    )
    return {(row["token"], row["condition"]): row["shares"] for row in found}


async def _holders(tx: Tx, token: str) -> list[dict[str, Any]]:
    """Return for whom we hold a token, most first."""
    return await rows(
        tx, "SELECT wallet, shares, cost FROM position WHERE token = :token AND shares > 0 ORDER BY shares DESC",
        token=token,
    )  # fmt: skip


async def _adopt_trade(tx: Tx, difference: Difference, now_us: int) -> None:
    fill = difference.fill
    assert fill is not None
    fill = booking.at(fill, now_us)
    if fill.side is Side.BUY:
        await _store(tx, fill, NOBODY, difference, now_us)
        return
    left = fill.shares
    for held in [*await _holders(tx, fill.token), {"wallet": NOBODY, "shares": fill.shares, "cost": 0}]:
        part = min(left, held["shares"])
        if part > 0:
            # The first part keeps the order's own id: by it the trade is known from now on.
            own = left == fill.shares
            ident = fill.order_id if own else OrderId(_hash(f"{fill.order_id}|{held['wallet']}"))
            usdc, fee = fill.usdc * part // fill.shares, fill.fee * part // fill.shares
            piece = replace(fill, order_id=ident, shares=part, usdc=usdc, fee=fee)
            await _store(tx, piece, Wallet(held["wallet"]), difference, now_us)
        left -= part


async def _adopt_balance(tx: Tx, difference: Difference, now_us: int) -> None:
    change = difference.exchange - difference.ledger
    if difference.kind == "cash":
        await orders.move_opening(tx, change, now_us=now_us)
        await control.record(tx, "executor", "reconcile.adopted", difference.text, now_us=now_us)
    elif change > 0:
        await _adopt_shares(tx, difference, NOBODY, (Side.BUY, change, 0), now_us)
    else:
        left = -change
        for held in await _holders(tx, difference.subject):
            part = min(left, held["shares"])
            if part > 0:
                cost = held["cost"] * part // held["shares"]
                await _adopt_shares(tx, difference, Wallet(held["wallet"]), (Side.SELL, part, cost), now_us)
            left -= part


async def _adopt_shares(
    tx: Tx, difference: Difference, wallet: Wallet, moved: tuple[Side, int, int], now_us: int
) -> None:
    """Book (side, shares, cost) as a fill at cost. No collateral has moved, so the opening takes it back."""
    side, shares, cost = moved
    ident = _hash(f"{difference.subject}|{wallet}|{side}|{shares}|{now_us}")
    fill = Fill(
        f"adopted-{ident[2:18]}", OrderId(ident), TokenId(difference.subject), side, shares, cost, 0,
        Settlement.CONFIRMED, None, now_us,
    )  # fmt: skip
    await _store(tx, fill, wallet, difference, now_us)
    await orders.move_opening(tx, -cost if side is Side.SELL else cost, now_us=now_us)


def _hash(text: str) -> str:
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


async def _store(tx: Tx, fill: Fill, wallet: Wallet, difference: Difference, now_us: int) -> None:
    order = await orders.order(tx, fill.order_id)
    if order is None:
        making, taking = (fill.usdc, fill.shares) if fill.side is Side.BUY else (fill.shares, fill.usdc)
        order = Order(
            fill.order_id, f"adopted:{fill.order_id}", wallet, ConditionId(difference.condition), fill.token, fill.side,
            0, making, taking, 0, "", OrderState.OPEN, now_us, now_us, reason="adopted",
        )  # fmt: skip
        await orders.add(tx, order)
        await orders.set_state(tx, order.id, move(OrderState.OPEN, OrderState.FILLED))
    await booking.book(tx, replace(order, state=OrderState.FILLED), fill, now_us=now_us)
    await control.record(tx, "executor", "reconcile.adopted", difference.text, now_us=now_us)
