"""The exchange: takes an order or refuses it, matches it, and settles it later.

Everything that happens is announced to `listeners` as (kind, data); time comes in from outside.
"""

import random
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bot.sim import admission, cancels
from bot.sim.book import MergedBook, fee, third
from bot.sim.chain import Chain
from bot.sim.entities import MICRO, Account, Piece, SimMarket, SimOrder, SimTrade, text
from bot.sim.quirks import Quirks
from bot.sim.rules import NO_FAK, NO_FOK, POST_ONLY, Refused, complete, typed
from bot.sim.settlement import Settlement

Listener = Callable[[str, Any], None]
MOVES_KEPT = 100_000  #: changes of holdings that a late index can still be behind by


@dataclass(slots=True)
class Timing:
    """How long things take after a match, in microseconds."""

    block: int = 2 * MICRO  #: from one block to the next
    mined: int = 2 * MICRO  #: in the first block after that
    confirmed: int = 5 * MICRO
    failed_share: float = 0.0  #: part of outside trades that fail after MATCHED
    retried_share: float = 0.0


@dataclass
class Exchange:
    """State and rules. `now_us` is set by whoever drives it."""

    rng: random.Random
    timing: Timing = field(default_factory=Timing)
    now_us: int = 0
    markets: dict[str, SimMarket] = field(default_factory=dict)
    by_token: dict[str, SimMarket] = field(default_factory=dict)
    books: dict[str, MergedBook] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    orders: dict[str, SimOrder] = field(default_factory=dict)
    indexed: set[str] = field(default_factory=set)
    trades: dict[str, SimTrade] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)  #: ids of signed orders that were taken
    lookup_lag_us: int = 0  #: orders and trades show this late in lookups
    clock_us: int = 0  #: its clock is ahead of the machine's by this much
    delay_us: int = 0  #: marketable orders are held this long, as in sports markets
    unmatched: bool = False  #: and are not matched then
    held: list[tuple[int, bool, SimOrder]] = field(default_factory=list)
    coming: list[tuple[int, SimOrder]] = field(default_factory=list)  #: fills after their cancel
    duplicates: int = 0  #: repeated posts of a signed order that were refused
    quirks: Quirks = field(default_factory=Quirks)
    grit: bool = False  #: a mint or merge may cost a millionth more or less per maker
    moves: deque[tuple[int, Account, str, int]] = field(
        default_factory=lambda: deque(maxlen=MOVES_KEPT)
    )
    settlement: Settlement = field(init=False)
    chain: Chain = field(init=False)

    def __post_init__(self) -> None:
        self.settlement = Settlement(self)
        # Its own numbers: a story is told by the exchange's alone.
        own = random.Random("chain")
        self.chain = Chain(own, self.timing.block, self.timing.confirmed, self.now_us)

    @property
    def clock_s(self) -> int:
        """Return the exchange's own time in seconds."""
        return (self.now_us + self.clock_us) // MICRO

    def add_market(self, market: SimMarket) -> SimMarket:
        """List a market."""
        self.markets[market.condition] = market
        self.books[market.condition] = MergedBook(market)
        for token in market.tokens:
            self.by_token[token] = market
        return market

    def add_account(self, account: Account) -> Account:
        """Register a wallet; one that is known stays as it is."""
        return self.accounts.setdefault(account.wallet.lower(), account)

    def hash(self) -> str:
        """Return a fresh transaction hash."""
        return "0x" + self.rng.randbytes(32).hex()

    def move(self, account: Account, asset: str, change: int) -> None:
        """Change a settled balance; the Data API may hear of it late."""
        account.move(asset, change)
        self.moves.append((self.now_us, account, asset, change))

    def place(self, body: dict[str, Any], *, api_key: str, api_owner: str) -> dict[str, Any]:
        """Validate, match and answer one POST /order body; raises Refused."""
        fields = typed(body)
        account, market, digest = admission.identify(self, body, fields, api_key, api_owner)
        if digest in self.indexed:
            self.duplicates += 1
            raise Refused(f"order {digest} is invalid. Duplicated.", order_id=digest)
        order = self._build(fields, body, account, market, digest, api_key)
        admission.check_amounts(self, order, fields["expiration"])
        pieces = self.books[market.condition].match(order)
        if pieces and (order.kind, order.side) == ("FAK", "BUY") and self.quirks.take("snatched"):
            pieces = [third(pieces[0])]
        admission.check_rules(self, order, pieces)
        admission.check_funds(self, order, pieces)
        self.indexed.add(digest)
        self.outside.append(digest)
        if order.kind == "FOK" and not complete(order, pieces):
            raise Refused(NO_FOK, order_id=digest)
        if order.kind == "FAK" and not pieces:
            raise Refused(NO_FAK, order_id=digest)
        if self.delay_us and pieces:
            return self._hold_back(order)
        self._conceal(order)
        return self._answer(order, self.execute(order, pieces))

    def _conceal(self, order: SimOrder) -> None:
        """Execute an order that will be answered as killed: raises the refusal that is a lie."""
        quirk = self.quirks.take("killed_late") if order.kind in ("FAK", "FOK") else None
        if quirk is not None:
            order.hidden_until_us = self.now_us + quirk.ms * 1000
            self.execute(order, self.books[order.market.condition].match(order))
            raise Refused(NO_FAK if order.kind == "FAK" else NO_FOK, order_id=order.id)

    def _hold_back(self, order: SimOrder) -> dict[str, Any]:
        order.status = "DELAYED"
        self.orders[order.id] = order
        self.held.append((self.now_us + self.delay_us, not self.unmatched, order))
        return {**self._answer(order, []), "status": "delayed"}

    def _build(
        self,
        fields: dict[str, Any],
        body: dict[str, Any],
        account: Account,
        market: SimMarket,
        digest: str,
        key: str,
    ) -> SimOrder:
        making, taking = int(fields["makerAmount"]), int(fields["takerAmount"])
        if making <= 0 or taking <= 0:
            raise Refused("Invalid order payload")
        buy = fields["side"] == "BUY"
        usdc, shares = (making, taking) if buy else (taking, making)
        return SimOrder(
            id=digest,
            account=account,
            owner_key=key,
            market=market,
            token=fields["tokenId"],
            side=fields["side"],
            price=min(usdc * MICRO // shares, MICRO),
            making=making,
            taking=taking,
            kind=body["orderType"],
            size=shares,
            number=len(self.orders),
            created_s=self.now_us // MICRO,
            expiration_s=int(fields["expiration"]),
            post_only=body.get("postOnly") is True,
        )

    def inside(
        self,
        account: Account,
        token: str,
        side: str,
        price: int,
        size: int,
        kind: str,
        owner_key: str = "",
        *,
        split: bool = False,
    ) -> list[SimTrade]:
        """Place an order of an actor of the simulation, which needs no signature.

        For a market BUY `size` is micro-USDC, else micro-shares. Returns the trades it made: none
        in a market that has ended.
        """
        market = self.by_token[token]
        if market.ended:
            return []
        buy_market = side == "BUY" and kind == "FAK"
        shares = size * MICRO // price if buy_market else size
        making, taking = (size if buy_market else shares * price // MICRO, shares)
        if side == "SELL":
            making, taking = shares, shares * price // MICRO
        order = SimOrder(
            id=self.hash(),
            account=account,
            owner_key=owner_key,
            market=market,
            token=token,
            side=side,
            price=price,
            making=making,
            taking=taking,
            kind=kind,
            size=shares,
            number=len(self.orders),
            created_s=self.now_us // MICRO,
        )
        return self.execute(order, self.books[market.condition].match(order), split=split)

    def execute(
        self, order: SimOrder, pieces: list[Piece], *, split: bool = False
    ) -> list[SimTrade]:
        """Book what matched, rest what may rest, announce all of it; return the trades.

        `split`: the match is settled in one transaction for each resting order.
        """
        self.orders[order.id] = order
        book = self.books[order.market.condition]
        if len(pieces) > 1 and order.owner_key and self.quirks.take("split"):
            split = True
        parts = [[piece] for piece in pieces] if split else [pieces] if pieces else []
        trades = [self._trade(order, part, bucket) for bucket, part in enumerate(parts)]
        rests = order.kind in ("GTC", "GTD") and order.left > 0
        if rests:
            order.status = "LIVE"
            book.orders[order.id] = order
        else:
            order.status = "MATCHED" if trades else "CANCELED"
        if not order.hidden_until_us:
            self.tell("order", (order, "PLACEMENT"))
        self.tell("book", order.market)
        return trades

    def _trade(self, taker: SimOrder, pieces: list[Piece], bucket: int) -> SimTrade:
        if self.grit:
            self._roughen(taker, pieces)
        trade = SimTrade(
            id=str(uuid.UUID(bytes=self.rng.randbytes(16), version=4)),
            taker=taker,
            pieces=pieces,
            fee=fee(taker.market, pieces),
            tx=self.hash(),
            at_us=self.now_us + self.clock_us,
            updated_us=self.now_us,
            bucket=bucket,
        )
        self.trades[trade.id] = trade
        for piece in pieces:
            self._fill_maker(piece, trade.id)
        taker.matched += trade.shares
        taker.spent += trade.usdc if taker.side == "BUY" else 0
        taker.trades.append(trade.id)
        late = self.quirks.take("trade_late") if trade.signed else None
        shown_us = self.now_us + late.ms * 1000 if late else max(taker.hidden_until_us, self.now_us)
        trade.hidden_until_us = shown_us
        self.settlement.begin(trade, shown_us)
        if shown_us <= self.now_us:
            self.show(trade)
        return trade

    def _fill_maker(self, piece: Piece, trade_id: str) -> None:
        maker = piece.order
        maker.matched += piece.shares
        maker.trades.append(trade_id)
        if maker.left <= 0:
            maker.status = "MATCHED"
            self.books[maker.market.condition].orders.pop(maker.id, None)
        self.tell("order", (maker, "UPDATE"))
        maker.market.last_price = maker.yes_price

    def _roughen(self, taker: SimOrder, pieces: list[Piece]) -> None:
        # The operator passes amounts for each order of a mint or merge; nobody knows its rounding.
        for piece in pieces:
            changed = piece.taker_usdc + self.rng.choice((-1, 0, 1)) * piece.mint
            buys = taker.side == "BUY"
            bound = piece.shares * (taker.making if buys else taker.taking)
            paid = changed * (taker.taking if buys else taker.making)
            if changed > 0 and (paid <= bound if buys else paid >= bound):
                piece.taker_usdc = changed

    def show(self, trade: SimTrade) -> None:
        """Announce a trade: at its match, or later where something is being hidden."""
        if trade.taker.hidden_until_us:
            self.tell("order", (trade.taker, "PLACEMENT"))
        self.tell("trade", trade)
        self.tell("rows", trade)

    def cancel(self, order_id: str, api_key: str, status: str = "CANCELED") -> str | None:
        """Cancel a resting order; return None, or why it cannot be cancelled."""
        return cancels.cancel(self, order_id, api_key, status)

    def tick(self, now_us: int) -> None:
        """Move time on: settle what is due, end delays, expire GTD orders."""
        self.now_us = now_us
        seals = self.chain.due(now_us)
        self.settlement.tick(seals=seals)
        if seals:
            self.chain.seal(now_us)
        ripe = [h for h in self.held if h[0] <= now_us]
        self.held = [h for h in self.held if h[0] > now_us]
        for _, matches, order in ripe:
            self._end_delay(order, matches=matches)
        late = [order for at, order in self.coming if at <= now_us]
        self.coming = [c for c in self.coming if c[0] > now_us]
        for order in late:
            cancels.fill(self, order)
        for book in self.books.values():
            for order in list(book.orders.values()):
                if order.kind == "GTD" and order.expiration_s - 60 <= self.clock_s:
                    self.cancel(order.id, order.owner_key, "CANCELED_EXPIRED_ORDER")

    def _end_delay(self, order: SimOrder, *, matches: bool) -> None:
        pieces = self.books[order.market.condition].match(order) if matches else []
        if order.market.ended:
            order.status = cancels.OVER
        elif order.post_only and pieces:
            order.status, order.reason = "UNMATCHED", POST_ONLY
        elif order.kind == "FOK" and not complete(order, pieces):
            order.status, order.reason = "CANCELED", NO_FOK
        else:
            self.execute(order, pieces)
            return
        self.tell("order", (order, "UPDATE"))

    def _answer(self, order: SimOrder, trades: list[SimTrade]) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "success": True, "errorMsg": "", "orderID": order.id, "status": "live",
            "makingAmount": "", "takingAmount": "",
        }  # fmt: skip
        if trades:
            usdc, shares = sum(t.usdc for t in trades), sum(t.shares for t in trades)
            if self.quirks.take("matched_more"):
                usdc, shares = usdc + 1, shares + 1
            making, taking = (usdc, shares) if order.side == "BUY" else (shares, usdc)
            answer |= {
                "status": "matched", "makingAmount": text(making), "takingAmount": text(taking),
                "tradeIDs": [trade.id for trade in trades],
            }  # fmt: skip
        return answer

    def tell(self, kind: str, data: Any) -> None:
        """Announce something to whoever listens."""
        for listener in self.listeners:
            listener(kind, data)
