"""What exists in the simulation: markets, accounts, orders and trades."""

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

MICRO = 1_000_000
CHAIN_ID = 137
CONTRACTS = {
    "standard": "0xE111180000d2663C0091e4f400237545B87B996B",
    "neg_risk": "0xe2222d279d744050d28e00520010520000310F59",
    "v3": "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa",
}
#: tick -> decimals of (price, size, amount)
DECIMALS = {
    100_000: (1, 2, 3),
    10_000: (2, 2, 4),
    5_000: (3, 2, 5),
    2_500: (4, 2, 6),
    1_000: (3, 2, 5),
    100: (4, 2, 6),
}


def text(micros: int) -> str:
    """Return millionths as decimal text, as the exchange prints numbers."""
    whole, rest = divmod(micros, MICRO)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".") if rest else str(whole)


@dataclass(slots=True, eq=False)
class SimMarket:
    """One binary condition."""

    condition: str
    tokens: tuple[str, str]
    outcomes: tuple[str, str]
    title: str
    slug: str
    tick: int = 10_000
    min_shares: int = 5 * MICRO
    neg_risk: bool = False
    version: str = "v1"
    fee_rate: int = 40_000
    fee_exponent: int = 1
    accepting: bool = True
    last_price: int = 500_000
    #: Where it is in its life, and since when (micro-seconds): see bot/sim/markets.py.
    stage: str = "open"
    history: list[tuple[str, int]] = field(default_factory=list)
    #: Payout numerators, once they are on the chain.
    payouts: tuple[int, int] | None = None
    resolved_tx: str = ""
    lingers: bool = False  #: some lists say that it takes orders although it is closed
    event: str = ""  #: id of the event it is a market of; "": of one of its own
    listed_us: int = 0  #: before that nobody but the market channel knows it

    @property
    def kind(self) -> str:
        """Return which exchange contract its orders are signed for."""
        return "v3" if self.version == "v2" else "neg_risk" if self.neg_risk else "standard"

    @property
    def question(self) -> str:
        """Return its question id."""
        return "0x" + hashlib.sha256(self.condition.encode()).hexdigest()

    @property
    def ended(self) -> bool:
        """Return whether trading is over for good."""
        return self.stage != "open"

    def other(self, token: str) -> str:
        """Return the complement token."""
        return self.tokens[1] if token == self.tokens[0] else self.tokens[0]


@dataclass(slots=True, eq=False)
class Account:
    """A wallet at the exchange. `owner` is the key that signs for it."""

    wallet: str
    owner: str = ""
    signature_type: int = 0
    name: str = ""
    collateral: int = 0
    shares: dict[str, int] = field(default_factory=dict)
    #: Matched but not on the chain yet: what is on its way out, by asset ("" is collateral).
    leaving: dict[str, int] = field(default_factory=dict)
    allowed: bool = True
    banned: bool = False
    closed_only: bool = False

    def balance(self, asset: str) -> int:
        """Return the settled balance of a token, or of collateral for ''."""
        return self.shares.get(asset, 0) if asset else self.collateral

    def move(self, asset: str, change: int) -> None:
        """Change a settled balance."""
        if asset:
            self.shares[asset] = self.shares.get(asset, 0) + change
        else:
            self.collateral += change


@dataclass(slots=True, eq=False)
class SimOrder:
    """An order the exchange knows. `left` is shares, or micro-USDC for a market BUY."""

    id: str
    account: Account
    owner_key: str
    market: SimMarket
    token: str
    side: str
    price: int  #: limit, floored to millionths; exact crossing uses making and taking
    making: int
    taking: int
    kind: str
    size: int
    number: int
    created_s: int
    expiration_s: int = 0
    post_only: bool = False
    matched: int = 0
    spent: int = 0
    status: str = "LIVE"
    reason: str = ""  #: what a status says after its underscore, where it says more
    trades: list[str] = field(default_factory=list)
    hidden_until_us: int = 0  #: nothing shows it before

    @property
    def left(self) -> int:
        """Return shares that are still to be matched (limit orders)."""
        return self.size - self.matched

    @property
    def bid(self) -> bool:
        """Return whether it stands on the bid side of the merged book (in terms of token 0)."""
        return (self.side == "BUY") == (self.token == self.market.tokens[0])

    @property
    def yes_price(self) -> int:
        """Return its price in terms of token 0."""
        return self.price if self.token == self.market.tokens[0] else MICRO - self.price


@dataclass(slots=True)
class Piece:
    """One resting order's part of a trade, and what each side moves."""

    order: SimOrder
    shares: int
    maker_usdc: int
    taker_usdc: int
    mint: bool  #: the resting order is for the other token: a pair is made or given back


@dataclass(slots=True, eq=False)
class SimTrade:
    """One match: a taker order against resting orders, settling on the chain."""

    id: str
    taker: SimOrder
    pieces: list[Piece]
    fee: int
    tx: str
    at_us: int
    status: str = "MATCHED"
    updated_us: int = 0
    hidden_until_us: int = 0  #: nothing shows it before
    bucket: int = 0  #: which part of one match it is, where that is settled in several
    way: list[str] = field(default_factory=list)  #: what happens to it next, instead of being mined

    @property
    def signed(self) -> bool:
        """Return whether an order that came with a signature takes part."""
        return any(o.owner_key for o in (self.taker, *(p.order for p in self.pieces)))

    @property
    def shares(self) -> int:
        """Return the shares the taker traded."""
        return sum(piece.shares for piece in self.pieces)

    @property
    def usdc(self) -> int:
        """Return what the taker paid or got, without the fee."""
        return sum(piece.taker_usdc for piece in self.pieces)


def new_market(rng: random.Random, title: str, *, version: str = "v1", **facts: Any) -> SimMarket:
    """Return a market with token ids of the right layout for its version."""
    condition = "0x" + rng.randbytes(32).hex()
    tokens = (
        str(rng.getrandbits(256) | 1 << 200 | 1 << 60),
        str(rng.getrandbits(256) | 1 << 200 | 1 << 60),
    )
    if version == "v2":
        # module 8 bits | hash 128 | arity 16 | reserved 64 | chain 16 | condition 16 | outcome 8
        head = 1 << 248 | rng.getrandbits(128) << 120 | 2 << 104
        tokens = (str(head), str(head | 1))
        condition = "0x" + head.to_bytes(32, "big")[:31].hex() + "00"
    slug = "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
    return SimMarket(
        condition,
        tokens,
        facts.pop("outcomes", ("Yes", "No")),
        title,
        slug,
        version=version,
        **facts,
    )
