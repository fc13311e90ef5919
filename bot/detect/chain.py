"""Source: the chain. What it says is true once it is final, and all others are held against it.

The first provider that answers is read every other second, the others seldom and over the same
blocks: what it left out they show. A fact is final once every provider that answers has read its
block, so that all of them had their say. What was done to a token that nobody knows waits until
somebody says what it stands for; those behind it go on.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog
from cachetools import LRUCache

from bot.detect import moves
from bot.detect.blocks import Blocks, Did, Log, what
from bot.detect.fold import Sight
from bot.detect.intake import Intake
from bot.detect.live import Heard
from bot.detect.reader import ABSENT_US, ChainReader, Provider
from bot.errors import Unavailable
from bot.ledger import facts, leaders, markets
from bot.ledger.db import Ledger
from bot.model import totals
from bot.model.leader import FactKind, FactState, LeaderFill
from bot.model.market import Outcome, Side, TokenId
from bot.model.units import MICRO
from bot.polymarket import chain
from bot.polymarket.rpc import Receipt, Refused

logger = structlog.get_logger(__name__)
#: Where nothing is stored, how far was read is noted once in so many blocks.
NOTED_BLOCKS = 200
#: What nobody can say of a token after so long, nobody will: it is let go, and named.
PATIENT_US = 600 * MICRO
#: A block would have a transaction that long after a stream has told of it; nobody is asked for
#: ever of one that went well and said nothing that is understood.
REVERTED_US, DOUBTED_US = 20 * MICRO, 3600 * MICRO
DOUBTED_AT_ONCE = 50
#: The logs of one match come within this.
TOGETHER_S = 0.05
LOOKED = 10_000
_CURSOR = (totals.CHAIN, "")


class ChainSource:
    """Stores what the chain says that leaders did."""

    def __init__(
        self,
        providers: Sequence[Provider],
        reader: ChainReader,
        blocks: Blocks,
        intake: Intake,
        ledger: Ledger,
        ask_tokens: Callable[[Sequence[TokenId]], Awaitable[None]],
        stations: frozenset[str],
        now_us: Callable[[], int],
        *,
        soon_s: float = 2,
        late_s: float = 15,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`stations` are contracts (in lower case) that make pairs, convert and redeem;
        `ask_tokens` has the markets of tokens looked up and stored.
        """
        self.providers = providers
        self._reader, self._blocks, self._intake, self._ledger = reader, blocks, intake, ledger
        self._ask_tokens, self._stations, self._now, self._sleep = (
            ask_tokens,
            stations,
            now_us,
            sleep,
        )
        self._soon_s, self._late_s = soon_s, late_s
        #: What was done to tokens that nobody knows, and since when each waits.
        self._waiting: dict[TokenId, dict[tuple[Any, ...], tuple[Did, int]]] = {}
        self._began = now_us()
        self._looked: LRUCache[str, bool] = LRUCache(LOOKED)  #: transactions, after their receipts
        self.final = 0  #: the block up to which all that stands for good is stored
        self._noted = 0  #: the block up to which it is stored that all was read
        self._fresh: list[Log] = []  #: logs that were told as they came, and are not stored yet
        self._ring = asyncio.Event()
        self._short: set[str] = set()  #: transactions of which more is to come

    async def run(self) -> None:
        """Read, and store what is heard, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for provider in self.providers:
                group.create_task(self._follow(provider), name=f"chain.{provider.name}")
            group.create_task(self._place(), name="chain.place")
            group.create_task(self._store_heard(), name="chain.heard")
            group.create_task(self._doubt(), name="chain.doubt")

    async def hear(self, heard: Heard) -> None:
        """Take a frame of a provider's websocket: a log goes on at once, one taken back as well."""
        if heard.log is None:
            return
        logs = self._reader.understood([heard.log], "live")
        if heard.log.removed:
            await self.store(self._blocks.remove(logs))
        else:
            self._fresh += logs
            self._ring.set()

    async def _store_heard(self) -> None:
        """Store what was heard, all that waits together.

        What a taker paid is told by the orders that he met: they come in the same moment, and are
        waited for; whatever does not come, the reader finds.
        """
        while True:
            await self._ring.wait()
            self._ring.clear()
            taken, self._fresh = self._fresh, []
            told = self._blocks.learn(taken)
            short = {did.tx for did in told if not did.exact}
            if short:
                asyncio.get_running_loop().call_later(TOGETHER_S, self._ring.set)
            late = self._blocks.told(self._short - short)
            self._short = short
            await self.store([did for did in (*told, *late) if did.exact])

    async def _follow(self, provider: Provider) -> None:
        while True:
            try:
                await self.read(provider)
            except (Unavailable, Refused) as error:
                logger.warning("chain.unavailable", provider=provider.name, error=str(error))
            first = next((p for p in self.providers if p.answers(self._now())), self.providers[0])
            pause = self._soon_s if provider is first else self._late_s
            await self._sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 (spreads the load)

    @property
    def answered_us(self) -> int | None:
        """Return when a provider last gave a block that it had not told of before, microseconds."""
        return max((p.answered_us or 0 for p in self.providers), default=0) or None

    @property
    def head(self) -> int:
        """Return the newest block that a provider has told of; 0 before."""
        return max((p.next or 1) - 1 for p in self.providers)

    async def read(self, provider: Provider) -> None:
        """Read a provider once, and store what is new. Raises Unavailable, and Refused."""
        since = await self._ledger.look(leaders.cursor, *_CURSOR)
        async for told in self._reader.rounds(provider, None if since is None else since + 1):
            await self.store(told)
            await self._settle()
        await self._settle()

    async def _settle(self) -> None:
        """Store what stands for good by now: where everybody was read who has a say."""
        final = min((p.final for p in self.providers if self._has_say(p)), default=0)
        if not final:
            return  # somebody was not read yet; or our clock has leapt, and nobody has a say
        await self.store(self._blocks.final(final))
        self.final = max(self.final, final)
        await self._note(final)

    def _has_say(self, provider: Provider) -> bool:
        # In the beginning everybody is waited for: one may know what another leaves out.
        new = provider.answered_us is None and self._now() - self._began < ABSENT_US
        return new or provider.answers(self._now())

    async def _doubt(self) -> None:
        while True:
            await self._sleep(self._soon_s)
            await self.doubt()

    async def doubt(self) -> None:
        """Look what became of what a stream told of and no block has, once a block would have it,
        and of what was in a block that is final by now and has not been told of since.

        Nothing is proven while a provider does not answer, or has not that block either.
        """
        asked = [p for p in self.providers if p.answers(self._now())]
        if not asked:
            return
        now = min(self._now(), *(p.head_s * MICRO for p in asked))
        span = (now - DOUBTED_US, now - REVERTED_US)
        fills = await self._ledger.look(facts.doubtful, *span, DOUBTED_AT_ONCE)
        old = await self._ledger.look(facts.lingering, self.final, DOUBTED_AT_ONCE)
        fills += [fill for fill in old if fill.tx not in self._looked]
        for tx in dict.fromkeys(fill.tx for fill in fills):
            try:
                receipts = [await p.rpc.receipt(tx) for p in asked]
            except (Unavailable, Refused) as error:
                logger.info("receipt.unavailable", tx=tx, error=str(error))
                return
            self._looked[tx] = True
            await self._prove([f for f in fills if f.tx == tx], receipts)

    async def _prove(self, fills: Sequence[LeaderFill], receipts: Sequence[Receipt | None]) -> None:
        """Store what receipts prove of the facts of one transaction.

        One that failed, or that nobody knows, did not happen. One that went well was missed: all
        its logs are there.
        """
        good = [receipt for receipt in receipts if receipt is not None and receipt.ok]
        for receipt in good:
            logs = self._reader.understood(receipt.logs, "receipt")
            final = receipt.block <= self.final
            told = [replace(did, at_s=did.at_s or fills[0].traded_s) for did in (
                what(logs, self._intake.knows, whole=True) if final and logs
                else self._blocks.learn(logs)
            )]  # fmt: skip
            state = FactState.FINAL if final else FactState.MINED
            await self.store([replace(did, state=state) for did in told])
        if not good:
            now = self._now()
            out = (FactState.PROVISIONAL, FactState.REVERTED)
            lost = [Sight(totals.CHAIN, f, (0, 0), now, state) for f in fills for state in out]
            await self._intake.take(lost)

    async def store(self, told: Sequence[Did]) -> None:
        """Store facts of tokens that are known; let the others wait."""
        known = await self._ledger.look(markets.outcomes, list({did.token for did in told}))
        sights, now = [], self._now()
        # Once: what has no time of its own is of when it was told of, not of when it is stored.
        told = [d if d.at_s is not None else replace(d, at_s=now // MICRO) for d in told]
        gone = []
        for did in told:
            if did.token in known:
                sight = await self._sight(did, known[did.token], did.at_s or 0)
                if sight is None:
                    continue
                sights.append(sight)
                fill = sight.fill
                if fill.kind is FactKind.TRANSFER and fill.side is Side.SELL and fill.shares:
                    gone.append((fill, did))
            else:
                waiting = self._waiting.setdefault(did.token, {})
                key = (*did.key, did.block)
                before, since = waiting.get(key, (did, now))
                waiting[key] = (replace(did, at_s=before.at_s), since)
        await self._intake.take(sights)
        if gone:
            await self._ledger.transact(moves.tell, gone, now_us=self._now())

    async def _sight(self, did: Did, outcome: Outcome, at_s: int) -> Sight | None:
        kind = FactKind.TRADE if did.traded else await self._kind(did)
        if kind is None:
            return None
        fill = LeaderFill(
            did.tx, did.wallet, did.token, did.side, *did.total, outcome.condition, outcome.label,
            outcome.title, at_s, kind,
        )  # fmt: skip
        now = self._now()
        return Sight(totals.CHAIN, fill, did.total, now, did.state, did.block, did.corrects)

    async def _kind(self, did: Did) -> FactKind | None:
        """Return what became of shares without an order; without a receipt the way tells.

        None: an order was filled, on an exchange that is not known. The index tells of it, and
        balances: a transfer besides would count it twice.
        """
        came = did.side == "BUY"
        transfer = chain.is_transfer(did.ends, self._stations)
        for provider in self.providers:
            try:
                receipt = await provider.rpc.receipt(did.tx)
            except (Unavailable, Refused) as error:
                logger.info("receipt.unavailable", tx=did.tx, error=str(error))
                continue
            if receipt is None:
                continue
            if transfer and chain.is_match(receipt.logs):
                logger.warning("chain.exchange_unknown", tx=did.tx, ends=sorted(did.ends))
                return None
            return FactKind.TRANSFER if transfer else chain.movement(receipt.logs, came=came)
        return FactKind.TRANSFER if transfer else chain.movement([], came=came)

    async def _place(self) -> None:
        """Have what waits for its token's market looked up, and store what is known by now."""
        while True:
            await self._sleep(self._soon_s)
            await self.place()

    async def place(self) -> None:
        """Look up once what waits, and store what is known; let go of what waits for too long."""
        if not self._waiting:
            return
        try:
            await self._ask_tokens(list(self._waiting))
        except Unavailable as error:
            logger.warning("chain.tokens_unavailable", error=str(error))
        waiting, self._waiting = self._waiting, {}
        known = await self._ledger.look(markets.outcomes, list(waiting))
        for token, dids in waiting.items():
            if token in known:
                await self.store([did for did, _ in dids.values()])
            elif self._now() - min(since for _, since in dids.values()) < PATIENT_US:
                self._waiting[token] = dids | self._waiting.get(token, {})
            else:
                logger.warning("chain.token_unknown", token=token, facts=len(dids))

    async def _note(self, number: int) -> None:
        """Store how far all was read: what waits is read again in the next life."""
        oldest = min(
            (did.block for dids in self._waiting.values() for did, _ in dids.values()),
            default=number,
        )
        upto = min(number, oldest - 1) if self._waiting else number
        if upto - self._noted < NOTED_BLOCKS and self._noted:
            return
        await self._ledger.transact(leaders.advance, *_CURSOR, upto, now_us=self._now())
        self._noted = upto
