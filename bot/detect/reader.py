"""Read the chain: logs of watched wallets, block by block, through one provider or several.

Every provider reads the same blocks for itself, and what any of them shows counts: one that leaves
logs out is made good by another. The newest blocks are read again until they are final, because
others may come in their place. A provider that answers a range with nothing proves nothing; one
that refuses is asked for less.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from bot.detect.blocks import Blocks, Did, Log
from bot.errors import Unavailable
from bot.model.chain import Block, Filled, Moved
from bot.model.units import MICRO
from bot.polymarket import chain
from bot.polymarket.rpc import Refused, Rpc, Wanted
from bot.polymarket.wire import BadInput

logger = structlog.get_logger(__name__)
#: Blocks before the last one that was read are read again: a provider may have been behind.
MARGIN = 8
#: Blocks that are taken for final where a provider does not say which are.
SETTLED = 12
#: Blocks of the first range. A provider that refuses is asked for half, and slowly for more again.
RANGE = 500
#: Logs of one range: of a busy exchange's a few blocks are megabytes.
MOST_LOGS = 2_000
#: A provider that has not told of anything new for so long is away.
ABSENT_US = 60 * MICRO
#: Wallets in one request (Bor takes a thousand values of a topic; others take fewer).
CHUNK = 500
#: Ranges after which more wallets are tried again: what was refused once was bad weather, maybe.
PATIENT = 300
#: Of more wallets than this nobody is asked by name: all orders that are filled are read, and what
#: moves without an order is told by balances. A busy market fills thirty a second.
MANY = 1_000


@dataclass(slots=True)
class Provider:
    """One provider, how far it has been read, and how much it takes at once."""

    rpc: Rpc
    next: int | None = None  #: the first block that was not read whole
    width: int = RANGE
    chunk: int = CHUNK
    answered_us: int | None = None  #: when a block was last read that it had not told of before
    head_s: int = 0  #: the second of the newest block that was read
    final: int = 0  #: up to here its blocks stand, and were read
    fine: int = 0  #: ranges that it gave since it was last asked for fewer wallets

    def answers(self, now_us: int) -> bool:
        """Return whether it has told of anything new of late: else it has no say."""
        return self.answered_us is not None and now_us - self.answered_us < ABSENT_US

    @property
    def name(self) -> str:
        """Return what it is called on screens."""
        return self.rpc.name

    def asks_less(self, why: str) -> bool:
        """Ask for less from now on; return False if that cannot be.

        No two providers say in the same words what was too much. Blocks are halved first, because
        they grow again, unless topics are named; wallets where a single block was refused.
        """
        if self.width > 1 and "topic" not in why:
            self.width //= 2
        elif self.chunk > 1:
            self.chunk, self.fine = self.chunk // 2, 0
        else:
            return False
        return True

    def succeeded(self, logs: int) -> None:
        """Ask for more blocks from now on, after a while for more wallets; for fewer blocks where
        they brought so many logs.
        """
        if logs > MOST_LOGS:
            self.width = max(self.width // 2, 1)
        elif logs <= MOST_LOGS // 2:
            self.width = min(self.width + max(self.width // 4, 1), 10 * RANGE)
        self.fine += 1
        if self.fine >= PATIENT and self.chunk < CHUNK:
            self.chunk, self.fine = min(2 * self.chunk, CHUNK), 0


class ChainReader:
    """Reads blocks of watched wallets through one provider or several, into the same `Blocks`."""

    def __init__(
        self,
        blocks: Blocks,
        known: chain.Addresses,
        wallets: Callable[[], Sequence[str]],
        knows: Callable[[str], bool],
        now_us: Callable[[], int],
    ) -> None:
        """`wallets` are those that are watched, `knows` tells whether one (in lower case) is."""
        self.blocks, self._known, self._wallets, self._now = blocks, known, wallets, now_us
        self._knows = knows

    async def rounds(self, provider: Provider, since: int | None) -> AsyncIterator[list[Did]]:
        """Read what is new at a provider, `since` a block where it was never read.

        Yield what each range of blocks tells, to be stored before more is read: who fails in the
        middle of a long way goes on from there. Raises Unavailable, and Refused where the provider
        answers with an error.
        """
        head = await provider.rpc.block("latest")
        if head is None:
            raise Unavailable(f"{provider.name}: no newest block")
        final = await self._final(provider, head)
        start = provider.next if provider.next is not None else since
        first = max(min(head.number if start is None else start, final + 1) - MARGIN, 0)
        while first <= head.number:
            last = min(first + provider.width - 1, head.number)
            if (found := await self._range(provider, first, last)) is None:
                continue  # it was asked for too much: now for less
            logs, number = found
            told = await self._take(provider, logs, (first, last), final)
            if last == head.number:
                told += self.blocks.head(head)
            yield told
            provider.head_s = head.at_s if last == head.number else provider.head_s
            if last >= (provider.next or 0):
                # One that answers and stands still knows nothing: it counts as one that is away.
                provider.next, provider.answered_us = last + 1, self._now()
            provider.final = max(provider.final, min(final, last))
            provider.succeeded(number)
            first = last + 1

    async def _final(self, provider: Provider, head: Block) -> int:
        try:
            found = await provider.rpc.block("finalized")
        except Refused:
            found = None
        return head.number - SETTLED if found is None else found.number

    async def _range(
        self, provider: Provider, first: int, last: int
    ) -> tuple[list[Log], int] | None:
        """Return all logs of watched wallets in some blocks, and how many came with them.

        None if that was refused as too much. Raises Unavailable where even the least is refused.
        """
        found: list[Log] = []
        number = 0
        for wanted in self.filters(provider.chunk):
            try:
                raws = await provider.rpc.logs(wanted, first, last)
            except Refused as error:
                if not provider.asks_less(str(error)):
                    raise Unavailable(str(error)) from None
                logger.info("chain.refused", provider=provider.name, error=str(error))
                return None
            number += len(raws)
            found += self.understood(raws, provider.name)
        return found, number

    def understood(self, raws: Iterable[chain.RawLog], provider: str) -> list[Log]:
        """Return what logs say of orders and shares; what cannot be read blocks itself alone."""
        found: list[Log] = []
        for raw in raws:
            if not chain.concerns(raw, self._knows):
                continue
            try:
                words = chain.said(raw, self._known)
            except BadInput as error:
                logger.warning("log.refused", provider=provider, error=str(error))
                continue
            found += [word for word in words if isinstance(word, Filled | Moved)]
        return found

    def filters(self, chunk: int) -> Iterator[Wanted]:
        """Yield what to ask for, of at most `chunk` wallets each: all that their logs may be in."""
        wallets = [f"0x{wallet[2:].lower():0>64}" for wallet in self._wallets()]
        exchanges, tokens = tuple(self._known.exchanges), tuple(self._known.tokens)
        if len(wallets) > MANY:
            yield Wanted(exchanges, ((chain.ORDER_FILLED,),))
            return
        moves = (chain.TRANSFER_SINGLE, chain.TRANSFER_BATCH)
        for start in range(0, len(wallets), chunk):
            some = tuple(wallets[start : start + chunk])
            # Orders that met his: what he paid as a taker is told by them alone. They come first.
            yield Wanted(exchanges, ((chain.ORDER_FILLED,), None, None, some))
            yield Wanted(exchanges, ((chain.ORDER_FILLED,), None, some))
            yield Wanted(tokens, (moves, None, some))
            yield Wanted(tokens, (moves, None, None, some))

    async def _take(
        self, provider: Provider, logs: list[Log], span: tuple[int, int], final: int
    ) -> list[Did]:
        """Take all logs of a range of blocks, and look which of the blocks known before are out."""
        told: list[Did] = []
        names = {log.place.block: log.place.block_hash for log in logs}
        doubtful = self.blocks.unsure(*span)
        for number in sorted(names.keys() | doubtful):
            block = await provider.rpc.block(number)
            if block is None and number <= final:
                raise Unavailable(f"{provider.name}: no block {number}, which is final")
            if block is None:
                continue  # it was behind, or is now: the next reading sees
            told += self.blocks.head(block)
            mine = [log for log in logs if log.place.block_hash == block.hash]
            told += self.blocks.whole(block, mine)
        return told
