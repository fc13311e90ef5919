"""Ledgers of the first design.

And how the exchange that they traded on is brought to life again.
"""

import json
from pathlib import Path
from typing import Any

from bot.sim.entities import Account, Piece, SimOrder, SimTrade
from bot.sim.server import Simulation

FOLDER = Path(__file__).parent


def known(name: str) -> dict[str, Any]:
    """Return what the exchange of a ledger knew of us."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def revive(sim: Simulation, name: str, owner_key: str) -> None:
    """Give a fresh simulation of the same seed the balances, orders and trades that were ours.

    What was on its way to the chain goes on from where it was. `owner_key` is our API key there.
    """
    data, exchange = known(name), sim.exchange
    assert sim.trader.wallet == data["trader"]["wallet"], "another seed, another wallet"
    for field in ("collateral", "shares", "leaving"):
        setattr(sim.trader, field, data["trader"][field])
    accounts = {account.wallet: account for account in exchange.accounts.values()}
    for row in data["orders"]:
        plain = {k: v for k, v in row.items() if k not in ("wallet", "market")}
        account = accounts.setdefault(row["wallet"], Account(row["wallet"]))
        order = SimOrder(account=account, market=exchange.markets[row["market"]], **plain)
        if account is sim.trader and order.owner_key:
            order.owner_key = owner_key
        exchange.orders[order.id] = order
    exchange.outside.extend(data["outside"])
    for row in data["trades"]:
        pieces = [Piece(exchange.orders[p.pop("order")], **p) for p in row.pop("pieces")]
        taker = exchange.orders[row.pop("taker")]
        trade = SimTrade(taker=taker, pieces=pieces, updated_us=row["at_us"], **row)
        exchange.trades[trade.id] = trade
        exchange.settlement.resume(trade)
