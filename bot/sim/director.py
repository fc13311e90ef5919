"""`POST /sim/do`: what a drill tells the simulation to do. The bot never asks it.

An order is a JSON object: its name as `order`, and its arguments. The methods `do_...` here are
about the exchange and its edge, those of bot/sim/acts.py about leaders, wallets and markets; the
docstring of each is its reference. `heal` takes back whatever an order here has made worse.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bot.errors import ConfigError
from bot.sim.acts import Acts
from bot.sim.entities import MICRO
from bot.sim.faults import Rule
from bot.sim.quirks import Quirk
from bot.sim.scenario import DEPTH, Scenario

if TYPE_CHECKING:
    from bot.sim.server import Simulation


class Director:
    """Orders of a drill, by name. Every order answers with what it did."""

    def __init__(self, sim: "Simulation", story: Scenario) -> None:
        self._sim, self._story = sim, story
        self._exchange, self._streams = sim.exchange, sim.streams
        self.acts = Acts(sim, story)
        self.mute_feed = False  #: rows are not announced on the real-time stream

    async def do(self, request: web.Request) -> web.Response:
        """Carry out one order."""
        order = await request.json()
        name = str(order.pop("order", ""))
        methods = (getattr(subject, f"do_{name}", None) for subject in (self, self.acts))
        method = next((found for found in methods if found is not None), None)
        if method is None:
            return web.json_response({"error": f"no such order: {name[:40]}"}, status=400)
        try:
            return web.json_response({"ok": True, **(method(**order) or {})})
        except (ConfigError, TypeError, LookupError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)

    def do_fault(self, **rule: Any) -> None:
        """Add a rule of bot/sim/faults.py: `on`, `do`, `times`, `where` and what the kind needs."""
        self._sim.faults.rules.append(Rule(**rule))

    def do_quirk(self, do: str, times: int = 1, ms: int = 0) -> None:
        """Let the engine misbehave: a kind of bot/sim/quirks.py."""
        self._exchange.quirks.waiting.append(Quirk(do, times, ms))

    def do_heal(self) -> dict[str, Any]:
        """Take every fault away, whatever kind. What has happened stays: a market that ended."""
        sim, exchange = self._sim, self._exchange
        struck = sim.faults.struck + exchange.quirks.struck
        for healed in (sim.faults, sim.gate, sim.limits, sim.data, sim.rpc):
            healed.heal()
        for channel in self._streams.taps:
            self._streams.tap(channel, "clean")
        self._streams.ceiling = sim.plan.max_assets
        sim.catalogue.kept_s = 0
        self.do_rtt(0)
        sim.clob.ended_lookups, exchange.grit = sim.plan.ended_lookups, sim.plan.grit
        self._heal_exchange()
        self.mute_feed = False
        sim.trader.allowed, sim.trader.closed_only = True, False
        self._story.depth = DEPTH
        self._story.best_bids.clear()
        for market in self._story.markets:
            market.accepting = not market.ended
            self._story.quote(market)
        return {"struck": struck}

    def _heal_exchange(self) -> None:
        exchange = self._exchange
        exchange.lookup_lag_us = exchange.delay_us = exchange.clock_us = 0
        exchange.unmatched = False
        exchange.quirks.waiting.clear()
        exchange.coming = [(0, order) for _, order in exchange.coming]
        exchange.held = [(0, matches, order) for _, matches, order in exchange.held]
        exchange.settlement.heal()

    def do_idle(self) -> dict[str, Any]:
        """Tell which rules and quirks have not struck yet, and what else was withheld so far."""
        sim, streams = self._sim, self._streams
        return {
            "idle": [*sim.faults.idle(), *self._exchange.quirks.idle()],
            "streams": {name: [tap.mode, tap.struck] for name, tap in streams.taps.items()},
            "limits": {"throttled": sim.limits.throttled, "refused": sim.limits.refused},
            "nodes": {name: node.struck for name, node in sim.rpc.nodes.items()},
            "gate": sim.gate.struck, "beyond": streams.beyond,
            "stuck": len(self._exchange.settlement.stuck),
            "ways": len(self._exchange.settlement.signed + self._exchange.settlement.others),
        }  # fmt: skip

    def do_rtt(self, ms: int) -> None:
        """Every request and subscription takes this much longer to be looked at."""
        self._sim.stopwatch.rtt_ms, self._streams.rtt_s = ms, ms / 1000

    def do_passed(self, reset: bool = False) -> dict[str, Any]:
        """Tell how long after its frame an order of each token came; `reset`: and forget it."""
        found = dict(self._sim.stopwatch.passed())
        if reset:
            self._sim.stopwatch.reset()
        return found

    def do_gamma(self, kept_s: int) -> None:
        """Gamma gives the same answer to the same question for so many seconds."""
        self._sim.catalogue.kept_s = kept_s

    def do_stop(self) -> None:
        """End the story: leaders do nothing more."""
        self._sim.stop()

    def do_stream(self, channel: str, mode: str) -> None:
        """Change what becomes of the frames of `market`, `user`, `rtds`, or of a provider of the
        chain (`a`, `b`): see bot/sim/taps.py.
        """
        where = self._sim.rpc if channel in self._sim.rpc.taps else self._streams
        where.tap(channel, mode)

    def do_node(self, name: str, **changes: Any) -> None:
        """Make a provider of the chain ill: see `Ills` in bot/sim/node.py."""
        self._sim.rpc.change(name, changes)

    def do_ceiling(self, assets: int) -> None:
        """Let one connection of the market channel have this many assets."""
        self._streams.ceiling = assets

    def do_lookups(self, lag_ms: int = 0, ended: bool | None = None) -> None:
        """Orders and trades show late in lookups; `ended`: those by id show ended orders too."""
        self._exchange.lookup_lag_us = lag_ms * 1000
        if ended is not None:
            self._sim.clob.ended_lookups = ended

    def do_lags(
        self,
        activity_ms: int | None = None,
        positions_ms: int | None = None,
        aged_s: int = 0,
        stalled: bool = False,
    ) -> None:
        """The Data API shows trades, or holdings, this late; the real-time stream does not wait.

        Rows from now on say that they are `aged_s` older; `stalled`: nothing new shows.
        """
        data = self._sim.data
        data.aged_s, data.stalled_us = aged_s, self._exchange.now_us if stalled else None
        if activity_ms is not None:
            data.activity_lag_us = activity_ms * 1000
        if positions_ms is not None:
            data.positions_lag_us = positions_ms * 1000

    def do_delay(self, ms: int, unmatched: bool = False) -> None:
        """Marketable orders are held this long, and then matched, or not if `unmatched`."""
        self._exchange.delay_us, self._exchange.unmatched = ms * 1000, unmatched

    def do_settle(self, ways: list[str], of: str = "orders") -> None:
        """The next trades of signed orders, or of `leaders`, go these ways: see settlement.py."""
        if of not in ("orders", "leaders"):
            raise ConfigError(f"of {of[:40]!a}: expected orders or leaders")
        self._exchange.settlement.will(ways, signed=of == "orders")

    def do_release(self, way: str = "") -> dict[str, Any]:
        """Let stuck trades go on: the `way` they were given, or this one."""
        return {"released": self._exchange.settlement.release(way)}

    def do_limits(self, changes: Mapping[str, int] | None = None, off: bool = False) -> None:
        """Set limits (requests per 10 s by name, see limits.py), or switch all of them `off`."""
        self._sim.limits.set(None if off else changes or {})

    def do_region(self, country: str = "US", blocked: bool = True, orders: str = "refused") -> None:
        """Move us to a country: what /api/geoblock says, and orders `taken|refused|reduce`."""
        self._sim.gate.settle_in(country, blocked=blocked, orders=orders)

    def do_mode(self, mode: str) -> None:
        """Change what the engine takes: one of the modes of bot/sim/gate.py."""
        self._sim.gate.set_mode(mode)

    def do_grit(self, on: bool = True) -> None:
        """A mint or merge may cost the taker a millionth more or less for each maker."""
        self._exchange.grit = on

    def do_clock(self, seconds: int) -> None:
        """The exchange's clock is ahead by this much."""
        self._exchange.clock_us = seconds * MICRO

    def do_feed(self, mute: bool) -> None:
        """Rows are not announced on the real-time stream at all."""
        self.mute_feed = mute

    def do_replay(self, times: int = 1) -> dict[str, Any]:
        """Announce everything once more, as a feed does after a fault of its own."""
        rows = list(self._sim.facts)
        for _ in range(times):
            for row in reversed(rows):
                self._streams.activity([row])
        return {"rows": len(rows)}
