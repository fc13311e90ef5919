"""An order is born: sized, signed and stored in the transaction that decides it (law 2)."""

from dataclasses import dataclass

from bot import failpoints
from bot.ledger import intents, markets, orders
from bot.ledger.db import Tx
from bot.model.amounts import Amounts, limit_amounts, market_amounts
from bot.model.fees import highest_fee
from bot.model.intent import Intent
from bot.model.market import Market, Side
from bot.model.order import Order, OrderKind, OrderState
from bot.model.units import MICRO
from bot.polymarket.signer import OrderSigner, Signed

#: How long an order rests in a book; it is renewed before, while its intent stands.
REST_S = 300
#: The book drops a GTD order this long before its `expiration`.
GTD_MARGIN_S = 60


@dataclass(frozen=True, slots=True)
class Terms:
    """What an attempt offers: `size` is a budget in micro-USDC for a BUY, shares for a SELL."""

    side: Side
    kind: OrderKind
    price: int
    size: int


@dataclass(frozen=True, slots=True)
class Birth:
    """Who signs for whom, and when: `skew_s` is the exchange's clock minus ours."""

    signer: OrderSigner
    owner: str
    skew_s: int
    validity_s: int
    now_us: int


def bear(tx: Tx, intent: Intent, market: Market, terms: Terms, birth: Birth) -> Order:
    """Sign an intent's next attempt, store it before its first byte leaves, and return it.

    Raises ValueError where the terms make no order.
    """
    now, rests = birth.now_us, terms.kind is OrderKind.GTD
    sized = limit_amounts if rests else market_amounts
    amounts = sized(terms.side, terms.price, terms.size, market.tick)
    expires_s = now // MICRO + birth.skew_s + REST_S + GTD_MARGIN_S if rests else 0
    signed = _sign(intent, market, terms, amounts, birth, expires_s)
    failpoints.reach("decide.signed")
    buys = terms.side is Side.BUY
    fee = highest_fee(amounts.maker_amount, market.fee_rate) if buys else 0
    order = Order(
        id=signed.id,
        intent_id=intent.id,
        attempt=intents.attempted(tx, intent),
        portfolio=intent.portfolio,
        condition=intent.condition,
        token=intent.token,
        side=terms.side,
        kind=terms.kind,
        price=terms.price,
        **amounts._asdict(),
        reserved=amounts.maker_amount + fee if buys else 0,
        body=signed.body,
        state=OrderState.POSTING,
        created_us=now,
        deadline_us=now + birth.validity_s * MICRO,
        expires_us=expires_s * MICRO or None,
    )
    orders.add(tx, order)
    if not markets.knows(tx, market.condition):
        # When it was told knows whoever asked for it: here it only must not be missing.
        markets.learn(tx, market.facts(), "clob", as_of_us=0)
    failpoints.reach("decide.written")
    return order


def _sign(
    intent: Intent, market: Market, terms: Terms, amounts: Amounts, birth: Birth, expires_s: int
) -> Signed:
    return birth.signer.sign(
        intent.token,
        terms.side,
        amounts,
        neg_risk=market.neg_risk,
        owner=birth.owner,
        now_us=birth.now_us,
        order_type=str(terms.kind),
        expiration_s=expires_s,
    )
