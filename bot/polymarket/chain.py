"""Logs of the chain, decoded into what they say.

A log counts by its contract and its first topic together: another contract may write the same
words with another meaning. Sources: CTFExchange V2 and V3 (`OrderFilled`; the wallet is in its
second topic), ERC-1155 (`TransferSingle`, `TransferBatch`), ConditionalTokens and NegRiskAdapter.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from bot.model.chain import Filled, Moved, Place, Resolved, Role, Said
from bot.model.leader import FactKind
from bot.model.market import ConditionId, Side, TokenId
from bot.model.units import MAX_MICROS, printable
from bot.polymarket.wire import BadInput, decode

ORDER_FILLED = "0xd543adfd945773f1a62f74f0ee55a5e3b9b1a28262980ba90b1a89f2ea84d8ee"
TRANSFER_SINGLE = "0xc3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62"
TRANSFER_BATCH = "0x4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb"
RESOLVED = "0xb44d84d3289691f71497564b85d4233648d9dbae8cbdbb4329f301c3a0185894"
#: Events of which only the kind matters: they name the adapter that was used, not its user.
_KINDS = {
    "0x2e6bb91f8cbcda0c93623c54d0403a43514fabc40084ec96b6d5379a74786298": FactKind.SPLIT,
    "0x6f13ca62553fcc2bcd2372180a43949c1e4cebba603901ede2f4e14f36b282ca": FactKind.MERGE,
    "0xb03d19dddbc72a87e735ff0ea3b57bef133ebe44e1894284916a84044deb367e": FactKind.CONVERSION,
    "0x2682012a4a4f1973119f1c9b90745d1bd91fa2bab387344f044cb3586864d18d": FactKind.REDEMPTION,
    "0x9140a6a270ef945260c03894b3c6b3b2695e9d5101feef0ff24fec960cfd3224": FactKind.REDEMPTION,
}
#: Where shares are held: ConditionalTokens, and the PositionManager of V3.
TOKENS = (
    "0x4d97dcd97ec945f40cf65f87097ace5ea0476045",
    "0x006f54f7f9a22e0000cc2ab60031000000ae9fef",
)
#: Contracts through which pairs are made and given back, converted and redeemed: collateral
#: adapters, the neg-risk adapter, the router and modules of V3, and who redeems for everybody.
STATIONS = (
    "0xada100db00ca00073811820692005400218fce1f", "0xada2005600dec949baf300f4c6120000bdb6eaab",
    "0xada100874d00e3331d00f2007a9c336a65009718", "0xada200001000ef00d07553cee7006808f895c6f1",
    "0xd91e80cf2e7be2e162c6513ced06f1dd0da35296", "0x12121212006e4cd160d18e3f00711da5c3372600",
    "0x1000008dd9001b968442c1000017eae6e0da00ba", "0x200000900045e3b6259600682756002200028933",
    "0x30000034706c7d8e12009dab006be20000c031a8", "0xa1200000d0002264c9a1698e001292d00e1b00af",
)  # fmt: skip
NOBODY = "0x" + "0" * 40
WORD = 64  #: hex digits
MAX_DATA = 2 + WORD * 1_000
MAX_TOPICS = 4


class RawLog(msgspec.Struct):
    """A log as eth_getLogs, a receipt or a subscription shows it; unknown fields are ignored."""

    address: str
    topics: list[str]
    data: str
    blockNumber: str
    blockHash: str
    transactionHash: str
    logIndex: str
    removed: bool = False
    blockTimestamp: str | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Which contracts are believed, in lower case."""

    exchanges: frozenset[str]
    tokens: frozenset[str] = frozenset(TOKENS)

    @property
    def stations(self) -> frozenset[str]:
        """Return the contracts through which shares go that nobody sells or sends to anybody."""
        return self.exchanges | frozenset(STATIONS)


