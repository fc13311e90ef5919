"""`POST /sim/do`: what a drill tells the simulation to do. The bot never asks it."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from bot.errors import ConfigError
from bot.sim.faults import Faults, Rule
from bot.sim.scenario import DEPTH, Scenario
from bot.sim.streams import Streams
from bot.sim.world import MICRO, Account, Row, SimMarket


class Director:
    """Orders of a drill, by name. Every order answers with what it did."""

    def __init__(
        self, story: Scenario, faults: Faults, streams: Streams, trader: Account,
        replay: Callable[[], list[Row]], stop: Callable[[], None],
    ) -> None:  # fmt: skip
        self._story, self._faults, self._streams = story, faults, streams
        self._trader, self._past, self._stop = trader, replay, stop
        self._exchange = story.exchange
        self.mute_feed = False  #: rows are not announced on the real-time stream

    async def do(self, request: web.Request) -> web.Response:
        """Carry out one order: a JSON object with `order`, its name, and its arguments."""
        order = await request.json()
        name = str(order.pop("order", ""))
        method = getattr(self, f"_do_{name}", None)
        if method is None:
            return web.json_response({"error": f"no such order: {name[:40]}"}, status=400)
        try:
            return web.json_response({"ok": True, **(method(**order) or {})})
        except (ConfigError, TypeError, LookupError) as error:
            return web.json_response({"error": str(error)}, status=400)

    def _market(self, number: int) -> SimMarket:
        return self._story.markets[number]

    def _do_trade(
        self, leader: int = 0, market: int = 0, outcome: int = 0, side: str = "BUY", usdc: int = 40, part: int = 100
    ) -> dict[str, Any]:
        """A leader buys for `usdc`, or sells `part` percent of what it holds."""
        who, where = self._story.leaders[leader], self._market(market)
        token = where.tokens[outcome]
        if side == "BUY":
            trades = self._exchange.inside(who, token, "BUY", MICRO - where.tick, usdc * MICRO, "FAK")
        else:
            shares = (who.shares.get(token, 0) - who.leaving.get(token, 0)) * part // 100
            trades = self._exchange.inside(who, token, "SELL", where.tick, shares - shares % 10_000, "FAK")
        self._story.quote(where)
        return {"tx": trades[0].tx if trades else None}

    def _do_fault(self, **rule: Any) -> None:
        self._faults.rules.append(Rule(**rule))

    def _do_heal(self) -> dict[str, Any]:
        """Take every fault away, whatever kind."""
        self._faults.rules.clear()
        for channel in ("user", "market", "rtds"):
            self._streams.tap(channel, "clean")
        self._exchange.lookup_lag_us = self._exchange.delay_us = 0
        self._exchange.unmatched = self.mute_feed = False
        self._exchange.settlements.clear()
        self._exchange.clock_us = 0
        self._trader.allowed = True
        for market in self._story.markets:
            market.accepting = True
            self._story.depth = DEPTH
            self._story.quote(market)
        return {"struck": self._faults.struck}

    def _do_idle(self) -> dict[str, Any]:
        """Tell which rules have not struck yet."""
        return {"idle": [f"{rule.do} on {rule.on}" for rule in self._faults.rules if not rule.struck]}

    def _do_stop(self) -> None:
        """End the story: leaders do nothing more."""
        self._stop()

    def _do_stream(self, channel: str, mode: str) -> None:
        self._streams.tap(channel, mode)

    def _do_lookups(self, lag_ms: int) -> None:
        self._exchange.lookup_lag_us = lag_ms * 1000

    def _do_delay(self, ms: int, unmatched: bool = False) -> None:
        self._exchange.delay_us, self._exchange.unmatched = ms * 1000, unmatched

    def _do_settle(self, ways: list[str]) -> None:
        """The next trades of signed orders settle like this: FAILED, RETRYING or MINED, in turn."""
        self._exchange.settlements.extend(ways)

    def _do_depth(self, shares: int, market: int = 0) -> None:
        """Quote this many shares a level; 0 takes every quote away."""
        self._story.depth = shares * MICRO
        self._story.quote(self._market(market))

    def _do_tick(self, market: int, tick: int) -> None:
        """The tick changes; the exchange refuses the old one from now on."""
        found = self._market(market)
        old, found.tick = found.tick, tick
        self._streams.tick_changed(found, old)
        self._story.quote(found)

    def _do_close(self, market: int = 0, quotes: bool = False) -> None:
        """The market takes no more signed orders, and its book is gone unless `quotes` stay."""
        self._market(market).accepting = False
        if not quotes:
            self._do_depth(0, market)

    def _do_drain(self, usdc: int) -> None:
        """Somebody moves our collateral elsewhere."""
        self._trader.collateral -= usdc * MICRO

    def _do_by_hand(self, market: int, usdc: int) -> None:
        """Somebody buys with our wallet past the bot, with an API key of its own (the web page, say)."""
        where = self._market(market)
        self._exchange.inside(
            self._trader, where.tokens[0], "BUY", MICRO - where.tick, usdc * MICRO, "FAK", owner_key="by-hand"
        )
        self._story.quote(where)

    def _do_gift(self, market: int, shares: int, outcome: int = 0) -> None:
        """Shares arrive from elsewhere; a negative number leaves."""
        self._trader.move(self._market(market).tokens[outcome], shares * MICRO)

    def _do_allowance(self, allowed: bool) -> None:
        self._trader.allowed = allowed

    def _do_clock(self, seconds: int) -> None:
        self._exchange.clock_us = seconds * MICRO

    def _do_feed(self, mute: bool) -> None:
        self.mute_feed = mute

    def _do_replay(self, times: int = 1) -> dict[str, Any]:
        """Announce everything once more, as a feed does after a fault of its own."""
        rows = self._past()
        for _ in range(times):
            for row in reversed(rows):
                self._streams.activity([row])
        return {"rows": len(rows)}
