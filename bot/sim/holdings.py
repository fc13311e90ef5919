"""What a wallet holds, as rows of /v2/positions: sizes, costs, results, and what became of them."""

from typing import Any

from bot.sim import markets
from bot.sim.entities import MICRO, Account, SimMarket
from bot.sim.exchange import Exchange
from bot.sim.rows import FeedRow


class Holdings:
    """Holdings as they were at a moment: the index behind /v2/positions is late."""

    def __init__(self, exchange: Exchange, seen_us: int) -> None:
        self.exchange, self._seen_us = exchange, seen_us

    def shares(self, account: Account) -> dict[str, int]:
        """Return token -> shares as they were at the moment."""
        found = dict(account.shares)
        for at_us, who, asset, change in reversed(self.exchange.moves):
            if at_us <= self._seen_us:
                break
            if who is account and asset:
                found[asset] = found.get(asset, 0) - change
        return found

    def rows(self, account: Account, fills: list[FeedRow], status: str) -> list[dict[str, Any]]:
        """Return the rows of a wallet.

        A lost position says REDEEMABLE and one of a pair says OPEN: the other words only narrow
        what is listed.
        """
        shares = self.shares(account)
        found = []
        for token in dict.fromkeys([*shares, *(row.token for row in fills)]):
            held, market = shares.get(token, 0), self.exchange.by_token[token]
            paired = held > 0 and shares.get(market.other(token), 0) > 0
            price = markets.final_price(market, market.tokens.index(token))
            if _listed(status, held, price, paired=paired and price is None):
                costs = _costs([row for row in fills if row.token == token])
                found.append(_row(account, market, token, held, costs, paired=paired))
        return found


def _listed(status: str, held: int, final: int | None, *, paired: bool) -> bool:
    if status == "CLOSED" or held <= 0:
        return status == "CLOSED" and held <= 0
    return {
        "OPEN": final is None, "REDEEMABLE": final is not None, "REDEEMABLE_LOST": final == 0,
        "MERGEABLE": paired,
    }.get(status, True)  # fmt: skip


def _costs(fills: list[FeedRow]) -> tuple[int, int, int, int, int]:
    """Return (shares bought, average price, realized result, first entry, last event)."""
    bought = held = cost = realized = 0
    for row in fills:
        if row.side == "BUY":
            bought, held, cost = bought + row.shares, held + row.shares, cost + row.usdc
        elif held > 0:
            part = min(row.shares, held)
            share_of_cost = cost * part // held
            realized += row.usdc - share_of_cost
            held, cost = held - part, cost - share_of_cost
    average = cost * MICRO // held if held else 0
    stamps = [row.traded_s for row in fills] or [0]
    return bought, average, realized, stamps[0], stamps[-1]


def _row(
    account: Account,
    market: SimMarket,
    token: str,
    held: int,
    costs: tuple[int, ...],
    *,
    paired: bool,
) -> dict[str, Any]:
    index = market.tokens.index(token)
    bought, average, realized, first, last = costs
    final = markets.final_price(market, index)
    now = market.last_price if index == 0 else MICRO - market.last_price
    price, cost = now if final is None else final, held * average // MICRO
    unrealized = held * price // MICRO - cost
    status = "CLOSED" if held <= 0 else "OPEN" if final is None else "REDEEMABLE"
    return {
        "proxy_wallet": account.wallet.lower(), "token_id": token,
        "condition_id": market.condition, "current_size": held / MICRO,
        "avg_price": average / MICRO, "entry_cost_usdc": cost / MICRO, "entry_fees_usdc": 0,
        "total_cost_usdc": cost / MICRO, "current_price": price / MICRO,
        "current_value": held * price // MICRO / MICRO, "total_size": bought / MICRO,
        "realized_pnl": realized / MICRO, "unrealized_pnl": unrealized / MICRO,
        "total_pnl": (realized + unrealized) / MICRO,
        "percent_pnl": 100 * unrealized / cost if cost else 0, "percent_realized_pnl": 0,
        "status": status, "redeemable": held > 0 and final is not None,
        "mergeable": paired and final is None, "negative_risk": market.neg_risk,
        "archived": False, "verified": True, "title": market.title, "slug": market.slug,
        "icon": "", "event_slug": market.slug, "event_id": "1",
        "outcome": market.outcomes[index], "outcome_index": index,
        "opposite_outcome": market.outcomes[1 - index], "opposite_token_id": market.other(token),
        "end_date": "2030-01-01", "last_event_at": last, "first_entry_at": first,
        "name": account.name, "profile_image": "",
    }  # fmt: skip
