"""Laws broken on purpose.

Parts that only a simulation may use, to show that the checker can fail.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from bot import failpoints
from bot.detect.fold import Sight
from bot.detect.intake import Intake
from bot.execution.assemble import Parts
from bot.execution.decide import Decider, Later, Seen
from bot.execution.send import Poster
from bot.lab.virtual.run import Broken, signer
from bot.ledger import intents, orders, signals
from bot.ledger.db import Tx
from bot.model.amounts import Amounts
from bot.model.burst import Burst
from bot.model.decision import Proposal, Skip
from bot.model.intent import IntentKind, IntentState
from bot.model.order import Order
from bot.model.signal import Purchase, Signal
from bot.model.totals import Group


class ReSigning(Poster):
    """Breaks law 2: signs anew when an answer was lost, as most public bots do."""

    async def send(self, order: Order, *, again: bool = False) -> None:
        """Send another order for the same intent before the stored bytes."""
        if again:
            fresh = signer().sign(
                order.token,
                order.side,
                Amounts(order.maker_amount, order.taker_amount),
                neg_risk=False,
                owner=self._venue.owner,
                now_us=self._now(),
            )
            await self._venue.post(replace(order, id=fresh.id, body=fresh.body))
        await super().send(order, again=again)


class _Unstored(Exception):
    """Carries an order out of the transaction that would have stored it."""

    def __init__(self, order: Order) -> None:
        super().__init__(order.id)
        self.order = order


class RecordAfterPost(Decider):
    """Breaks law 2: the bytes leave before decision and order are committed."""

    async def decide(self, signal: Signal, stopping: asyncio.Event) -> Order | Skip | Later:
        """Decide, post, and only then store."""
        try:
            return await super().decide(signal, stopping)
        except _Unstored as unstored:
            await self.venue.post(unstored.order)
            failpoints.reach("decide.written")
            await self.ledger.transact(self._store, signal, unstored.order)
            return unstored.order

    async def at_once(self, purchase: Purchase, stopping: asyncio.Event) -> Order | Skip | Later:
        """Leave it to the look."""
        return Later.GONE

    def _place(self, tx: Tx, signal: Signal, proposal: Proposal, burst: Burst, seen: Seen) -> Order:
        raise _Unstored(super()._place(tx, signal, proposal, burst, seen))

    def _store(self, tx: Tx, signal: Signal, order: Order) -> None:
        if signals.undecided(tx, signal.id) is None:
            return
        if (standing := intents.open_on(tx, signal.portfolio, signal.token)) is not None:
            intents.finish(tx, standing, IntentState.WITHDRAWN, now_us=self.now_us())
        intent = intents.add(
            tx,
            IntentKind.ENTRY,
            signal.portfolio,
            signal.condition,
            signal.token,
            target=order.taker_amount,
            price=order.price,
            budget=order.maker_amount,
            signal_id=signal.id,
            now_us=self.now_us(),
        )
        orders.add(tx, replace(order, intent_id=intent.id))
        self._record(tx, signal, {}, intent_id=intent.id)


class OneTradeATransaction(Intake):
    """Breaks law 7: whoever comes second in a transaction was seen already."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._shown: dict[str, Group] = {}

    async def take(
        self, sights: Iterable[Sight], cursor: tuple[str, str, int] | None = None
    ) -> int:
        """Fold only what is of the first group that its transaction has shown."""
        kept = [s for s in sights if self._first(s.fill.group) == s.fill.group]
        return await super().take(kept, cursor)

    def _first(self, group: Group) -> Group:
        return self._shown.setdefault(group[0], group)


#: Name -> what it does to the bot, and the broken part.
SABOTAGES: Mapping[str, tuple[str, Broken]] = {
    "re_sign": (
        "a lost answer is answered by a new signature",
        Broken(Parts(poster=ReSigning)),
    ),
    "record_after_post": (
        "orders are recorded after they were sent",
        Broken(Parts(decider=RecordAfterPost)),
    ),
    "tx_hash_dedup": (
        "leader trades are told apart by transaction hash alone",
        Broken(intake=OneTradeATransaction),
    ),
}
