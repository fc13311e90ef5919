"""COMPARE the ledger with the exchange, and book what the exchange knows and the ledger does not.

In the ordinary way every fill is booked by evidence for an order that the ledger knows. A trade
of this wallet that is left is what somebody did elsewhere, or what a restored ledger has
forgotten: it is booked once it is final, listed, and nothing is bought or sold of its token
before. Only balances that no trade explains wait for the operator.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from bot.errors import BotError
from bot.execution import foreign
from bot.ledger import account, control, intents, orders, positions, quarantine
from bot.ledger.db import Ledger, Tx
from bot.ledger.files import kept_owner
from bot.model.amounts import CENT
from bot.model.fill import Evidence, Fill, Settlement, Unreadable
from bot.model.intent import EXTERNAL
from bot.model.units import MICRO, decimal_text
from bot.ports import OrderVenue

#: Trades are looked up from the newest one on that was compared without finding a stranger, less
#: this.
OVERLAP_S = 3600
_UNREADABLE = "evidence:unreadable"
#: Differences that fit into one frame of the queue.
SHOWN = 50
#: Of so many tokens that are to be redeemed the wallet is asked each time.
ASKED = 20
R = TypeVar("R")


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
    booked: tuple[str, ...] = ()  #: what was made good on the way, in words

    @property
    def forgotten(self) -> int:
        """Return how many trades of this wallet the ledger does not know."""
        return sum(d.kind == "trade" for d in self.differences)


@dataclass(frozen=True, slots=True)
class _Trades:
    """What the exchange's trades say: of whom nobody here knows, and how far they were read."""

    strangers: tuple[Fill, ...]
    newest_s: int
    unreadable: tuple[Unreadable, ...]


