"""What contracts write: filled orders, shares that move, pairs made and given back, outcomes.

Sources: the verified contracts on Polygon (CTFExchange V2 and V3, ConditionalTokens, the collateral
adapters). Every exchange writes one OrderFilled for each resting order, then the taker's own,
whose `taker` is the exchange itself, and OrdersMatched. Adapters stand in for whoever uses them:
the events of a split, merge, conversion or redemption name the adapter, and only transfers of
shares name the wallet.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.sim.chain import Log, Move, Transaction
from bot.sim.crypto import keccak
from bot.sim.entities import CONTRACTS, Account, Piece, SimMarket, SimOrder, SimTrade
from bot.sim.rows import FeedRow

NOBODY = "0x" + "00" * 20
TOKENS = "0x4d97dcd97ec945f40cf65f87097ace5ea0476045"
POSITIONS = "0x006f54f7f9a22e0000cc2ab60031000000ae9fef"
NEG_RISK = "0xd91e80cf2e7be2e162c6513ced06f1dd0da35296"
#: Through which contract pairs are made and given back.
ADAPTERS = {
    "standard": "0xada100db00ca00073811820692005400218fce1f",
    "neg_risk": "0xada2005600dec949baf300f4c6120000bdb6eaab",
    "v3": "0x12121212006e4cd160d18e3f00711da5c3372600",
}
#: The collateral of which positions are made: not the one in which they are paid.
_COLLATERAL = "0x2791bca1f2de4661ed88a30c99a7a9449aa84174"
ORACLE = "0x65070be91477460d8a7aeeb94ef92fe056c2f2a7"


def topic(signature: str) -> str:
    """Return the first topic of an event."""
    return "0x" + keccak(signature.encode()).hex()


ORDER_FILLED = topic(
    "OrderFilled(bytes32,address,address,uint8,uint256,uint256,uint256,uint256,bytes32,bytes32)"
)
ORDERS_MATCHED = topic("OrdersMatched(bytes32,address,uint8,uint256,uint256,uint256)")
TRANSFER_SINGLE = topic("TransferSingle(address,address,address,uint256,uint256)")
TRANSFER_BATCH = topic("TransferBatch(address,address,address,uint256[],uint256[])")
SPLIT = topic("PositionSplit(address,address,bytes32,bytes32,uint256[],uint256)")
MERGE = topic("PositionsMerge(address,address,bytes32,bytes32,uint256[],uint256)")
REDEEMED = topic("PayoutRedemption(address,address,bytes32,bytes32,uint256[],uint256)")
CONVERTED = topic("PositionsConverted(address,bytes32,uint256,uint256)")
RESOLVED = topic("ConditionResolution(bytes32,address,bytes32,uint256,uint256[])")


@dataclass
class Draft:
    """A transaction about shares of one market while its logs are written."""

    market: SimMarket
    logs: list[Log] = field(default_factory=list)
    changes: Counter[Move] = field(default_factory=Counter)

    @property
    def shares_at(self) -> str:
        """Return the contract that holds its shares."""
        return POSITIONS if self.market.kind == "v3" else TOKENS

    def write(self, address: str, topics: Sequence[str], *words: int) -> None:
        """Add a log."""
        data = "0x" + "".join(f"{word:064x}" for word in words)
        self.logs.append(Log(address.lower(), tuple(topics), data))

    def move(self, operator: str, giver: str, taker: str, parts: dict[str, int]) -> None:
        """Let shares (by token) go from one address to another."""
        topics = [_topic(operator), _topic(giver), _topic(taker)]
        tokens, amounts = [int(token) for token in parts], list(parts.values())
        if len(parts) == 1:
            self.write(self.shares_at, (TRANSFER_SINGLE, *topics), *tokens, *amounts)
        else:
            self.write(self.shares_at, (TRANSFER_BATCH, *topics), *_arrays(tokens, amounts))
        for token, amount in parts.items():
            self.changes[giver.lower(), token] -= amount
            self.changes[taker.lower(), token] += amount

    def done(self, digest: str) -> Transaction:
        """Return the transaction."""
        return Transaction(digest, tuple(self.logs), self.changes)


def trade(found: SimTrade) -> Transaction:
    """Return the transaction that settles a match."""
    taker, draft = found.taker, Draft(found.taker.market)
    exchange = CONTRACTS[taker.market.kind]
    if taker.side == "SELL":
        draft.move(exchange, taker.account.wallet, exchange, {taker.token: found.shares})
    for piece in found.pieces:
        _settle(draft, exchange, taker, piece)
    if taker.side == "BUY":
        draft.move(exchange, exchange, taker.account.wallet, {taker.token: found.shares})
    amounts = found.shares, _told(found)
    making, taking = amounts if taker.side == "SELL" else amounts[::-1]
    _filled(draft, exchange, taker, exchange, (making, taking, found.fee))
    who = (ORDERS_MATCHED, taker.id, _topic(taker.account.wallet))
    draft.write(exchange, who, _side(taker), int(taker.token), making, taking)
    return draft.done(found.tx)


def _told(found: SimTrade) -> int:
    """Return the money that the taker's own event names.

    Where pairs are made by V2 that is what was offered, before what is left of it goes back: too
    much by as much as the match was better than the order's limit.
    """
    taker = found.taker
    mints = any(piece.mint for piece in found.pieces) and taker.market.kind != "v3"
    if not mints or taker.side == "SELL":
        return found.usdc
    return max(found.usdc, found.shares * taker.making // taker.taking)


def _settle(draft: Draft, exchange: str, taker: SimOrder, piece: Piece) -> None:
    maker, wallet = piece.order, piece.order.account.wallet
    pair = dict.fromkeys(draft.market.tokens, piece.shares)
    if maker.side == "SELL":
        draft.move(exchange, wallet, exchange, {maker.token: piece.shares})
        if piece.mint:
            draft.move(exchange, exchange, NOBODY, pair)
    else:
        if piece.mint:
            draft.move(exchange, NOBODY, exchange, pair)
        draft.move(exchange, exchange, wallet, {maker.token: piece.shares})
    amounts = piece.shares, piece.maker_usdc
    making, taking = amounts if maker.side == "SELL" else amounts[::-1]
    _filled(draft, exchange, maker, taker.account.wallet, (making, taking, 0))


def _filled(
    draft: Draft, exchange: str, order: SimOrder, taker: str, amounts: tuple[int, int, int]
) -> None:
    topics = (ORDER_FILLED, order.id, _topic(order.account.wallet), _topic(taker))
    draft.write(exchange, topics, _side(order), int(order.token), *amounts, 0, 0)


def recorded(rows: Sequence[FeedRow]) -> Transaction:
    """Return the transaction that settles recorded rows; the taker's is the largest."""
    taker = max(rows, key=lambda row: row.shares)
    draft, exchange = Draft(taker.market), CONTRACTS[taker.market.kind]
    for number, row in enumerate(sorted(rows, key=lambda row: row is taker)):
        ends = (row.wallet, exchange) if row.side == "SELL" else (exchange, row.wallet)
        draft.move(exchange, *ends, {row.token: row.shares})
        order = topic(f"{row.tx} {number}")
        beside = exchange if row is taker else taker.wallet
        sells = row.side == "SELL"
        amounts = (row.shares, row.usdc) if sells else (row.usdc, row.shares)
        topics = (ORDER_FILLED, order, _topic(row.wallet), _topic(beside))
        draft.write(exchange, topics, int(sells), int(row.token), *amounts, 0, 0, 0)
    return draft.done(taker.tx)


