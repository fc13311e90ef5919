"""One provider of the chain: what it shows of it, how late, and what it leaves out.

A provider is somebody else's machine. It may be behind, refuse what is too much, answer a range
with nothing, look at the first part of a range only, or leave out single logs without a word.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bot.errors import ConfigError
from bot.sim.chain import Block, Chain, Log, Transaction

REMEMBERED = 300  #: blocks back to which it notices that others have come in their place


class RpcError(Exception):
    """A refusal in the words of JSON-RPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Ills:
    """What is wrong with a provider; as it stands here, nothing is."""

    lag: int = 0  #: blocks that it is behind
    hides: int = 0  #: every so-manyth log is left out; 0: none
    empty: bool = False  #: ranges are answered with nothing
    clipped: int = 0  #: so many blocks of a range are looked at; 0: all
    most_blocks: int = 10_000  #: of one range
    blunt: bool = False  #: errors come as HTTP 400
    stateless: bool = False  #: it answers no calls of contracts
    most_topics: int = 1_000  #: values of one topic
    bare: bool = False  #: logs do not say when their block was
    zeros: bool = False  #: every balance is answered with 0
    #: Or `down` (503), `throttled` (429), and, as an error of JSON-RPC for everything, `exhausted`
    #: (too many requests) and `locked` (no such key).
    mode: str = "up"

    def change(self, changes: Mapping[str, Any]) -> None:
        """Set some of them; raises ConfigError for what there is not."""
        known = {f.name: f.default for f in fields(self)}
        for name, value in changes.items():
            if name not in known or type(value) is not type(known[name]):
                kinds = ", ".join(f"{k} ({type(v).__name__})" for k, v in known.items())
                raise ConfigError(f"node {name[:40]!a}: expected one of {kinds}")
            setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which logs are asked for: any of these addresses, and at each place any of these topics."""

    addresses: frozenset[str]
    topics: tuple[frozenset[str], ...]

    def fits(self, log: Log) -> bool:
        """Return whether a log is asked for."""
        if self.addresses and log.address not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(not t or log.topics[i] in t for i, t in enumerate(self.topics))


@dataclass
class Node:
    """A provider of a chain."""

    chain: Chain
    ills: Ills = field(default_factory=Ills)
    struck: int = 0  #: answers in which something was left out, or that were refused
    _shown: list[Block] = field(default_factory=list)

    @property
    def head(self) -> Block:
        """Return the newest block that it knows."""
        number = self.chain.head.number - self.ills.lag
        return self.chain.block(number) or self.chain.blocks[0]

    def knows(self, block: Block | None) -> Block | None:
        """Return a block of the chain if it is not ahead of this provider."""
        return block if block is not None and block.number <= self.head.number else None

    def news(self) -> tuple[list[Block], list[Block]]:
        """Return (blocks that are not in the chain any more, new ones) since it was asked last."""
        known = {block.hash for block in self._shown}
        recent = self.chain.blocks[-REMEMBERED - self.ills.lag :]
        visible = [block for block in recent if block.number <= self.head.number]
        gone = [block for block in self._shown if not self._stands(block)]
        come = [block for block in visible if block.hash not in known] if known else []
        kept = [block for block in self._shown if self._stands(block)] if known else visible
        self._shown = (kept + come)[-REMEMBERED:]
        return gone, come

    def _stands(self, block: Block) -> bool:
        now = self.chain.block(block.number)
        return now is not None and now.hash == block.hash

    def check(self, wanted: Filter) -> None:
        """Refuse a filter that is too much for it; raises RpcError."""
        if any(len(values) > self.ills.most_topics for values in wanted.topics):
            self.struck += 1
            raise RpcError(-32602, "exceed max topics")

    def in_range(self, wanted: Filter, first: int, last: int) -> list[dict[str, Any]]:
        """Return the logs of blocks `first` to `last`; raises RpcError."""
        self.check(wanted)
        if last - first + 1 > self.ills.most_blocks:
            self.struck += 1
            raise RpcError(-32005, f"block range is too wide: at most {self.ills.most_blocks}")
        if self.ills.empty:
            self.struck += 1
            return []
        if self.ills.clipped and last - first + 1 > self.ills.clipped:
            self.struck += 1
            last = first + self.ills.clipped - 1
        last = min(last, self.head.number)
        blocks = (self.chain.block(number) for number in range(first, last + 1))
        return [log for block in blocks if block for log in self.in_block(wanted, block)]

    def in_block(
        self, wanted: Filter, block: Block, *, removed: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield the logs of a block as it shows them."""
        number = block.first_index - 1
        for place, transaction in enumerate(block.transactions):
            for log in transaction.logs:
                number += 1
                if not wanted.fits(log):
                    continue
                if self.ills.hides and number % self.ills.hides == 0:
                    self.struck += 1
                    continue
                yield shown(block, place, number, log, removed=removed, bare=self.ills.bare)

    def heal(self) -> None:
        """Be well again."""
        self.ills = Ills()


def wanted(asked: Mapping[str, Any]) -> Filter:
    """Return a filter as it is asked for; raises RpcError."""
    try:
        addresses = frozenset(a.lower() for a in _several(asked.get("address")))
        topics = [frozenset(t.lower() for t in _several(ts)) for ts in asked.get("topics") or ()]
    except (AttributeError, TypeError):
        raise RpcError(-32602, "invalid argument 0: filter") from None
    if len(topics) > 4:
        raise RpcError(-32602, "exceed max topics")
    return Filter(addresses, tuple(topics))


def _several(value: Any) -> Iterable[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def shown(
    block: Block, place: int, number: int, log: Log, *, removed: bool = False, bare: bool = False
) -> dict[str, Any]:
    """Return a log as JSON-RPC shows it."""
    found = {
        "address": log.address, "topics": list(log.topics), "data": log.data,
        "blockNumber": hex(block.number), "transactionHash": block.transactions[place].hash,
        "transactionIndex": hex(place), "blockHash": block.hash, "logIndex": hex(number),
        "removed": removed,
    }  # fmt: skip
    return found if bare else {**found, "blockTimestamp": hex(block.timestamp_s)}


def header(block: Block) -> dict[str, Any]:
    """Return a block's header."""
    return {
        "number": hex(block.number), "hash": block.hash, "parentHash": block.parent,
        "timestamp": hex(block.timestamp_s), "logsBloom": f"0x{block.bloom():0512x}",
    }  # fmt: skip


def receipt(block: Block, place: int, transaction: Transaction) -> dict[str, Any]:
    """Return what became of a transaction, with every log of it."""
    before = block.first_index + sum(len(t.logs) for t in block.transactions[:place])
    return {
        "transactionHash": transaction.hash, "status": hex(transaction.ok),
        "blockNumber": hex(block.number), "blockHash": block.hash, "transactionIndex": hex(place),
        "logs": [shown(block, place, before + i, log) for i, log in enumerate(transaction.logs)],
    }  # fmt: skip