def concerns(raw: RawLog, knows: Callable[[str], bool]) -> bool:
    """Return whether a log may tell of a wallet that `knows` (in lower case) does.

    Of an order that was filled two are named: whose it was, and who took it. Any other log may.
    """
    if len(raw.topics) != MAX_TOPICS or raw.topics[0] != ORDER_FILLED:
        return True
    return any(knows(f"0x{topic[-40:].lower()}") for topic in raw.topics[2:])


def log(data: bytes) -> RawLog:
    """Return one log; raises BadInput."""
    return decode(data, RawLog)


def said(raw: RawLog, known: Addresses) -> Sequence[Said]:
    """Return what a log says; nothing where its contract is none of those believed, or its event
    is none of those read. Raises BadInput for one that is not of its event's shape.
    """
    contract, name = raw.address.lower(), raw.topics[0].lower() if raw.topics else ""
    if contract in known.exchanges and name == ORDER_FILLED:
        return [_filled(raw, contract)]
    if contract in known.tokens and name in (TRANSFER_SINGLE, TRANSFER_BATCH):
        return _moved(raw, single=name == TRANSFER_SINGLE)
    if contract in known.tokens and name == RESOLVED:
        return [_resolved(raw)]
    return []


def is_transfer(ends: Iterable[str], stations: frozenset[str]) -> bool:
    """Return whether shares went between wallets alone: at no end is one of the `stations`, the
    contracts (in lower case) that make pairs, take them back, convert and redeem.
    """
    return not set(ends) & (stations | {NOBODY})


def is_match(receipt: Iterable[RawLog]) -> bool:
    """Return whether any contract tells of a filled order in a transaction, known or not."""
    return any(raw.topics[:1] == [ORDER_FILLED] for raw in receipt)


def movement(receipt: Iterable[RawLog], *, came: bool) -> FactKind:
    """Return what became of shares that went through a station, by all logs of the transaction.

    Where none of its events is there the way tells: what came was made, what went was given back.
    """
    kinds = {_KINDS[name] for raw in receipt for name in raw.topics[:1] if name in _KINDS}
    # A conversion merges pairs on its way, and a redemption of a neg-risk market is written twice.
    for kind in (FactKind.CONVERSION, FactKind.REDEMPTION, FactKind.MERGE, FactKind.SPLIT):
        if kind in kinds:
            return kind
    return FactKind.SPLIT if came else FactKind.MERGE


def _filled(raw: RawLog, contract: str) -> Filled:
    topics, words = _topics(raw, 4), _words(raw.data, 7)
    if words[0] not in (0, 1):
        raise BadInput(f"OrderFilled: side: expected 0 or 1, found {words[0]}")
    side = Side.BUY if words[0] == 0 else Side.SELL
    making, taking = _amount(words[2]), _amount(words[3])
    shares, usdc = (taking, making) if side is Side.BUY else (making, taking)
    if shares == 0:
        raise BadInput("OrderFilled: expected more than 0 shares")
    counterparty = _address(topics[3])
    return Filled(
        place=place(raw),
        tx=digest(raw.transactionHash, "transactionHash"),
        exchange=contract,
        wallet=_address(topics[2]),
        order=topics[1],
        role=Role.TAKER if counterparty == contract else Role.MAKER,
        token=TokenId(str(words[1])),
        side=side,
        shares=shares,
        usdc=usdc,
    )


def _moved(raw: RawLog, *, single: bool) -> list[Moved]:
    topics = _topics(raw, 4)
    giver, taker = _address(topics[2]), _address(topics[3])
    tx, where = digest(raw.transactionHash, "transactionHash"), place(raw)
    if single:
        token, shares = _words(raw.data, 2)
        parts = [(token, shares)]
    else:
        words = _words(raw.data)
        tokens, amounts = _array(words, 0), _array(words, 1)
        if len(tokens) != len(amounts):
            raise BadInput("TransferBatch: expected as many amounts as tokens")
        parts = list(zip(tokens, amounts, strict=True))
    return [
        Moved(where, tx, TokenId(str(token)), _amount(shares), giver, taker)
        for token, shares in parts
        if shares
    ]


