"""The chain under the exchange: blocks, their logs, balances, and what a reorganisation does.

A transaction waits for the next block. What is in a block may be taken out again until it is
final: its transactions are then in other blocks, under other log indexes, or nowhere.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bot.sim.crypto import keccak
from bot.sim.entities import MICRO

FIRST = 90_000_000  #: number of the first block
KEPT = 20_000  #: blocks that are remembered at least

Move = tuple[str, str]  #: (wallet in lower case, token)


@dataclass(frozen=True, slots=True)
class Log:
    """What a contract has written."""

    address: str
    topics: tuple[str, ...]
    data: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction with what it wrote and by how much it changed balances; none where it failed.

    `changes` are shares by (wallet, token).
    """

    hash: str
    logs: tuple[Log, ...] = ()
    changes: Counter[Move] = field(default_factory=Counter)
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    """A block. `first_index` logs of others come before ours."""

    number: int
    hash: str
    parent: str
    sealed_us: int
    transactions: tuple[Transaction, ...]
    first_index: int
    #: Its filter, once somebody has asked for it: a header is asked for again and again.
    _bloom: list[int] = field(default_factory=list, compare=False, repr=False)

    @property
    def timestamp_s(self) -> int:
        """Return its own time."""
        return self.sealed_us // MICRO

    def bloom(self) -> int:
        """Return the 2,048-bit filter of everything that its logs name."""
        if not self._bloom:
            logs = [log for transaction in self.transactions for log in transaction.logs]
            found = 0
            for name in {name for log in logs for name in (log.address, *log.topics)}:
                digest = keccak(bytes.fromhex(name[2:]))
                for i in (0, 2, 4):
                    found |= 1 << (int.from_bytes(digest[i : i + 2], "big") & 2047)
            self._bloom.append(found)
        return self._bloom[0]


class Chain:
    """Blocks, the newest last, and transactions that wait for one."""

    def __init__(self, rng: random.Random, block_us: int, final_us: int, now_us: int) -> None:
        self._rng, self.block_us, self._final_us = rng, block_us, final_us
        self._waiting: list[Transaction] = []
        self._sealed_us = now_us
        self.blocks = [self._made(FIRST, _hash(rng), now_us, ())]
        #: Called with (blocks that are gone, blocks that have come), the oldest first.
        self.listeners: list[Callable[[list[Block], list[Block]], None]] = []

    @property
    def head(self) -> Block:
        """Return the newest block."""
        return self.blocks[-1]

    def include(self, transaction: Transaction) -> None:
        """Let a transaction wait for the next block."""
        self._waiting.append(transaction)

    def due(self, now_us: int) -> bool:
        """Return whether it is time for the next block."""
        return now_us >= self._sealed_us + self.block_us

    def seal(self, now_us: int) -> None:
        """Make a block of what waits."""
        self._sealed_us = now_us
        taken, self._waiting = tuple(self._waiting), []
        head = self.head
        self._grow([self._made(head.number + 1, head.hash, now_us, taken)], [])

    def block(self, number: int) -> Block | None:
        """Return a block by its number."""
        i = number - self.blocks[0].number
        return self.blocks[i] if 0 <= i < len(self.blocks) else None

    def named(self, digest: str) -> Block | None:
        """Return a block by its hash: None where it is unknown, or out of the chain by now."""
        return next((block for block in reversed(self.blocks) if block.hash == digest), None)

    def final(self, now_us: int) -> Block:
        """Return the newest block that nothing takes back any more."""
        old = now_us - self._final_us
        found = (block for block in reversed(self.blocks) if block.sealed_us <= old)
        return next(found, self.blocks[0])

    def found(self, digest: str) -> tuple[Block, int] | None:
        """Return where a transaction is, as (block, its index there), or None."""
        for block in reversed(self.blocks):
            for i, transaction in enumerate(block.transactions):
                if transaction.hash == digest:
                    return block, i
        return None

    def changed_after(self, number: int, wallet: str, token: str) -> int:
        """Return by how much a balance has changed since the end of a block, waiting ones
        included.
        """
        first = max(number + 1 - self.blocks[0].number, 0)
        later = [t for block in self.blocks[first:] for t in block.transactions]
        return sum(t.changes[wallet.lower(), token] for t in (*later, *self._waiting))

    def reorganise(self, depth: int, drop: Iterable[str] = (), *, now_us: int) -> list[Transaction]:
        """Put other blocks in the place of the newest `depth`; return transactions that are out.

        A final block stays. What is kept comes one block later where there is one; `drop` (hashes)
        comes nowhere.
        """
        depth = min(depth, self.head.number - self.final(now_us).number)
        if not depth:
            return []
        gone, self.blocks = self.blocks[-depth:], self.blocks[:-depth]
        dropped = set(drop)
        kept: list[list[Transaction]] = [[] for _ in gone]
        for i, block in enumerate(gone):
            place = min(i + 1, len(gone) - 1)
            kept[place] += [t for t in block.transactions if t.hash not in dropped]
        parent, come = self.head.hash, []
        for block, taken in zip(gone, kept, strict=True):
            come.append(self._made(block.number, parent, block.sealed_us, tuple(taken)))
            parent = come[-1].hash
        self._grow(come, gone)
        return [t for block in gone for t in block.transactions if t.hash in dropped]

    def _made(self, number: int, parent: str, at_us: int, taken: tuple[Transaction, ...]) -> Block:
        return Block(number, _hash(self._rng), parent, at_us, taken, self._rng.randrange(900))

    def _grow(self, come: list[Block], gone: list[Block]) -> None:
        self.blocks += come
        if len(self.blocks) > 2 * KEPT:
            del self.blocks[:-KEPT]
        for listener in self.listeners:
            listener(gone, come)


def _hash(rng: random.Random) -> str:
    return "0x" + rng.randbytes(32).hex()
