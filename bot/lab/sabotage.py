"""Laws broken on purpose: parts that only a simulation may use, to show that the checker can fail."""

from collections.abc import Mapping
from dataclasses import replace

from bot import failpoints
from bot.detect.intake import Intake
from bot.execution.decide import Decider
from bot.execution.life import Executor
from bot.lab.world import Parts
from bot.ledger.db import Tx, scalar
from bot.model import LeaderFill, Market, Order, Proposal, Signal
from bot.polymarket.amounts import Amounts


class ReSigning(Executor):
    """Breaks law 2: signs anew when an answer was lost, as most public bots do."""

    async def _send(self, order: Order, *, again: bool = False) -> None:
        if again:
            fresh = self._decider.signer.sign(
                order.token, order.side, Amounts(order.making, order.taking), neg_risk=False,
                owner=self._venue.owner, now_us=self._now(),
            )  # fmt: skip
            await self._venue.post(replace(order, id=fresh.id, body=fresh.body))
        await super()._send(order, again=again)


class RecordAfterPost(Decider):
    """Breaks law 2: the bytes leave before decision and order are committed."""

    async def _place(self, tx: Tx, signal: Signal, proposal: Proposal, market: Market) -> Order:
        order = await super()._place(tx, signal, proposal, market)
        await self.venue.post(order)
        failpoints.reach("decide.written")
        return order


class OneTradeATransaction(Intake):
    """Breaks law 7: whoever comes second in a transaction was seen already."""

    async def _fold(self, tx: Tx, source: str, fill: LeaderFill, total: tuple[int, int], seen_us: int) -> str | None:
        group = dict(zip(("tx", "wallet", "token", "side"), fill.group, strict=True))
        other = await scalar(
            tx,
            "SELECT 1 FROM leader_trade WHERE tx = :tx AND NOT (wallet = :wallet AND token = :token AND side = :side)",
            **group,
        )
        return None if other else await super()._fold(tx, source, fill, total, seen_us)


#: Name -> what it does to the bot, and the broken part.
SABOTAGES: Mapping[str, tuple[str, Parts]] = {
    "re_sign": ("a lost answer is answered by a new signature", Parts(executor=ReSigning)),
    "record_after_post": ("orders are recorded after they were sent", Parts(decider=RecordAfterPost)),
    "tx_hash_dedup": ("leader trades are told apart by transaction hash alone", Parts(intake=OneTradeATransaction)),
}
