"""Whether the exchange takes an order, checked in the documented sequence, in its own words."""

from typing import TYPE_CHECKING, Any

from bot.sim import crypto, wallets
from bot.sim.book import fee
from bot.sim.entities import (
    CHAIN_ID,
    CONTRACTS,
    DECIMALS,
    MICRO,
    Account,
    Piece,
    SimMarket,
    SimOrder,
    text,
)
from bot.sim.rules import POST_ONLY, Refused, tick_text

if TYPE_CHECKING:
    from bot.sim.exchange import Exchange

#: A GTD order must outlive this; the book drops it a minute before its expiration.
SHORTEST_GTD_S = 180
_POOR = "not enough balance / allowance"


def identify(
    exchange: "Exchange", body: dict[str, Any], fields: dict[str, Any], api_key: str, api_owner: str
) -> tuple[Account, SimMarket, str]:
    """Return whose order it is, its market and its id; raises Refused."""
    if body.get("owner") != api_key:
        raise Refused("the order owner has to be the owner of the API KEY")
    account = _account(exchange, fields, api_owner)
    if account.banned:
        raise Refused(f"'{account.wallet}' address banned")
    if account.closed_only and fields["side"] == "BUY":
        raise Refused(f"'{account.wallet}' address in closed only mode")
    market = exchange.by_token.get(fields["tokenId"])
    if market is None:
        raise Refused("market not found", 404)
    version = "3" if market.version == "v2" else "2"
    domain = crypto.order_domain(version, CHAIN_ID, CONTRACTS[market.kind])
    if crypto.order_signer(fields, domain, CHAIN_ID) != account.owner:
        old = crypto.order_domain("1", CHAIN_ID, CONTRACTS[market.kind])
        outdated = crypto.order_signer(fields, old, CHAIN_ID) == account.owner
        raise Refused("order_version_mismatch" if outdated else "invalid signature")
    return account, market, crypto.order_id(domain, crypto.order_struct(fields))


def _account(exchange: "Exchange", fields: dict[str, Any], api_owner: str) -> Account:
    account = exchange.accounts.get(fields["maker"].lower())
    kind, owner = fields["signatureType"], api_owner.lower()
    known = account.owner.lower() if account else ""
    signer = fields["maker"] if kind == 3 else api_owner
    if fields["signer"].lower() != signer.lower() or (kind == 3 and known != owner):
        raise Refused("the order signer address has to be the address of the API KEY")
    if kind in (1, 2) and fields["maker"].lower() != wallets.derived(api_owner, kind).lower():
        raise Refused("invalid signature")  # the contract derives the wallet and says so
    if account is None or account.signature_type != kind or known != owner:
        raise Refused("maker address not allowed, please use the deposit wallet flow")
    return account


def check_amounts(exchange: "Exchange", order: SimOrder, expiration: str) -> None:
    """Refuse a price off the tick, too many decimals, a market or a time that does not fit."""
    if not order.market.accepting:
        raise Refused("the market is not yet ready to process new orders")
    resting = order.kind in ("GTC", "GTD")
    _check_price(order, resting=resting)
    _check_decimals(order, resting=resting)
    if order.kind == "GTD" and order.expiration_s < exchange.clock_s + SHORTEST_GTD_S:
        raise Refused("invalid expiration")
    if expiration != "0" and order.kind != "GTD":
        raise Refused("invalid expiration")


def _check_price(order: SimOrder, *, resting: bool) -> None:
    tick = order.market.tick
    bought = (order.making, order.taking)
    usdc, shares = bought if order.side == "BUY" else bought[::-1]
    price = usdc * MICRO // shares
    if resting and (usdc * MICRO % shares or price % tick):
        raise Refused(tick_text(order, usdc, shares))
    outside = not tick * shares <= usdc * MICRO <= (MICRO - tick) * shares
    if (outside and (resting or price >= MICRO)) or (not resting and price < tick):
        raise Refused(tick_text(order, usdc, shares))


def _check_decimals(order: SimOrder, *, resting: bool) -> None:
    _, size_places, amount_places = DECIMALS[order.market.tick]
    maker, taker = (amount_places, size_places) if resting else (2, amount_places)
    if resting and order.side == "SELL":
        maker, taker = size_places, amount_places
    if order.making % 10 ** (6 - maker) or order.taking % 10 ** (6 - taker):
        verb = order.side.lower()
        kind = f"the {verb} orders" if resting else f"the market {verb} orders"
        raise Refused(
            f"invalid amounts, {kind} maker amount supports a max accuracy of {maker} decimals,"
            f" taker amount a max of {taker} decimals"
        )


def check_rules(exchange: "Exchange", order: SimOrder, pieces: list[Piece]) -> None:
    """Refuse a post-only order that crosses, and what is too small.

    In a market with a taker delay the crossing shows only when the delay is over.
    """
    resting = order.kind in ("GTC", "GTD")
    if order.post_only and (not resting or (pieces and not exchange.delay_us)):
        raise Refused(POST_ONLY)
    if resting and order.size < order.market.min_shares:
        raise Refused(
            f"order {order.id} is invalid. Size ({text(order.size)}) lower than the minimum:"
            f" {text(order.market.min_shares)}"
        )
    if order.side == "BUY" and (pieces or not resting) and order.making < MICRO:
        amount = text(order.making)
        raise Refused(f"invalid amount for a marketable BUY order (${amount}), min size: $1")


def check_funds(exchange: "Exchange", order: SimOrder, pieces: list[Piece]) -> None:
    """Refuse an order for which the wallet has too little that is free."""
    if not order.account.allowed:
        raise Refused(f"{_POOR}: the allowance is not enough -> spender")
    asset = "" if order.side == "BUY" else order.token
    charge = fee(order.market, pieces) if order.side == "BUY" else 0
    needed = order.making + charge
    balance = order.account.balance(asset)
    active, matched = reserved(exchange, order.account, asset), order.account.leaving.get(asset, 0)
    if needed > balance - active - matched:
        raise Refused(
            f"{_POOR}: the balance is not enough -> balance: {balance}, sum of active orders:"
            f" {active}, sum of matched orders: {matched}, order amount: {needed}"
        )


def reserved(exchange: "Exchange", account: Account, asset: str) -> int:
    """Return what an account's resting orders hold back of an asset."""
    books = exchange.books.values()
    resting = (o for book in books for o in book.orders.values() if o.account is account)
    if asset:
        return sum(o.left for o in resting if o.side == "SELL" and o.token == asset)
    return sum(o.left * o.price // MICRO for o in resting if o.side == "BUY")
