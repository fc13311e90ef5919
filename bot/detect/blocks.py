"""What the newest blocks say that watched wallets did. Pure.

A transaction is in one block, so a fact's total is the sum of its logs there, each counted once
however often it is told. Another block in its place takes them away until they are told again
elsewhere. Shares that moved without an order are what a wallet's transfers leave over once its
orders are taken off: that is known only where all logs of a block have been read.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from bot.model.chain import Block, Filled, Moved, Place, Role, executed
from bot.model.leader import FactState
from bot.model.market import Side, TokenId
from bot.model.totals import Total

#: Blocks that are remembered once they are final, and those of which somebody has told and that
#: nobody could read whole since: hours, in which no provider had all of them.
KEPT, UNREAD = 512, 5_120

Log = Filled | Moved
_Logs = dict[tuple[int, TokenId], Log]  #: of one transaction in one block, by their place


@dataclass(frozen=True, slots=True)
class Did:
    """What a wallet did to a token, one way, in one transaction, as far as the chain says."""

    tx: str
    wallet: str  #: in lower case
    token: TokenId
    side: Side  #: BUY: shares came in
    traded: bool  #: by orders; else shares moved without one
    total: Total  #: (shares, usdc); (0, 0): its block is out of the chain
    state: FactState
    block: int
    at_s: int | None  #: the block's own time, where it was told
    ends: frozenset[str] = frozenset()  #: who was at the other end of shares without an order
    exact: bool = True  #: False: what a taker paid is told by orders that have not been told of
    corrects: bool = False  #: it was told otherwise, as final, before more of its block was known

    @property
    def key(self) -> tuple[str, str, TokenId, Side, bool]:
        """Return which fact it is."""
        return self.tx, self.wallet, self.token, self.side, self.traded


class Blocks:
    """The newest blocks, and the logs in them of wallets (in lower case) that are watched."""

    def __init__(self, watches: Callable[[str], bool]) -> None:
        self._watches = watches
        self._heads: dict[int, Block] = {}
        self._numbers: dict[str, int] = {}  #: of blocks whose logs are known, by hash
        self._logs: dict[str, dict[str, _Logs]] = {}  #: by block's hash and transaction
        self._whole: set[str] = set()  #: hashes of blocks of which all logs were read
        self._final: dict[str, list[Did]] = {}  #: what was told of those that are final
        self._before: dict[str, list[Did]] = {}  #: and of those of which more has come since
        self._closed = -1  #: the newest block that was final and is forgotten

    def hash_of(self, number: int) -> str | None:
        """Return the hash of the block that has a number, or None if nobody has told."""
        return self._heads[number].hash if number in self._heads else None

    def told(self, txs: Collection[str]) -> list[Did]:
        """Return what orders say by now in some transactions."""
        where = {(name, tx) for name, found in self._logs.items() for tx in txs if tx in found}
        return self._told(where)

    def unsure(self, first: int, last: int) -> set[int]:
        """Return the numbers, in a range, of blocks with logs that are not final."""
        return {
            n for name, n in self._numbers.items() if first <= n <= last and name not in self._final
        }

    def learn(self, logs: Iterable[Log]) -> list[Did]:
        """Take logs, and return what orders say by now in their transactions.

        What a block has that was final and is forgotten is settled.
        """
        return self._told({self._take(log) for log in logs if self._is_open(log.place)})

    def remove(self, logs: Iterable[Log]) -> list[Did]:
        """Take back logs that a provider takes back, and all others of their blocks with them."""
        return self._lost({log.place.block_hash for log in logs})

    def head(self, block: Block) -> list[Did]:
        """Take a block as the one that has its number now; return what is in no block any more."""
        # Who is behind takes nothing away: what is above another block is out together with it.
        other = self.hash_of(block.number) not in (None, block.hash)
        lost = [b for n, b in self._heads.items() if other and n >= block.number]
        for known in lost:
            del self._heads[known.number]
        self._heads[block.number] = block
        self._forget(block.number)
        # Of some blocks nobody has told but by their logs.
        beside = {name for name, n in self._numbers.items() if n == block.number}
        return self._lost({b.hash for b in lost} | beside - {block.hash})

    def whole(self, block: Block, logs: Iterable[Log]) -> list[Did]:
        """Take all logs that a provider has of watched wallets in a block; return what orders say.

        What was told before and is not among them is kept: a provider may leave some out.
        """
        if block.number <= self._closed and block.hash not in self._numbers:
            return []
        self._whole.add(block.hash)
        self._numbers[block.hash] = block.number
        for log in logs:
            self._take(log)
        found = self._told({(block.hash, tx) for tx in self._logs.get(block.hash, {})})
        return [replace(did, at_s=block.at_s) for did in found]

    def final(self, number: int) -> list[Did]:
        """Return, as final, all that was done in blocks up to one that stands for good.

        Once, and again where more logs of a block have come since: what it told before and does
        not tell any more is nothing then. Blocks that were not read whole are to be read first.
        """
        done = [name for name, n in self._numbers.items() if n <= number and name in self._whole]
        found: list[Did] = []
        for name in [name for name in done if name not in self._final and self._stands(name)]:
            txs = self._logs.get(name, {}).values()
            told = [did for logs in txs for did in what(logs.values(), self._watches, whole=True)]
            told = [replace(self._timed(did), state=FactState.FINAL) for did in told]
            keys = {did.key for did in told}
            before = self._before.pop(name, [])
            found += [replace(did, corrects=bool(before)) for did in told]
            found += [
                replace(did, total=(0, 0), corrects=True) for did in before if did.key not in keys
            ]
            self._final[name] = told
        return found

    def _take(self, log: Log) -> tuple[str, str]:
        name = log.place.block_hash
        self._numbers[name] = log.place.block
        logs = self._logs.setdefault(name, {}).setdefault(log.tx, {})
        if (log.place.index, log.token) not in logs:
            logs[log.place.index, log.token] = log
            if name in self._final:
                self._before[name] = self._final.pop(name)
        return name, log.tx

    def _is_open(self, place: Place) -> bool:
        return place.block > self._closed or place.block_hash in self._numbers

    def _stands(self, name: str) -> bool:
        number = self._numbers.get(name)
        return number is not None and self.hash_of(number) in (None, name)

    def _told(self, where: Iterable[tuple[str, str]]) -> list[Did]:
        found: list[Did] = []
        for name, tx in sorted(where):
            if self._stands(name):
                found += what(self._logs[name][tx].values(), self._watches, whole=False)
        return [self._timed(did) for did in found]

    def _timed(self, did: Did) -> Did:
        """Return it with its block's own time, if its log did not tell and its header has."""
        head = self._heads.get(did.block)
        return did if did.at_s is not None or head is None else replace(did, at_s=head.at_s)

    def _lost(self, gone: Collection[str]) -> list[Did]:
        """Forget blocks that are out of the chain; return what is in no other one."""
        found: list[Did] = []
        lost = [self._logs.get(name, {}) for name in sorted(gone)]
        for name in gone:
            self._drop(name)
        standing = {tx for n, txs in self._logs.items() if self._stands(n) for tx in txs}
        for logs in lost:
            for tx in sorted(logs.keys() - standing):
                found += what(logs[tx].values(), self._watches, whole=False)
        return [replace(did, total=(0, 0), state=FactState.PROVISIONAL) for did in found]

    def _forget(self, number: int) -> None:
        self._heads = {n: block for n, block in self._heads.items() if n > number - UNREAD}
        for name, n in list(self._numbers.items()):
            if n <= number - KEPT and name in self._final:
                self._closed = max(self._closed, n)
                self._drop(name)
            elif n <= number - UNREAD:
                self._drop(name)

    def _drop(self, name: str) -> None:
        self._numbers.pop(name, None)
        self._logs.pop(name, None)
        self._whole.discard(name)
        self._final.pop(name, None)
        self._before.pop(name, None)


