"""The exchange: validates an order like the real one, matches it, settles it later.

`place` checks in the documented order and answers the documented texts. Everything that
happens is announced to `listeners` as (kind, data); time comes in from outside.
"""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bot.sim import crypto
from bot.sim.book import MergedBook, fee
from bot.sim.rules import Refused, complete, tick_text, typed
from bot.sim.world import CHAIN_ID, CONTRACTS, DECIMALS, MICRO, Account, Piece, Row, SimMarket, SimOrder, SimTrade, text

Listener = Callable[[str, Any], None]
_NO_FAK = "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
_NO_FOK = "order couldn't be fully filled. FOK orders are fully filled or killed."


@dataclass(slots=True)
class Timing:
    """How long things take after a match, in microseconds."""

    mined: int = 2 * MICRO
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
    outside: list[str] = field(default_factory=list)  #: ids of signed orders that reached the book, in order
    lookup_lag_us: int = 0  #: orders and trades show this late in lookups
    clock_us: int = 0  #: its clock is ahead of the machine's by this much
    delay_us: int = 0  #: marketable orders are held this long, as in sports markets
    unmatched: bool = False  #: and are not matched then
    settlements: list[str] = field(default_factory=list)  #: how the next trades of signed orders settle
    held: list[tuple[int, bool, SimOrder]] = field(default_factory=list)
    duplicates: int = 0  #: repeated posts of a signed order that were refused
    _due: list[tuple[int, str, str]] = field(default_factory=list)

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
        """Register a wallet."""
        self.accounts[account.wallet.lower()] = account
        return account

    def place(self, body: dict[str, Any], *, api_key: str, api_owner: str) -> dict[str, Any]:
        """Validate, match and answer one POST /order body; raises Refused."""
        fields = typed(body)
        account, market, digest = self._identify(fields, body, api_key, api_owner)
        if digest in self.indexed:
            self.duplicates += 1
            raise Refused(f"order {digest} is invalid. Duplicated.", order_id=digest)
        order = self._build(fields, body, account, market, digest, api_key)
        self._check_amounts(order, fields)
        pieces = self.books[market.condition].match(order)
        self._check_rules(order, pieces)
        self._check_funds(order, pieces)
        self.indexed.add(digest)
        self.outside.append(digest)
        if order.kind == "FOK" and not complete(order, pieces):
            raise Refused(_NO_FOK, order_id=digest)
        if order.kind == "FAK" and not pieces:
            raise Refused(_NO_FAK, order_id=digest)
        if self.delay_us and order.kind in ("FAK", "FOK"):
            return self._hold_back(order)
        return self._answer(order, self.execute(order, pieces))

    def _hold_back(self, order: SimOrder) -> dict[str, Any]:
        order.status = "DELAYED"
        self.orders[order.id] = order
        self.held.append((self.now_us + self.delay_us, not self.unmatched, order))
        return {**self._answer(order, None), "status": "delayed"}

    def _identify(
        self, fields: dict[str, Any], body: dict[str, Any], api_key: str, api_owner: str
    ) -> tuple[Account, SimMarket, str]:
        if body.get("owner") != api_key:
            raise Refused("the order owner has to be the owner of the API KEY")
        account = self.accounts.get(fields["maker"].lower())
        kind = fields["signatureType"]
        key_address = account.owner if account else ""
        signer = fields["maker"] if kind == 3 else api_owner
        if fields["signer"].lower() != signer.lower() or (kind == 3 and key_address.lower() != api_owner.lower()):
            raise Refused("the order signer address has to be the address of the API KEY")
        if account is None or account.signature_type != kind or key_address.lower() != api_owner.lower():
            raise Refused("maker address not allowed, please use the deposit wallet flow")
        if account.banned:
            raise Refused(f"'{account.wallet}' address banned")
        market = self.by_token.get(fields["tokenId"])
        if market is None:
            raise Refused("market not found", 404)
        version = "3" if market.version == "v2" else "2"
        domain = crypto.order_domain(version, CHAIN_ID, CONTRACTS[market.kind])
        if crypto.order_signer(fields, domain, CHAIN_ID) != account.owner:
            old = crypto.order_domain("1", CHAIN_ID, CONTRACTS[market.kind])
            wrong = "order_version_mismatch" if crypto.order_signer(fields, old, CHAIN_ID) == account.owner else None
            raise Refused(wrong or "invalid signature")
        return account, market, crypto.order_id(domain, crypto.order_struct(fields))

    def _build(
        self, fields: dict[str, Any], body: dict[str, Any], account: Account, market: SimMarket, digest: str, key: str
    ) -> SimOrder:
        making, taking = int(fields["makerAmount"]), int(fields["takerAmount"])
        if making <= 0 or taking <= 0:
            raise Refused("Invalid order payload")
        buy = fields["side"] == "BUY"
        usdc, shares = (making, taking) if buy else (taking, making)
        return SimOrder(
            id=digest, account=account, owner_key=key, market=market, token=fields["tokenId"], side=fields["side"],
            price=min(usdc * MICRO // shares, MICRO), making=making, taking=taking, kind=body["orderType"], size=shares,
            number=len(self.orders), created_s=self.now_us // MICRO, expiration_s=int(fields["expiration"]),
            post_only=body.get("postOnly") is True,
        )  # fmt: skip

    def _check_amounts(self, order: SimOrder, fields: dict[str, Any]) -> None:
        market = order.market
        tick, (_, size_places, amount_places) = market.tick, DECIMALS[market.tick]
        if not market.accepting:
            raise Refused("the market is not yet ready to process new orders")
        resting = order.kind in ("GTC", "GTD")
        usdc, shares = (order.making, order.taking) if order.side == "BUY" else (order.taking, order.making)
        if resting and (usdc * MICRO % shares or (usdc * MICRO // shares) % tick):
            raise Refused(tick_text(order, usdc, shares))
        if not tick * shares <= usdc * MICRO <= (MICRO - tick) * shares and (
            resting or usdc * MICRO // shares >= MICRO
        ):
            raise Refused(tick_text(order, usdc, shares))
        if not resting and usdc * MICRO // shares < tick:
            raise Refused(tick_text(order, usdc, shares))
        maker_places, taker_places = (2, amount_places) if not resting else (amount_places, size_places)
        if resting and order.side == "SELL":
            maker_places, taker_places = size_places, amount_places
        if order.making % 10 ** (6 - maker_places) or order.taking % 10 ** (6 - taker_places):
            verb = order.side.lower()
            kind = f"the {verb} orders" if resting else f"the market {verb} orders"
            raise Refused(
                f"invalid amounts, {kind} maker amount supports a max accuracy of {maker_places} decimals,"
                f" taker amount a max of {taker_places} decimals"
            )
        if order.kind == "GTD" and order.expiration_s < self.now_us // MICRO + 60:
            raise Refused("invalid expiration")
        if fields["expiration"] != "0" and order.kind != "GTD":
            raise Refused("invalid expiration")

    def _check_rules(self, order: SimOrder, pieces: list[Piece]) -> None:
        resting = order.kind in ("GTC", "GTD")
        if order.post_only and (pieces or not resting):
            raise Refused("invalid post-only order: order crosses book")
        if resting and order.size < order.market.min_shares:
            raise Refused(
                f"order {order.id} is invalid. Size ({text(order.size)}) lower than the minimum:"
                f" {text(order.market.min_shares)}"
            )
        usdc = order.making if order.side == "BUY" else order.taking
        if order.side == "BUY" and (pieces or not resting) and usdc < MICRO:
            raise Refused(f"invalid amount for a marketable BUY order (${text(usdc)}), min size: $1")

    def _check_funds(self, order: SimOrder, pieces: list[Piece]) -> None:
        if not order.account.allowed:
            raise Refused("not enough balance / allowance: the allowance is not enough -> spender")
        asset = "" if order.side == "BUY" else order.token
        needed = order.making + (fee(order.market, pieces) if order.side == "BUY" else 0)
        balance = order.account.balance(asset)
        active, matched = self.reserved(order.account, asset), order.account.leaving.get(asset, 0)
        if needed > balance - active - matched:
            parts = f"balance: {balance}, sum of active orders: {active}, sum of matched orders: {matched}"
            raise Refused(
                f"not enough balance / allowance: the balance is not enough -> {parts}, order amount: {needed}"
            )

    def reserved(self, account: Account, asset: str) -> int:
        """Return what an account's resting orders hold back of an asset."""
        resting = (o for book in self.books.values() for o in book.orders.values() if o.account is account)
        if asset:
            return sum(o.left for o in resting if o.side == "SELL" and o.token == asset)
        return sum(o.left * o.price // MICRO for o in resting if o.side == "BUY")

    def inside(
        self, account: Account, token: str, side: str, price: int, size: int, kind: str, owner_key: str = ""
    ) -> list[SimTrade]:
        """Place an order of an actor of the simulation, which needs no signature.

        For a market BUY `size` is micro-USDC, else micro-shares. Returns the trades it made.
        """
        market = self.by_token[token]
        buy_market = side == "BUY" and kind == "FAK"
        shares = size * MICRO // price if buy_market else size
        making, taking = (size if buy_market else shares * price // MICRO, shares)
        if side == "SELL":
            making, taking = shares, shares * price // MICRO
        order = SimOrder(
            id="0x" + self.rng.randbytes(32).hex(), account=account, owner_key=owner_key, market=market, token=token,
            side=side, price=price, making=making, taking=taking, kind=kind, size=shares, number=len(self.orders),
            created_s=self.now_us // MICRO,
        )  # fmt: skip
        trade = self.execute(order, self.books[market.condition].match(order))
        return [trade] if trade else []

    def execute(self, order: SimOrder, pieces: list[Piece]) -> SimTrade | None:
        """Book what matched, rest what may rest, announce all of it."""
        self.orders[order.id] = order
        book = self.books[order.market.condition]
        trade = self._trade(order, pieces) if pieces else None
        rests = order.kind in ("GTC", "GTD") and order.left > 0
        if rests:
            book.orders[order.id] = order
        elif trade is not None:
            order.status = "MATCHED"
        else:
            order.status = "CANCELED"
        self._tell("order", (order, "PLACEMENT"))
        self._tell("book", order.market)
        return trade

    def _trade(self, taker: SimOrder, pieces: list[Piece]) -> SimTrade:
        trade = SimTrade(
            id=str(uuid.UUID(bytes=self.rng.randbytes(16), version=4)), taker=taker, pieces=pieces,
            fee=fee(taker.market, pieces), tx="0x" + self.rng.randbytes(32).hex(), at_us=self.now_us + self.clock_us,
            updated_us=self.now_us,
        )  # fmt: skip
        self.trades[trade.id] = trade
        for piece in pieces:
            maker = piece.order
            maker.matched += piece.shares
            maker.trades.append(trade.id)
            if maker.left <= 0:
                maker.status = "MATCHED"
                self.books[maker.market.condition].orders.pop(maker.id, None)
            self._tell("order", (maker, "UPDATE"))
            maker.market.last_price = maker.yes_price
        taker.matched += trade.shares
        taker.spent += trade.usdc if taker.side == "BUY" else 0
        taker.trades.append(trade.id)
        self._hold(trade, 1)
        self._due.append((self.now_us + self.timing.mined, trade.id, "MINED"))
        self._tell("trade", trade)
        self._tell("rows", rows_of(trade))
        return trade

    def cancel(self, order_id: str, api_key: str, status: str = "CANCELED") -> str | None:
        """Cancel a resting order; return None, or why it cannot be cancelled."""
        order = self.orders.get(order_id)
        if order is None or order.owner_key != api_key:
            return "order not found"
        book = self.books[order.market.condition]
        if book.orders.pop(order_id, None) is None:
            return "order can't be found - already canceled or matched"
        order.status = status
        self._tell("order", (order, "CANCELLATION"))
        self._tell("book", order.market)
        return None

    def tick(self, now_us: int) -> None:
        """Move time on: settle what is due, expire GTD orders."""
        self.now_us = now_us
        due = [d for d in self._due if d[0] <= now_us]
        self._due = [d for d in self._due if d[0] > now_us]
        for _, trade_id, status in due:
            self._settle(self.trades[trade_id], status)
        ripe = [h for h in self.held if h[0] <= now_us]
        self.held = [h for h in self.held if h[0] > now_us]
        for _, matches, order in ripe:
            self.execute(order, self.books[order.market.condition].match(order) if matches else [])
        for book in self.books.values():
            for order in list(book.orders.values()):
                if order.kind == "GTD" and order.expiration_s - 60 <= now_us // MICRO:
                    self.cancel(order.id, order.owner_key, "CANCELED_EXPIRED_ORDER")

    def _settle(self, trade: SimTrade, status: str) -> None:
        signed = trade.taker.owner_key != ""
        if status == "MINED" and trade.status == "MATCHED" and signed:
            draw = self.rng.random()
            if self.settlements:
                status = self.settlements.pop(0)
            elif draw < self.timing.failed_share:
                status = "FAILED"
            elif draw < self.timing.failed_share + self.timing.retried_share:
                status = "RETRYING"
        trade.status, trade.updated_us = status, self.now_us
        if status == "RETRYING":
            trade.tx = "0x" + self.rng.randbytes(32).hex()
            self._due.append((self.now_us + self.timing.mined, trade.id, "MINED"))
        elif status == "MINED":
            self._hold(trade, -1)
            self._transfer(trade)
            self._due.append((self.now_us + self.timing.confirmed, trade.id, "CONFIRMED"))
        elif status == "FAILED":
            self._hold(trade, -1)
        self._tell("trade", trade)

    def _hold(self, trade: SimTrade, sign: int) -> None:
        for account, asset, amount in _payments(trade):
            account.leaving[asset] = account.leaving.get(asset, 0) + sign * amount

    def _transfer(self, trade: SimTrade) -> None:
        for account, asset, amount in _payments(trade):
            account.move(asset, -amount)
        taker = trade.taker
        for piece in trade.pieces:
            maker = piece.order
            maker.account.move(*((maker.token, piece.shares) if maker.side == "BUY" else ("", piece.maker_usdc)))
        taker.account.move(*((taker.token, trade.shares) if taker.side == "BUY" else ("", trade.usdc - trade.fee)))

    def _answer(self, order: SimOrder, trade: SimTrade | None) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "success": True, "errorMsg": "", "orderID": order.id, "status": "live", "makingAmount": "",
            "takingAmount": "",
        }  # fmt: skip
        if trade is not None:
            making, taking = (trade.usdc, trade.shares) if order.side == "BUY" else (trade.shares, trade.usdc)
            answer |= {
                "status": "matched", "makingAmount": text(making), "takingAmount": text(taking), "tradeIDs": [trade.id],
            }  # fmt: skip
        return answer

    def _tell(self, kind: str, data: Any) -> None:
        for listener in self.listeners:
            listener(kind, data)


def _payments(trade: SimTrade) -> list[tuple[Account, str, int]]:
    taker = trade.taker
    paid = [(taker.account, "", trade.usdc + trade.fee)] if taker.side == "BUY" else [
        (taker.account, taker.token, trade.shares)
    ]  # fmt: skip
    for piece in trade.pieces:
        maker = piece.order
        paid.append(
            (maker.account, "", piece.maker_usdc) if maker.side == "BUY" else (maker.account, maker.token, piece.shares)
        )
    return paid


def rows_of(trade: SimTrade) -> list[Row]:
    """Return the public rows of a trade: the taker's first, then one per resting order."""
    taker, at_s = trade.taker, trade.at_us // MICRO
    price = trade.usdc * MICRO // trade.shares
    found = [
        Row(trade.tx, taker.account.wallet, taker.token, taker.side, trade.shares, trade.usdc, price, taker.market,
            taker.account.name, at_s)
    ]  # fmt: skip
    for piece in trade.pieces:
        maker = piece.order
        found.append(
            Row(trade.tx, maker.account.wallet, maker.token, maker.side, piece.shares, piece.maker_usdc, maker.price,
                maker.market, maker.account.name, at_s)
        )  # fmt: skip
    return found
