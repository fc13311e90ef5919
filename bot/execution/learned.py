"""Store what the exchange tells of markets, beside the loop: no decision waits for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bot.ledger import markets
from bot.ledger.db import Ledger, Tx
from bot.model.market import Facts, Market
from bot.model.units import MICRO
from bot.polymarket.public import Public
from bot.polymarket.transport import Transport

#: Rows in one transaction at most.
AT_ONCE = 200
#: Facts in the market table are good enough to trade on for so long. A tick that is old is told by
#: a book, or by the refusal of an order: then the exchange is asked.
TOLD_US = 3 * 86_400 * MICRO


class Learned:
    """Facts that wait to be stored, those of one market once."""

    def __init__(self, ledger: Ledger, now_us: Callable[[], int]) -> None:
        self._ledger, self._now = ledger, now_us
        self._waiting: dict[str, markets.Word] = {}
        self._fresh = asyncio.Event()

    def put(self, facts: Facts) -> None:
        """Take what was told just now."""
        self._waiting[facts.condition] = (facts, "clob", self._now())
        self._fresh.set()

    async def run(self) -> None:
        """Store until cancelled; what is lost with a killed process will be told again."""
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            await self.store()

    async def store(self) -> None:
        """Store everything that waits and is news."""
        while self._waiting:
            taken = [self._waiting.pop(name) for name in list(self._waiting)[:AT_ONCE]]
            new = await self._ledger.look(markets.news, taken)
            if new:
                await self._ledger.transact(_learn, new)


@dataclass(frozen=True, slots=True)
class Informed:
    """`public` asks the market table before the exchange; `learned` stores what it was told."""

    public: Public
    learned: Learned


def informed(transport: Transport, ledger: Ledger, now_us: Callable[[], int]) -> Informed:
    """Return the exchange's public reads before the market table, and what fills the table."""

    async def recall(condition: str) -> Market | None:
        return await ledger.look(markets.lately_told, condition, now_us() - TOLD_US)

    learned = Learned(ledger, now_us)
    return Informed(Public(transport, recall=recall, heard=learned.put), learned)


def _learn(tx: Tx, words: list[markets.Word]) -> None:
    for facts, source, at in words:
        markets.learn(tx, facts, source, as_of_us=at)