def what(logs: Collection[Log], watches: Callable[[str], bool], *, whole: bool) -> list[Did]:
    """Return what watched wallets did in one transaction, by its logs in one block.

    Shares that moved without an order are left out unless these are all of its logs (`whole`).
    """
    filled = [log for log in logs if isinstance(log, Filled)]
    traded: Counter[tuple[str, TokenId, Side]] = Counter()
    paid: Counter[tuple[str, TokenId, Side]] = Counter()
    makers = [log for log in filled if log.role is Role.MAKER]
    met = sum(log.shares for log in makers)
    short = {log.wallet for log in filled if log.role is Role.TAKER and log.shares != met}
    for log in filled:
        key = (log.wallet, log.token, log.side)
        traded[key] += log.shares
        paid[key] += executed(log, makers) if log.role is Role.TAKER else log.usdc
    place, tx = next((log.place, log.tx) for log in logs)
    at = (FactState.MINED, place.block, place.block_s)
    found = [
        Did(tx, wallet, token, side, True, (shares, paid[wallet, token, side]), *at)
        for (wallet, token, side), shares in traded.items()
        if watches(wallet)
    ]
    found = [replace(did, exact=did.wallet not in short) for did in found]
    if not whole:
        return found
    return found + [
        Did(tx, wallet, token, side, False, (shares, 0), *at, _ends(logs, wallet, token))
        for (wallet, token, side), shares in _silently(logs, traded, watches).items()
    ]


def _ends(logs: Iterable[Log], wallet: str, token: TokenId) -> frozenset[str]:
    moved = (log for log in logs if isinstance(log, Moved) and log.token == token)
    pairs = ({log.giver, log.taker} for log in moved)
    return frozenset(end for pair in pairs if wallet in pair for end in pair - {wallet})


def _silently(
    logs: Collection[Log],
    traded: Counter[tuple[str, TokenId, Side]],
    watches: Callable[[str], bool],
) -> dict[tuple[str, TokenId, Side], int]:
    moved: Counter[tuple[str, TokenId]] = Counter()
    for log in logs:
        if isinstance(log, Moved):
            moved[log.giver, log.token] -= log.shares
            moved[log.taker, log.token] += log.shares
    found = {}
    for (wallet, token), net in moved.items():
        by_orders = traded[wallet, token, Side.BUY] - traded[wallet, token, Side.SELL]
        rest = net - by_orders
        if rest and watches(wallet):
            found[wallet, token, Side.BUY if rest > 0 else Side.SELL] = abs(rest)
    return found
