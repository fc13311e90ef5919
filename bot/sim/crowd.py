"""A crowd: so many fills a second of everybody, few of them of leaders, for so long.

Most of a platform's trades are of wallets that nobody follows. They are on the stream, in blocks
and in the index like all others, and whoever watches has to look at each.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bot.sim import crypto
from bot.sim.entities import MICRO, SimMarket, new_market
from bot.sim.rows import FeedRow

if TYPE_CHECKING:
    from bot.sim.server import Simulation

#: One fill in so many is a leader's. Each transaction has a taker's and a maker's.
SHARE = 25
#: Wallets of others that trade at the same time, and markets in which all do.
OTHERS, MARKETS = 5_000, 40
#: A leader's purchase is of so many dollars; one in so many is large enough to follow.
SMALL_USDC, LARGE_USDC, LARGE = 5, 60, 10
#: Rows of one turn at most: what a slow machine has missed is caught up with in parts.
AT_ONCE = 100


@dataclass
class Crowd:
    """`leaders` wallets and thousands of others, `per_s` fills a second for `seconds`."""

    sim: "Simulation"
    leaders: int
    per_s: int
    seconds: int
    made: int = 0
    wallets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = self.sim.exchange.rng
        self._rng = random.Random(rng.getrandbits(64))
        self.wallets = [crypto.random_address(rng) for _ in range(self.leaders)]
        self._others = [crypto.random_address(rng) for _ in range(OTHERS)]
        self._markets: list[SimMarket] = []
        for number in range(MARKETS):
            market = new_market(rng, f"Crowded market {number}?")
            self.sim.story.open(market)
            self._markets.append(market)
        self._began_us: int | None = None

    @property
    def total(self) -> int:
        """Return how many fills there are to be."""
        return self.per_s * self.seconds // 2 * 2

    def due(self, now_us: int) -> Iterator[tuple[list[FeedRow], bool]]:
        """Yield the transactions that are due, and whether the taker of each is a leader."""
        self._began_us = self._began_us or now_us
        passed = (now_us - self._began_us) * self.per_s // MICRO
        last = min(passed, self.total, self.made + AT_ONCE)
        while self.made + 2 <= last:
            self.made += 2
            yield self._match(now_us // MICRO)

    def _match(self, now_s: int) -> tuple[list[FeedRow], bool]:
        number, rng = self.made // SHARE, self._rng
        leads = self.made % SHARE < 2
        wallet = self.wallets[number % len(self.wallets)] if leads else rng.choice(self._others)
        market = rng.choice(self._markets)
        price = self.sim.story.mids[market.condition] // market.tick * market.tick
        usdc = LARGE_USDC if leads and number % LARGE == 0 else SMALL_USDC
        taker = FeedRow(
            "0x" + rng.randbytes(32).hex(), wallet, market.tokens[0], "BUY",
            usdc * MICRO * MICRO // price, usdc * MICRO, price, market, "", now_s,
        )  # fmt: skip
        maker = replace(taker, wallet=rng.choice(self._others), side="SELL")
        return [taker, maker], leads