def pairs(digest: str, account: Account, market: SimMarket, shares: int) -> Transaction:
    """Return the transaction in which a wallet makes pairs of shares, or gives back (below 0)."""
    draft, adapter = Draft(market), ADAPTERS[market.kind]
    parts = dict.fromkeys(market.tokens, abs(shares))
    if shares > 0:
        draft.move(adapter, NOBODY, adapter, parts)
        draft.move(adapter, adapter, account.wallet, parts)
    else:
        draft.move(adapter, account.wallet, adapter, parts)
        draft.move(adapter, adapter, NOBODY, parts)
    topics = (SPLIT if shares > 0 else MERGE, _topic(adapter), _word(0), market.condition)
    draft.write(TOKENS, topics, int(_COLLATERAL, 16), 96, abs(shares), 2, 1, 2)
    return draft.done(digest)


def redemption(
    digest: str, account: Account, market: SimMarket, parts: dict[str, int], payout: int
) -> Transaction:
    """Return the transaction in which a wallet's shares become what they pay."""
    draft, adapter = Draft(market), ADAPTERS[market.kind]
    draft.move(adapter, account.wallet, adapter, parts)
    draft.move(adapter, adapter, NOBODY, parts)
    topics = (REDEEMED, _topic(adapter), _topic(_COLLATERAL), _word(0))
    draft.write(TOKENS, topics, int(market.condition, 16), 96, payout, 2, 1, 2)
    return draft.done(digest)


def conversion(
    digest: str, account: Account, sold: Sequence[SimMarket], bought: Sequence[SimMarket], n: int
) -> Transaction:
    """Return the transaction in which `n` No of each of some markets of an event become Yes of
    the others.
    """
    draft, adapter = Draft(sold[0]), ADAPTERS["neg_risk"]
    draft.move(adapter, account.wallet, adapter, {market.tokens[1]: n for market in sold})
    if bought:
        draft.move(adapter, adapter, account.wallet, {market.tokens[0]: n for market in bought})
    event = "0x" + keccak(sold[0].event.encode()).hex()
    mask = (1 << len(sold)) - 1
    draft.write(NEG_RISK, (CONVERTED, _topic(adapter), event, _word(mask)), n)
    return draft.done(digest)


def transfer(
    digest: str, giver: str, taker: str, market: SimMarket, parts: dict[str, int]
) -> Transaction:
    """Return the transaction in which shares go from one wallet to another."""
    draft = Draft(market)
    draft.move(giver, giver, taker, parts)
    return draft.done(digest)


def resolution(market: SimMarket) -> Transaction:
    """Return the transaction in which a market's outcome is told; it must be known."""
    assert market.payouts is not None
    draft = Draft(market)
    topics = (RESOLVED, market.condition, _topic(ORACLE), market.question)
    draft.write(TOKENS, topics, 2, 64, 2, *market.payouts)
    return draft.done(market.resolved_tx)


def _arrays(*lists: list[int]) -> list[int]:
    heads, tail, at = [], [], 32 * len(lists)
    for values in lists:
        heads.append(at)
        tail += [len(values), *values]
        at += 32 * (1 + len(values))
    return heads + tail


def _topic(address: str) -> str:
    return "0x" + address.lower().removeprefix("0x").rjust(64, "0")


def _word(value: int) -> str:
    return f"0x{value:064x}"


def _side(order: SimOrder) -> int:
    return int(order.side == "SELL")
