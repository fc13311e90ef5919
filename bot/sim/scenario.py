"""Scripted leaders: a market maker quotes, leaders trade, each in their own way.

The script is a list of steps made from the seed alone, so one seed gives one story.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.sim import crypto
from bot.sim.entities import MICRO, Account, SimMarket, new_market
from bot.sim.exchange import Exchange

RICH = 10**9 * MICRO
DEPTH = 400 * MICRO  #: shares a quote level holds
LEVELS = 5


@dataclass
class Scenario:
    """Four leaders over seven markets; about `trades` leader trades, `gap_us` apart."""

    exchange: Exchange
    trades: int = 72
    gap_us: int = 150_000
    leaders: list[Account] = field(default_factory=list)
    depth: int = DEPTH
    mids: dict[str, int] = field(default_factory=dict)
    best_bids: dict[str, int] = field(default_factory=dict)  #: where it is not a tick under the mid

    def __post_init__(self) -> None:
        rng = self.exchange.rng
        self._rng = random.Random(rng.getrandbits(64))
        self.maker = self._actor("maker", RICH)
        self.crowd = self._actor("crowd", RICH)
        names = ("steady", "contrary", "patient", "dusty")
        self.leaders = [self._actor(name, RICH) for name in names]
        self.markets: list[SimMarket] = []
        for market in _markets(rng):
            self.open(market)
        *self._tradable, self._certain = self.markets

    def open(self, market: SimMarket) -> None:
        """List a market and quote it. The script goes on with those it began with."""
        self.markets.append(self.exchange.add_market(market))
        self.mids[market.condition] = 955_000 if "certain" in market.slug else 500_000
        for token in market.tokens:
            self.maker.shares[token] = RICH
            self.crowd.shares[token] = RICH
        self.quote(market)

    def _actor(self, name: str, collateral: int) -> Account:
        wallet = crypto.random_address(self.exchange.rng)
        return self.exchange.add_account(Account(wallet, name=name, collateral=collateral))

    def quote(self, market: SimMarket) -> None:
        """Put the market maker's ladder around the market's mid, in place of its old one."""
        book = self.exchange.books[market.condition]
        for order in [o for o in book.orders.values() if o.account is self.maker]:
            self.exchange.cancel(order.id, "")
        if market.ended:
            return
        mid = self.mids[market.condition] // market.tick * market.tick
        bid = self.best_bids.get(market.condition, mid - market.tick)
        for i in range(LEVELS):
            away = i * market.tick
            for side, price in (("BUY", bid - away), ("SELL", mid + market.tick + away)):
                if market.tick <= price <= MICRO - market.tick and self.depth:
                    self.exchange.inside(
                        self.maker, market.tokens[0], side, price, self.depth, "GTC"
                    )

    def write(self) -> list[Callable[[], None]]:
        """Return the steps of one telling; every kind of move comes at least once."""
        steady, contrary, patient, dusty = self.leaders
        tradable = self._tradable
        moves: list[tuple[int, Callable[[], None]]] = [
            (5, lambda: self._buy(steady, self._rng.choice(tradable), 0)),
            (3, lambda: self._sell(steady)),
            (3, lambda: self._buy(contrary, self._rng.choice(tradable), 1)),
            (2, lambda: self._sell(contrary)),
            (3, lambda: self._multi(patient, self._rng.choice(tradable))),
            (1, lambda: self._sell(patient)),
            (
                2,
                lambda: self._buy(
                    dusty, self._rng.choice(tradable), 0, usdc=self._rng.randrange(1, 20) * MICRO
                ),
            ),
            (1, lambda: self._buy(steady, self._certain, 0)),
            (1, lambda: self._jump(steady, self._rng.choice(tradable))),
        ]
        weights = [w for w, _ in moves]
        return [m for _, m in moves] + self._rng.choices(
            [m for _, m in moves], weights, k=self.trades - len(moves)
        )

    def _buy(
        self, leader: Account, market: SimMarket, outcome: int, usdc: int | None = None
    ) -> None:
        budget = usdc or self._rng.randrange(30, 90) * MICRO
        self.exchange.inside(
            leader, market.tokens[outcome], "BUY", MICRO - market.tick, budget, "FAK"
        )
        self._requote_later(market)

    def _sell(self, leader: Account) -> None:
        held = [(t, s) for t, s in sorted(leader.shares.items()) if s > MICRO]
        if not held:
            self._buy(leader, self._rng.choice(self._tradable), 0)
            return
        token, shares = self._rng.choice(held)
        part = shares if self._rng.random() < 0.4 else shares * self._rng.randrange(2, 8) // 10
        market = self.exchange.by_token[token]
        self.exchange.inside(leader, token, "SELL", market.tick, part - part % 10_000, "FAK")
        self._requote_later(market)

    def _multi(self, leader: Account, market: SimMarket) -> None:
        # Several resting bids of one leader, two of them identical, filled by one taker: one
        # group with several rows, two of which are equal to the letter and both count.
        mid = self.mids[market.condition] // market.tick * market.tick
        for size in (60, 60, 45):
            self.exchange.inside(leader, market.tokens[0], "BUY", mid, size * MICRO, "GTC")
        self.exchange.inside(self.crowd, market.tokens[0], "SELL", mid, 165 * MICRO, "FAK")
        self._requote_later(market)

    def _jump(self, leader: Account, market: SimMarket) -> None:
        # News: the price runs away from the leader's fill before anybody can follow.
        self._buy(leader, market, 0)
        self.mids[market.condition] = min(self.mids[market.condition] + 60_000, 800_000)
        self.quote(market)

    def _requote_later(self, market: SimMarket) -> None:
        drift = self._rng.choice((-1, 0, 0, 1)) * market.tick
        self.mids[market.condition] = max(
            200_000, min(800_000, self.mids[market.condition] + drift)
        )
        if "certain" in market.slug:
            self.mids[market.condition] = 955_000
        self.quote(market)


def _markets(rng: random.Random) -> list[SimMarket]:
    return [
        new_market(rng, "Will it rain in Lisbon tomorrow?"),
        new_market(rng, "Cup final: home side wins?", tick=1_000),
        new_market(rng, "Who leads the poll: candidate A?", neg_risk=True),
        new_market(rng, "Rate cut in the next meeting?", version="v2"),
        new_market(rng, "Launch before the end of the month?", tick=2_500, fee_rate=0),
        new_market(rng, "Album of the year announced?", tick=5_000),
        new_market(rng, "Nearly certain: sun rises?"),
    ]
