"""Orders of a drill about leaders, wallets and markets: see bot/sim/director.py."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bot.errors import ConfigError
from bot.sim import cash, markets
from bot.sim.entities import MICRO, Account, SimMarket, new_market
from bot.sim.rows import FeedRow
from bot.sim.scenario import DEPTH, Scenario

if TYPE_CHECKING:
    from bot.sim.server import Simulation

#: Share of closed rows that say they take orders.
LINGERING_PERCENT = 28


class Acts:
    """What happens in the world of the simulation."""

    def __init__(self, sim: "Simulation", story: Scenario) -> None:
        self._sim, self._story = sim, story
        self._exchange, self._trader = sim.exchange, sim.trader

    def _market(self, number: int) -> SimMarket:
        return self._story.markets[number]

    def _who(self, leader: int | None) -> Account:
        return self._trader if leader is None else self._story.leaders[leader]

    def do_trade(
        self,
        leader: int = 0,
        market: int = 0,
        outcome: int = 0,
        side: str = "BUY",
        usdc: int = 40,
        part: int = 100,
        split: bool = False,
    ) -> dict[str, Any]:
        """A leader buys for `usdc`, or sells `part` percent of what it holds.

        `split`: each resting order it meets is another transaction.
        """
        who, where = self._story.leaders[leader], self._market(market)
        token, inside = where.tokens[outcome], self._exchange.inside
        if side == "BUY":
            size, price = usdc * MICRO, MICRO - where.tick
        else:
            shares = (who.shares.get(token, 0) - who.leaving.get(token, 0)) * part // 100
            size, price = shares - shares % 10_000, where.tick
        trades = inside(who, token, side, price, size, "FAK", split=split)
        self._story.quote(where)
        return {"tx": trades[0].tx if trades else None, "txs": [trade.tx for trade in trades]}

    def do_drip(
        self,
        leader: int = 0,
        market: int = 0,
        outcome: int = 0,
        side: str = "BUY",
        shares: int = 60,
        fills: int = 6,
    ) -> dict[str, Any]:
        """A leader's resting order is filled by the crowd in so many transactions."""
        if side not in ("BUY", "SELL") or fills < 1 or shares < 1:
            raise ConfigError("drip: expected BUY or SELL, and at least one share and fill")
        who, where = self._story.leaders[leader], self._market(market)
        token, inside = where.tokens[outcome], self._exchange.inside
        mid = self._story.mids[where.condition] // where.tick * where.tick
        price = mid if outcome == 0 else MICRO - mid
        inside(who, token, side, price, shares * MICRO, "GTC")
        other = "SELL" if side == "BUY" else "BUY"
        part = shares * MICRO // fills // 10_000 * 10_000  # hundredths of a share cost whole micros
        sizes = [part] * (fills - 1) + [shares * MICRO - part * (fills - 1)]
        trades = [
            trade
            for size in sizes
            for trade in inside(self._story.crowd, token, other, price, size, "GTC")
        ]
        self._story.quote(where)
        return {"tx": [trade.tx for trade in trades]}

    def do_flood(
        self,
        leaders: Sequence[int],
        market: int,
        number: int,
        per_s: int,
        markets: int = 1,
        large: int = 0,
        large_usdc: int = 60,
    ) -> dict[str, Any]:
        """So many purchases of a dollar, so many a second: on the stream, and then in a block.

        Each of `leaders` in turn makes one, in `markets` markets from `market` on; one in `large`
        is of `large_usdc`, and no two of these are of the same leader in the same market as long
        as there are others.
        """
        now_s = self._exchange.now_us // MICRO
        for i in range(number):
            is_large = large > 0 and i % large == 0
            turn, usdc = (i // large, large_usdc) if is_large else (i, 1)
            who = leaders[turn % len(leaders)]
            where = self._market(market + turn // len(leaders) % markets)
            after_us = i * MICRO // per_s
            row = self._purchase(who, where, usdc, now_s + after_us // MICRO)
            self._sim.announce([row], after_us=after_us, mined=True)
        return {"seconds": number / per_s}

    def _purchase(self, leader: int, where: SimMarket, usdc: int, traded_s: int) -> FeedRow:
        who = self._story.leaders[leader]
        price = self._story.mids[where.condition] // where.tick * where.tick
        return FeedRow(
            "0x" + self._exchange.rng.randbytes(32).hex(), who.wallet, where.tokens[0], "BUY",
            usdc * MICRO * MICRO // price, usdc * MICRO, price, where, who.name, traded_s,
        )  # fmt: skip

    def do_list(
        self,
        number: int = 1,
        version: str = "v1",
        event: str = "",
        late_s: int = 0,
        neg_risk: bool = False,
    ) -> dict[str, Any]:
        """List so many new markets, each quoted like the others, and return the first one's number;
        the market channel tells of them.

        They may belong to one `event`; lists and lookups know them only `late_s` seconds later.
        """
        if version not in ("v1", "v2"):
            raise ConfigError(f"version {version[:40]!a}: expected v1 or v2")
        listed = []
        for _ in range(number):
            count = len(self._story.markets)
            title = f"New market {count}?"
            market = new_market(self._exchange.rng, title, version=version, neg_risk=neg_risk)
            market.event, market.listed_us = event, self._exchange.now_us + late_s * MICRO
            self._story.open(market)
            self._sim.streams.listed(market, count)
            listed.append(market)
        return {
            "first": len(self._story.markets) - number,
            "conditions": [market.condition for market in listed],
            "tokens": [market.tokens for market in listed],
        }

    def do_makers(self, market: int, number: int = 50, shares: int = 20) -> None:
        """So many resting orders take the place of the best offer of the first outcome."""
        where = self._market(market)
        self._story.depth = 0
        self._story.quote(where)
        self._story.depth = DEPTH
        price = self._story.mids[where.condition] // where.tick * where.tick + where.tick
        for _ in range(number):
            size = shares * MICRO
            self._exchange.inside(self._story.maker, where.tokens[0], "SELL", price, size, "GTC")

    def do_depth(self, shares: int, market: int = 0) -> None:
        """Quote this many shares a level; 0 takes every quote away."""
        self._story.depth = shares * MICRO
        self._story.quote(self._market(market))

    def do_best_bid(self, market: int, price: int = 0) -> None:
        """Nobody bids more than `price` (micro-USDC) until `heal`.

        0: they do again. The asks stay.
        """
        found = self._market(market)
        if price:
            self._story.best_bids[found.condition] = price
        else:
            self._story.best_bids.pop(found.condition, None)
        self._story.quote(found)

    def do_bid(self, token: str, price: int) -> None:
        """Let at least `price` (micro-USDC) be bid for a token: the mid moves where it is less."""
        market = self._exchange.by_token[token]
        bids, _ = self._exchange.books[market.condition].levels(token)
        if max(bids, default=0) >= price:
            return
        mid = price + market.tick if token == market.tokens[0] else MICRO - price - market.tick
        self._story.mids[market.condition] = mid
        self._story.quote(market)

    def do_tick(self, market: int, tick: int) -> None:
        """The tick changes; the exchange refuses the old one from now on."""
        found = self._market(market)
        old, found.tick = found.tick, tick
        self._sim.streams.tick_changed(found, old)
        self._story.quote(found)

    def do_close(self, market: int = 0, quotes: bool = False) -> None:
        """The market takes no signed orders until `heal`; its book is gone unless `quotes` stay."""
        self._market(market).accepting = False
        if not quotes:
            self.do_depth(0, market)

    def do_life(
        self,
        market: int,
        stage: str,
        payouts: Sequence[int] = (1, 0),
        winner: bool = True,
        lingers: bool | None = None,
    ) -> dict[str, Any]:
        """Bring a market to `closed|proposed|disputed|resolved|paid`, for good.

        `payouts` are the two numerators; the event names a winner if there is one and `winner`;
        `lingers`: closed rows of some lists say that it takes orders (28 % of them do). `paid`
        redeems for everybody.
        """
        found = self._market(market)
        before = found.payouts
        was_open = not found.ended
        markets.advance(self._exchange, found, stage, payouts)
        if was_open:
            by_chance = int(found.condition[2:10], 16) % 100 < LINGERING_PERCENT
            found.lingers = by_chance if lingers is None else lingers
        if before is None and found.payouts is not None:
            number = self._sim.catalogue.number(found)
            self._sim.streams.resolved(found, number, winner=winner)
        paid = {}
        if stage == "paid":
            everybody = [self._trader, *self._story.leaders]
            paid = {a.wallet: cash.redeem(self._exchange, a, found) for a in everybody}
        return {"condition": found.condition, "paid": paid}

    def do_redeem(self, market: int, leader: int | None = None) -> dict[str, Any]:
        """Our shares of a resolved market, or a leader's, become cash without our doing."""
        return {"payout": cash.redeem(self._exchange, self._who(leader), self._market(market))}

    def do_credit(self, kind: str, micros: int) -> dict[str, Any]:
        """Cash of ours moves by itself: YIELD, REWARD, MAKER_REBATE, DEPOSIT, WITHDRAWAL, ..."""
        return {"tx": cash.credit(self._exchange, self._trader, kind, micros)}

    def do_pair(
        self, market: int, shares: int, leader: int | None = 0, merge: bool = False
    ) -> dict[str, Any]:
        """A leader (or we: null) splits cash into pairs of shares, or merges pairs into cash."""
        if type(shares) is not int or shares <= 0:
            raise ConfigError("shares: expected a whole number above 0")
        act = cash.merge if merge else cash.split
        who, where = self._who(leader), self._market(market)
        return {"tx": act(self._exchange, who, where, shares * MICRO)}

    def do_closed_only(self, on: bool = True) -> None:
        """Our account may only reduce what it holds."""
        self._trader.closed_only = on

    def do_drain(self, usdc: int) -> None:
        """Somebody moves our collateral elsewhere."""
        self._trader.collateral -= usdc * MICRO

    def do_by_hand(self, market: int, usdc: int) -> None:
        """Somebody buys with our wallet past the bot, with an API key of its own (the web page)."""
        where = self._market(market)
        self._exchange.inside(
            self._trader,
            where.tokens[0],
            "BUY",
            MICRO - where.tick,
            usdc * MICRO,
            "FAK",
            owner_key="by-hand",
        )
        self._story.quote(where)

    def do_gift(
        self, market: int, shares: int, outcome: int = 0, leader: int | None = None
    ) -> None:
        """Shares arrive at our wallet, or a leader's, from elsewhere; a negative number leaves."""
        ways = [self._story.crowd, self._who(leader)]
        giver, taker = ways if shares > 0 else ways[::-1]
        where, amount = self._market(market), abs(shares) * MICRO
        cash.transfer(self._exchange, giver, taker, where, outcome, amount)

    def do_convert(self, markets: Sequence[int], shares: int, leader: int = 0) -> dict[str, Any]:
        """A leader turns No of some markets of a neg-risk event into Yes of its others."""
        who, found = self._who(leader), [self._market(number) for number in markets]
        return {"tx": cash.convert(self._exchange, who, found, shares * MICRO)}

    def do_reorg(self, depth: int = 2, drop: Sequence[str] = ()) -> None:
        """Other blocks come in the place of the newest; trades of the hashes `drop` are in none.

        Raises ConfigError for what is no trade.
        """
        trades = {trade.tx: trade for trade in self._exchange.trades.values()}
        if any(digest not in trades for digest in drop):
            raise ConfigError("reorg: expected hashes of trades to drop")
        now_us = self._exchange.now_us
        for transaction in self._exchange.chain.reorganise(depth, drop, now_us=now_us):
            self._sim.data.unmined(transaction.hash)
            self._sim.undone += [row for row in self._sim.facts if row.tx == transaction.hash]
            self._exchange.settlement.undo(trades[transaction.hash])

    def do_allowance(self, allowed: bool) -> None:
        """Our allowance is gone, or there again."""
        self._trader.allowed = allowed
