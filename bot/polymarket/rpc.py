"""A provider of the chain over HTTP: JSON-RPC, as far as logs, blocks, receipts and balances go.

A provider is somebody else's machine: what it leaves out cannot be seen in one answer, and what it
refuses (a range too wide, too many wallets at once) another may take. web3 would do the same for
66 MB and a second and a half of imports in a worker that has to be back within three.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import msgspec
import structlog

from bot.errors import TooMuch, Unavailable
from bot.model.chain import Block
from bot.model.leader import Wallet
from bot.model.market import TokenId
from bot.model.units import printable
from bot.polymarket import chain, wire
from bot.polymarket.public import accepted
from bot.polymarket.transport import Reply, Transport

logger = structlog.get_logger(__name__)
BALANCE_OF_BATCH = "0x4e1273f4"  #: balanceOfBatch(address[],uint256[]) of ERC-1155
#: Balances in one call: about 13 kB of request.
BALANCES_AT_ONCE = 100
#: How providers say, in HTTP 200, that it was too often: asking for less at once does not help.
_EXHAUSTED = re.compile(r"\brate\b|too many requests|request count|compute units|throughput", re.I)


class Refused(Exception):
    """A provider says no: it does not do this, or not so much of it, or does not know the block."""


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Answer(msgspec.Struct):
    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


class _Header(msgspec.Struct):
    number: str
    hash: str
    parentHash: str
    timestamp: str


class _Receipt(msgspec.Struct):
    status: str
    blockNumber: str
    blockHash: str
    logs: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction that is in a block: whether it succeeded, and all its logs."""

    ok: bool
    block: int
    block_hash: str
    logs: list[chain.RawLog]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which logs are asked for: of any of these contracts, and any of these topics at each place.

    None at a place takes every topic.
    """

    contracts: tuple[str, ...]
    topics: tuple[tuple[str, ...] | None, ...]

    def asked(self) -> dict[str, Any]:
        """Return it as JSON-RPC asks for it."""
        topics = [None if values is None else list(values) for values in self.topics]
        return {"address": list(self.contracts), "topics": topics}


class Rpc:
    """One provider. Every method raises Unavailable where it does not answer."""

    def __init__(self, http: Transport, name: str) -> None:
        self._http, self.name = http, name
        self.refused = 0  #: logs that could not be read: each blocks itself alone
        self._numbers = count(1)

    async def block(self, which: int | str) -> Block | None:
        """Return a block by number, or `latest` or `finalized`; None where there is none (yet).

        Raises Refused where the provider does not know the word.
        """
        name = hex(which) if isinstance(which, int) else which
        found = await self._call("eth_getBlockByNumber", [name, False], _Header | None)
        with _readable("block"):
            return None if found is None else _block(found)

    async def logs(self, wanted: Wanted, first: int, last: int) -> list[chain.RawLog]:
        """Return the logs of blocks `first` to `last`. Raises Refused where that is too much.

        An empty list proves nothing: a provider that is behind has none either.
        """
        return await self._logs(wanted.asked() | {"fromBlock": hex(first), "toBlock": hex(last)})

    async def logs_in(self, wanted: Wanted, block_hash: str) -> list[chain.RawLog]:
        """Return the logs of one block. Raises Refused where the provider does not have it."""
        return await self._logs(wanted.asked() | {"blockHash": block_hash})

    async def _logs(self, asked: dict[str, Any]) -> list[chain.RawLog]:
        return self._each(await self._call("eth_getLogs", [asked], list[msgspec.Raw]))

    def _each(self, rows: Sequence[msgspec.Raw]) -> list[chain.RawLog]:
        found = []
        for row in rows:
            try:
                found.append(chain.log(bytes(row)))
            except wire.BadInput as error:
                self.refused += 1
                logger.warning("log.refused", provider=self.name, error=str(error))
        return found

    async def receipt(self, tx: str) -> Receipt | None:
        """Return what became of a transaction; None where it is in no block that is known."""
        found = await self._call("eth_getTransactionReceipt", [tx], _Receipt | None)
        if found is None:
            return None
        with _readable("receipt"):
            ok = chain.quantity(found.status, "status") == 1
            number = chain.quantity(found.blockNumber, "blockNumber")
            block_hash = chain.digest(found.blockHash, "blockHash")
        return Receipt(ok, number, block_hash, self._each(found.logs))

    async def balances(
        self, contract: str, pairs: Sequence[tuple[Wallet, TokenId]], block: Block
    ) -> list[int]:
        """Return what wallets held of tokens at the end of a block, in micro-shares.

        Raises Refused where the provider does not have the block, or not its state any more.
        """
        found: list[int] = []
        for start in range(0, len(pairs), BALANCES_AT_ONCE):
            part = pairs[start : start + BALANCES_AT_ONCE]
            data = BALANCE_OF_BATCH + chain.encoded(
                [int(wallet, 16) for wallet, _ in part], [int(token) for _, token in part]
            )
            call = {"to": contract, "data": data}
            words = await self._call("eth_call", [call, {"blockHash": block.hash}], str)
            with _readable("balances"):
                found += chain.amounts(words, len(part))
        return found

    async def _call(self, method: str, params: list[Any], kind: Any) -> Any:
        number = next(self._numbers)
        asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        body = json.dumps(asked, separators=(",", ":"))
        try:
            reply = await self._http.query("", body, purpose="decision")
        except TooMuch as error:
            raise Refused(f"{self.name}: {method}: {error}") from None
        answer = _refusal(reply) or accepted(reply, lambda body: wire.decode(body, _Answer))
        if answer.error is not None:
            said = printable(answer.error.message, 200)
            kind = Unavailable if _EXHAUSTED.search(said) else Refused
            raise kind(f"{self.name}: {method}: {answer.error.code} {said}")
        if answer.id != number:
            raise Unavailable(f"{self.name}: {method}: the answer is to another question")
        with _readable(method):
            return wire.decode(bytes(answer.result), kind)


def _refusal(reply: Reply) -> _Answer | None:
    """Return the error that some providers send as HTTP 400 and the like, or None.

    What is about who asks, or how often, is about no question.
    """
    if not 400 <= reply.status < 500 or reply.status in (401, 403, 429):
        return None
    try:
        answer = wire.decode(reply.body, _Answer)
    except wire.BadInput:
        return None
    return answer if answer.error is not None else None


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turn what cannot be read into no answer."""
    try:
        yield
    except wire.BadInput as error:
        raise Unavailable(f"{what}: unreadable answer: {error}") from None


def block_of(raw: bytes) -> Block:
    """Return a block's header; raises BadInput."""
    return _block(wire.decode(raw, _Header))


def _block(found: _Header) -> Block:
    return Block(
        chain.quantity(found.number, "number"),
        chain.digest(found.hash, "hash"),
        chain.digest(found.parentHash, "parentHash"),
        chain.quantity(found.timestamp, "timestamp"),
    )
