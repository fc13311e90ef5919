"""Source: what leaders hold at a block, as the chain itself says. It replaces facts (law 7).

Asked for are the tokens that we copy, every half a minute, and whatever somebody doubts. A node may
be behind or wrong: it is asked about a final block by its hash. A difference counts once another
provider has told the same; where there is none, once it was told twice, of two blocks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice

import structlog

from bot.detect import moves
from bot.detect.intake import Intake, Observed
from bot.detect.reader import Provider
from bot.errors import Unavailable
from bot.ledger import facts, leaders, markets
from bot.ledger.db import Ledger, Tx
from bot.model.chain import Block
from bot.model.leader import Wallet
from bot.model.market import ConditionId, Outcome, TokenId
from bot.polymarket.rpc import Refused

logger = structlog.get_logger(__name__)
SWEEP_S = 30.0
#: What differs by less is how sources round.
LEAST = 10_000
#: Doubts of one sweep: the rest has its turn in the next.
DOUBTS_AT_ONCE = 1_000
Pair = tuple[Wallet, TokenId]


class Balances:
    """Reads balances of leaders, and has the intake store what differs."""

    def __init__(
        self,
        providers: Sequence[Provider],
        ledger: Ledger,
        intake: Intake,
        tokens: tuple[str, str],
        final: Callable[[], int],
        now_us: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`tokens` are the contracts that hold shares of v1 and of v2 markets; `final` tells the
        block up to which facts that stand for good are stored.
        """
        self._final = final
        self._providers, self._ledger, self._intake, self._tokens = (
            providers,
            ledger,
            intake,
            tokens,
        )
        self._now, self._sleep = now_us, sleep
        self._doubts: dict[Pair, None] = {}
        self._markets: dict[tuple[Wallet, ConditionId], None] = {}  #: whose tokens are doubted
        #: By how much, and at which block, as the only provider has told once.
        self._once: dict[Pair, tuple[int, int]] = {}
        self._ring = asyncio.Event()

    def doubt(self, wallet: Wallet, tokens: Iterable[TokenId]) -> None:
        """Have what a leader holds of some tokens looked up soon."""
        self._doubts |= dict.fromkeys((wallet, token) for token in tokens)
        self._ring.set()

    def doubt_markets(self, wallet: Wallet, conditions: Iterable[ConditionId]) -> None:
        """Have what a leader holds of the tokens of some markets looked up soon."""
        self._markets |= dict.fromkeys((wallet, condition) for condition in conditions)
        self._ring.set()

    def asks(self) -> bool:
        """Return whether there is anybody to ask."""
        return bool(self._answering())

    def _answering(self) -> list[Provider]:
        return [p for p in self._providers if p.answers(self._now())]

    async def run(self) -> None:
        """Sweep until cancelled; doubts are looked up as they come, once a second at most."""
        while True:
            await self.sweep()
            await self._sleep(1)
            try:
                await asyncio.wait_for(self._ring.wait(), SWEEP_S)
            except TimeoutError:
                continue

    async def sweep(self) -> int:
        """Look once at what is copied and what is doubted; return how many holdings were others."""
        self._ring.clear()
        await self._name_tokens()
        doubts = list(islice(self._doubts, DOUBTS_AT_ONCE))
        wanted = dict.fromkeys([*await self._ledger.look(leaders.copied), *doubts])
        where = await self._ledger.look(markets.outcomes, list({token for _, token in wanted}))
        pairs = [pair for pair in wanted if pair[1] in where]
        told = await self._first(pairs, where)
        if told is None:
            return 0
        first, block, shares = told
        differs = await self._ledger.look(_differences, shares, block)
        surely = await self._surely(differs, where, block, first)
        observed = [
            Observed(
                wallet,
                token,
                where[token].condition,
                shares[wallet, token],
                block.number,
                block.at_s,
            )
            for wallet, token in surely
        ]
        for pair in doubts:
            # A doubt whose market nobody knows is let go: the next rotation doubts again.
            if pair in surely or pair not in differs:
                self._doubts.pop(pair, None)
        await self._intake.observe(observed)
        if await self._ledger.look(moves.told):
            await self._ledger.transact(moves.settle, now_us=self._now())
        return len(observed)

    async def _first(
        self, pairs: Sequence[Pair], where: dict[TokenId, Outcome]
    ) -> tuple[Provider, Block, dict[Pair, int]] | None:
        """Return who tells, of which block, and what; None where nobody does."""
        for provider in self._answering():
            try:
                block = await self._block(provider)
                if block is not None:
                    return provider, block, await self._read(provider, pairs, where, block)
            except (Unavailable, Refused) as error:
                logger.warning("balances.unavailable", provider=provider.name, error=str(error))
        return None

    async def _block(self, provider: Provider) -> Block | None:
        """Return the newest block whose balances can be held against facts; None: there is none.

        A later balance would lack what a slower provider has still to be read for: a transfer that
        is in no fact yet looks like a sale.
        """
        number = min(provider.final, self._final())
        return await provider.rpc.block(number) if number > 0 else None

    async def _name_tokens(self) -> None:
        asked, self._markets = self._markets, {}
        known = await self._ledger.look(markets.tokens_of, list({c for _, c in asked}))
        for wallet, condition in asked:
            tokens = known.get(condition, [])
            self._doubts |= dict.fromkeys((wallet, token) for token, _ in tokens)

    async def _read(
        self,
        provider: Provider,
        pairs: Sequence[Pair],
        where: dict[TokenId, Outcome],
        block: Block,
    ) -> dict[Pair, int]:
        found: dict[Pair, int] = {}
        for contract, version in zip(self._tokens, ("v1", "v2"), strict=True):
            mine = [pair for pair in pairs if where[pair[1]].version == version]
            found |= zip(mine, await provider.rpc.balances(contract, mine, block), strict=True)
        return found

    def _is_second(self, pair: Pair, by: int, number: int) -> bool:
        before, at = self._once.get(pair, (0, number))
        return at < number and abs(by - before) < LEAST

    async def _surely(
        self,
        differs: dict[Pair, int],
        where: dict[TokenId, Outcome],
        block: Block,
        first: Provider,
    ) -> set[Pair]:
        """Return which differences another provider tells as well; or, where none does, the same
        one has told before.
        """
        for other in self._answering() if differs else ():
            if other is first:
                continue
            try:
                told = await self._read(other, list(differs), where, block)
            except (Unavailable, Refused) as error:
                logger.info("balances.not_confirmed", provider=other.name, error=str(error))
                continue
            self._once = {}
            again = await self._ledger.look(_differences, told, block)
            found = {p for p, by in differs.items() if abs(by - again.get(p, 0)) < LEAST}
            for wallet, token in differs.keys() - found:
                # Who of the two is wrong nobody can say: what facts amount to stands.
                logger.warning("balances.disagree", leader=wallet, token=token)
            return found
        found = {p for p, by in differs.items() if self._is_second(p, by, block.number)}
        # Asked again about the same block it says the same: that is no second word.
        self._once = {pair: (by, block.number) for pair, by in differs.items()}
        return found


def _differences(tx: Tx, shares: dict[Pair, int], block: Block) -> dict[Pair, int]:
    """Return by how much balances at a block are not what the facts up to it amount to."""
    found: dict[Pair, int] = {}
    for (wallet, token), there in shares.items():
        held = leaders.holding(tx, wallet, token)
        if held.block is not None and held.block >= block.number:
            continue
        later = facts.since(tx, wallet, token, block.number, block.at_s)
        by = there - (held.shares - later)
        if abs(by) >= LEAST:
            found[wallet, token] = by
    return found