def _resolved(raw: RawLog) -> Resolved:
    topics, words = _topics(raw, 4), _words(raw.data)
    payouts = tuple(_array(words, 1))
    if len(words) < 2 or len(payouts) != words[0] or not sum(payouts):
        raise BadInput("ConditionResolution: expected a numerator for each outcome, not all 0")
    tx = digest(raw.transactionHash, "transactionHash")
    return Resolved(place(raw), tx, ConditionId(topics[1]), payouts)


def place(raw: RawLog) -> Place:
    """Return where a log stands; raises BadInput."""
    at_s = None if raw.blockTimestamp is None else quantity(raw.blockTimestamp, "blockTimestamp")
    return Place(
        quantity(raw.blockNumber, "blockNumber"),
        quantity(raw.logIndex, "logIndex"),
        digest(raw.blockHash, "blockHash"),
        at_s,
    )


def quantity(text: str, field: str) -> int:
    """Return a number as JSON-RPC writes it, below 2^53; raises BadInput."""
    found = _hex(text, field) if 2 < len(text) <= 16 else -1
    if not 0 <= found < 2**53:
        raise BadInput(f"{field}: expected a hex number, found {printable(text, 40)!r}")
    return found


def _topics(raw: RawLog, number: int) -> list[str]:
    if len(raw.topics) != number:
        raise BadInput(f"topics: expected {number}, found {len(raw.topics)}")
    return [digest(topic, "topic") for topic in raw.topics]


def _words(data: str, number: int | None = None) -> list[int]:
    digits = len(data) - 2
    if len(data) > MAX_DATA or digits % WORD or (number is not None and digits != number * WORD):
        raise BadInput(f"data: expected {number or 'whole'} words, found {len(data)} characters")
    _hex(data, "data", empty=True)
    return [int(data[i : i + WORD], 16) for i in range(2, len(data), WORD)]


def _array(words: list[int], place: int) -> list[int]:
    """Return the array whose offset in bytes stands at a place; raises BadInput."""
    start, rest = divmod(words[place], 32) if place < len(words) else (len(words), 0)
    size = words[start] if start < len(words) else len(words)
    if rest or start + 1 + size > len(words):
        raise BadInput("data: expected arrays inside the data")
    return words[start + 1 : start + 1 + size]


def _amount(word: int) -> int:
    if word > MAX_MICROS:
        raise BadInput(f"amount: expected at most {MAX_MICROS}, found {printable(word, 24)}")
    return word


def _address(topic: str) -> str:
    if topic[2:26].strip("0"):
        raise BadInput("topic: expected an address")
    return "0x" + topic[26:]


def digest(text: str, field: str) -> str:
    """Return 32 bytes in hex, in lower case; raises BadInput."""
    if len(text) != 2 + WORD:
        raise BadInput(f"{field}: expected 0x and {WORD} hex digits, found {len(text)} characters")
    _hex(text, field)
    return text.lower()


def encoded(*arrays: Sequence[int]) -> str:
    """Return arrays of numbers as the arguments of a call: hex digits without 0x."""
    heads: list[int] = []
    tails: list[int] = []
    for values in arrays:
        heads.append(32 * (len(arrays) + len(tails)))
        tails += [len(values), *values]
    return "".join(f"{word:064x}" for word in (*heads, *tails))


def amounts(answer: str, number: int) -> list[int]:
    """Return so many amounts from the answer of a call; raises BadInput."""
    found = _array(_words(answer), 0)
    if len(found) != number:
        raise BadInput(f"balances: expected {number}, found {len(found)}")
    return [_amount(word) for word in found]


def _hex(text: str, field: str, *, empty: bool = False) -> int:
    """Return 0x... as a number; raises BadInput for what int() would take besides, as 1_0."""
    digits = text[2:]
    good = (text[:2] == "0x" and digits.isascii() and digits.isalnum()) or (empty and text == "0x")
    try:
        return int(digits or "0", 16) if good else _refused(text, field)
    except ValueError:
        return _refused(text, field)


def _refused(text: str, field: str) -> int:
    raise BadInput(f"{field}: expected hex digits after 0x, found {printable(text, 40)!r}")