@dataclass(slots=True)
class Reconciler:
    """Compares for one wallet at one exchange; `apply` books evidence for orders we know."""

    ledger: Ledger
    venue: OrderVenue
    wallet: str
    apply: Callable[[Evidence], Awaitable[None]]
    boot_id: int
    _one: asyncio.Lock = field(
        default_factory=asyncio.Lock
    )  #: two at once would both book what both saw
    _asked: str = ""  #: the last token asked of that is to be redeemed

    async def compare(self, *, now_us: int, balances: bool = True) -> Comparison:
        """Return the differences, and let alert and locks say what was found.

        Fills of orders that we know are booked on the way, however late, and so is what nobody
        here has ordered once it is final. Raises Unavailable if the exchange does not answer;
        entries stay locked then.
        """
        async with self._one:
            return await self._compare(now_us, balances)

    async def _compare(self, now_us: int, balances: bool) -> Comparison:
        trades = await self._trades()
        booked = [await self._book(fill, now_us) for fill in trades.strangers if _final(fill)]
        coming = [_stranger(fill) for fill in trades.strangers if not _final(fill)]
        found = [*await self._open_orders(), *coming]
        before = await self.ledger.look(account.stillness)
        wrong = await self._balances() if balances and before is not None else []
        # What moved while we were asking makes balances of two moments: not a difference.
        quiet = (
            balances and before is not None and await self.ledger.look(account.stillness) == before
        )
        if quiet and not coming:
            booked += await self._collected(now_us)
            wrong, credited = await self._credit(wrong, now_us)
            booked += credited
        comparison = Comparison((*found, *(wrong if quiet else [])), quiet, tuple(booked))
        mark_s = None if coming or trades.unreadable else trades.newest_s - OVERLAP_S
        await self._write(_conclude, comparison, mark_s, trades.unreadable, now_us=now_us)
        return comparison

    async def _open_orders(self) -> list[Difference]:
        live = await self.venue.open_orders()
        known = await self.ledger.look(orders.known, [order.id for order in live])
        text = "order {} rests at the exchange and is none of ours"
        return [
            Difference("open_order", order.id, 0, 1, text.format(order.id))
            for order in live
            if order.id not in known
        ]

    async def _trades(self) -> _Trades:
        """Book what is ours; return what is not, oldest first.

        A row that nobody can read costs itself alone: what it did shows in the balances.
        """
        since = await self.ledger.look(account.compared_until_s)
        evidence = await self.venue.fills(None, after_s=since)
        ours = await self.ledger.look(orders.ours, evidence.fills)
        await self.apply(Evidence(tuple(ours)))
        known = {(fill.trade_id, fill.order_id) for fill in ours}
        newest = max((fill.matched_us // MICRO for fill in evidence.fills), default=0)
        strangers = sorted(
            (
                fill
                for fill in evidence.fills
                if (fill.trade_id, fill.order_id) not in known
                and fill.settlement is not Settlement.FAILED
            ),
            key=lambda fill: fill.matched_us,
        )
        return _Trades(tuple(strangers), max(newest, since + OVERLAP_S), evidence.unreadable)

    async def _book(self, fill: Fill, now_us: int) -> str:
        # A ledger that a restore has put aside may know whose order it was.
        owner = await asyncio.to_thread(kept_owner, self.ledger.path, fill.order_id)
        return await self._write(foreign.book, fill, owner, now_us=now_us)

    async def _balances(self) -> list[Difference]:
        held = await self.ledger.look(positions.held_by_token)
        cash = await self.ledger.look(account.cash)
        there = await self.venue.collateral()
        found = []
        if cash != there:
            text = (
                f"cash {decimal_text(cash)} USDC in the ledger,"
                f" {decimal_text(there)} at the exchange"
            )
            found.append(Difference("cash", self.wallet, cash, there, text))
        for token, condition, shares in held:
            arrived = await self.venue.shares(token)
            if abs(arrived - shares) >= CENT:
                text = (
                    f"{decimal_text(shares)} shares in the ledger,"
                    f" {decimal_text(arrived)} at the exchange"
                )
                found.append(
                    Difference("shares", token, shares, arrived, text, condition=condition)
                )
        return found

    async def _credit(
        self, wrong: list[Difference], now_us: int
    ) -> tuple[list[Difference], list[str]]:
        """Book what came from elsewhere and what rounding took; return what is left, and the texts.

        Collateral beyond the ledger's is a credit only while all shares agree: otherwise it is
        what was got for some of them, by a trade that does not show yet.
        """
        if [difference.kind for difference in wrong] != ["cash"]:
            return wrong, []
        change = wrong[0].exchange - wrong[0].ledger
        fills_since = await self.ledger.look(account.fills_since_mark)
        if change < -foreign.ROUNDING * fills_since:
            return wrong, []
        return [], [await self._write(foreign.credit, change, now_us=now_us)]

    async def _collected(self, now_us: int) -> list[str]:
        """Close what ended markets owe for shares that the wallet holds no more.

        It was paid, or given away, by whoever's hand; the cash that came of it is a credit like
        any other. Some are asked each time, in rotation: balances are asked slowly.
        """
        owed = await self.ledger.look(positions.receivables, self._asked, ASKED)
        self._asked = owed[-1].token if len(owed) == ASKED else ""
        gone = [owes for owes in owed if await self.venue.shares(owes.token) < CENT]
        return [await self._write(foreign.redeem, owes, now_us=now_us) for owes in gone]

    async def _write(self, work: Callable[..., R], *args: object, **kwargs: object) -> R:
        """Run a ledger verb unless another executor has been started.

        Both would book what both have seen.
        """

        def fenced(tx: Tx) -> R:
            control.fence(tx, self.boot_id)
            return work(tx, *args, **kwargs)

        return await self.ledger.transact(fenced)

    async def adopt(self, *, now_us: int) -> tuple[list[str], list[str]]:
        """Make balances agree that no trade explains; return what was adopted, and what was booked.

        Shares and collateral that left are booked at cost, so that they make neither profit nor
        loss. Adopting twice changes nothing the second time.
        """
        async with self._one:
            comparison = await self._compare(now_us, True)
            said = []
            # Balances explain themselves by trades that are still coming: not before those are
            # booked.
            wrong = [] if comparison.forgotten else comparison.differences
            for difference in wrong:
                if difference.kind in ("shares", "cash"):
                    await self._write(_adopt_balance, difference, now_us)
                    said.append(difference.text)
            return said, list(comparison.booked)

    async def answer(self, *, adopt: bool, now_us: int) -> str:
        """Return what `botctl reconcile` prints, as JSON; adopted first if asked for."""
        try:
            adopted, booked = await self.adopt(now_us=now_us) if adopt else ([], [])
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
        return json.dumps(
            {
                "differences": shown,
                "count": len(found.differences),
                "quiet": found.quiet,
                "adopted": adopted[:SHOWN],
                "booked": [*booked, *found.booked][:SHOWN],
            }
        )


def tell(tx: Tx, found: Comparison, unreadable: Sequence[Unreadable] = (), *, now_us: int) -> None:
    """Let an alert stand while ledger and exchange differ.

    And entries be locked while it has forgotten trades: such a ledger would buy them again, a
    restored one, or one beside another bot.
    """
    if control.unlock(tx, control.UNCOMPARED):
        intents.wake(tx, now_us=now_us)
    nameless = sum(row.token is None for row in unreadable)
    if nameless:
        # It may be any trade of ours: such a ledger may have forgotten it.
        control.lock(tx, control.FORGOTTEN, f"{nameless} trades at the exchange cannot be read")
    elif found.forgotten:
        reason = (
            f"{found.forgotten} trades of this wallet are not in the ledger until they are final"
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
    coming = "trades of this token are not final yet, and not in the ledger"
    reasons = {f"{control.IN_TOKEN}{d.fill.token}": coming for d in found.differences if d.fill}
    reasons |= {f"{control.IN_TOKEN}{r.token}": r.why[:200] for r in unreadable if r.token}
    control.lock_only(tx, control.IN_TOKEN, reasons)


def _final(fill: Fill) -> bool:
    return fill.settlement is Settlement.CONFIRMED


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
    quarantine.keep_only(
        tx, "trades", [(row.why[:200], row.token, row.why) for row in unreadable], now_us=now_us
    )
    if unreadable:
        count = f"{len(unreadable)} trades of ours at the exchange are unreadable and left out"
        control.alert(
            tx, _UNREADABLE, "critical", f"{count}: {unreadable[0].why}"[:300], now_us=now_us
        )
    else:
        control.clear_alerts(tx, set(), _UNREADABLE, now_us=now_us)
    if found.booked:
        text = (
            f"{found.booked[0]}; {len(found.booked)} in all, botctl positions shows whose they are"
        )
        control.alert(tx, f"booked:{now_us}", "warning", text[:300], now_us=now_us)
    elif found.quiet:
        control.clear_alerts(tx, set(), "booked:", now_us=now_us)
    tell(tx, found, unreadable, now_us=now_us)


def _adopt_balance(tx: Tx, difference: Difference, now_us: int) -> None:
    change = difference.exchange - difference.ledger
    if difference.kind == "cash":
        account.move_opening(tx, change, now_us=now_us)
    elif change > 0:
        foreign.move_shares(
            tx, EXTERNAL, difference.condition, difference.subject, change, now_us=now_us
        )
    else:
        foreign.shrink(tx, difference.condition, difference.subject, -change, now_us=now_us)
    control.record(tx, "executor", "reconcile.adopted", difference.text, now_us=now_us)
