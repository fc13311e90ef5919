"""Money and shares that move without an order: credits, redemption, pairs made and given back."""

from collections.abc import Sequence

from bot.errors import ConfigError
from bot.sim import logs
from bot.sim.entities import Account, SimMarket
from bot.sim.exchange import Exchange
from bot.sim.rows import CASH_KINDS, CashRow


def credit(exchange: Exchange, account: Account, kind: str, micros: int) -> str:
    """Let cash come (or go: WITHDRAWAL) by itself; return the transaction."""
    if kind not in CASH_KINDS:
        raise ConfigError(f"kind {kind[:40]!a}: expected one of {', '.join(CASH_KINDS)}")
    if type(micros) is not int or micros <= 0:
        raise ConfigError(f"micros: expected an amount above 0, found {str(micros)[:40]!a}")
    exchange.move(account, "", -micros if kind == "WITHDRAWAL" else micros)
    return _announce(exchange, account, kind, micros, None)


def redeem(exchange: Exchange, account: Account, market: SimMarket) -> int:
    """Take a wallet's whole balances of both outcomes for what they pay; return the payout.

    The payout is floored once for each outcome. A wallet that holds nothing gets nothing, and no
    row tells of it. What is matched and not yet on the chain stays.
    """
    if market.payouts is None:
        raise ConfigError(f"market {market.slug}: not resolved, so nothing can be redeemed")
    payout, taken = 0, dict.fromkeys(market.tokens, 0)
    for token, numerator in zip(market.tokens, market.payouts, strict=True):
        shares = account.shares.get(token, 0) - account.leaving.get(token, 0)
        if shares > 0:
            taken[token] = shares
            payout += shares * numerator // sum(market.payouts)
            exchange.move(account, token, -shares)
    if any(taken.values()):
        exchange.move(account, "", payout)
        tx = _announce(exchange, account, "REDEEM", payout, market)
        exchange.chain.include(logs.redemption(tx, account, market, taken, payout))
    return payout


def split(exchange: Exchange, account: Account, market: SimMarket, shares: int) -> str:
    """Make pairs out of cash: a dollar is one share of each outcome."""
    exchange.move(account, "", -shares)
    for token in market.tokens:
        exchange.move(account, token, shares)
    tx = _announce(exchange, account, "SPLIT", shares, market)
    exchange.chain.include(logs.pairs(tx, account, market, shares))
    return tx


def merge(exchange: Exchange, account: Account, market: SimMarket, shares: int) -> str:
    """Give pairs back for cash; raises ConfigError where the wallet has fewer."""
    least = min(account.shares.get(t, 0) - account.leaving.get(t, 0) for t in market.tokens)
    if shares > least:
        raise ConfigError(f"merge of {shares}: expected at most {least} of each outcome")
    for token in market.tokens:
        exchange.move(account, token, -shares)
    exchange.move(account, "", shares)
    tx = _announce(exchange, account, "MERGE", shares, market)
    exchange.chain.include(logs.pairs(tx, account, market, -shares))
    return tx


def convert(exchange: Exchange, account: Account, markets: Sequence[SimMarket], shares: int) -> str:
    """Turn so many No of each of `markets`, all of one neg-risk event, into Yes of its others.

    Of every No but one a dollar comes back. Raises ConfigError where that cannot be.
    """
    event = markets[0].event if markets else ""
    if not event or any(not m.neg_risk or m.event != event for m in markets):
        raise ConfigError("convert: expected neg-risk markets of one event")
    least = min(account.shares.get(m.tokens[1], 0) for m in markets)
    if shares > least:
        raise ConfigError(f"convert of {shares}: expected at most {least} No of each")
    others = [m for m in exchange.markets.values() if m.event == event and m not in markets]
    for market in markets:
        exchange.move(account, market.tokens[1], -shares)
    for market in others:
        exchange.move(account, market.tokens[0], shares)
    exchange.move(account, "", shares * (len(markets) - 1))
    tx = _announce(exchange, account, "CONVERSION", shares, markets[0])
    exchange.chain.include(logs.conversion(tx, account, markets, others, shares))
    return tx


def transfer(
    exchange: Exchange, giver: Account, taker: Account, market: SimMarket, outcome: int, shares: int
) -> str:
    """Let shares go from one wallet to another; no feed tells of it, the chain does."""
    token, tx = market.tokens[outcome], exchange.hash()
    exchange.move(giver, token, -shares)
    exchange.move(taker, token, shares)
    parts = {token: shares}
    exchange.chain.include(logs.transfer(tx, giver.wallet, taker.wallet, market, parts))
    return tx


def _announce(
    exchange: Exchange, account: Account, kind: str, micros: int, market: SimMarket | None
) -> str:
    tx, now_s = exchange.hash(), exchange.now_us // 1_000_000
    row = CashRow(kind, tx, account.wallet, micros, now_s, account.name, market)
    exchange.tell("cash", row)
    return tx
