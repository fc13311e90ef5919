"""A simulated world for the executor's own code: leaders, a faulty exchange, lives and deaths.

Time comes from a virtual loop; the ledger is a real file. `simulate` drives it with a seed, and a
state machine of the tests drives it by hand.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot import report
from bot.detect.intake import Intake
from bot.errors import LedgerError
from bot.execution.decide import Decider
from bot.execution.life import Executor
from bot.lab import virtual
from bot.lab.judge import overcopied
from bot.lab.model import OWNER, PRICE, Faulty
from bot.ledger import control, leaders, orders
from bot.ledger.db import Ledger
from bot.ledger.files import migrate
from bot.model import ConditionId, LeaderFill, Market, Side, TokenId
from bot.polymarket.orders import OrderSigner
from bot.settings import Contracts, Settings
from bot.strategy.mirror import Mirror
from bot.units import MICRO, decimal_text

START_S = 1_800_000_000.0
#: The Data API's poll begins this long before its cursor.
OVERLAP_S = 120
_KEY = "0x" + "11" * 32
_LEADERS = tuple(f"0x{n:040x}" for n in (0x11, 0x12, 0x13, 0x14))
_MARKETS = 60
#: What a leader does: (market, leader, side, shares).
Move = tuple[int, int, Side, int]


class Died(BaseException):
    """The simulated process is gone. Not an Exception: nothing may catch it and go on."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a simulation found; `ok` if every promise held."""

    ok: bool
    seed: int
    orders: int
    signals: int
    lives: int
    virtual_s: int
    faults: dict[str, int]
    duplicates: int
    lost: int
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Parts:
    """What is simulated; a sabotage puts a broken part in its place."""

    executor: Callable[..., Executor] = Executor
    decider: Callable[..., Decider] = Decider
    intake: Callable[..., Intake] = Intake


class World:
    """Everything of one simulation."""

    def __init__(self, path: Path, seed: int, parts: Parts, clock: Callable[[], float]) -> None:
        migrate(path, "demo")
        self.path, self.seed, self.parts, self._clock = path, seed, parts, clock
        self.rng = random.Random(seed)  # noqa: S311 (repeatable on purpose)
        self.markets = [_market(n) for n in range(_MARKETS)]
        self.venue = Faulty(random.Random(seed + 1), self.now_s, self.markets, 1_000_000 * MICRO)  # noqa: S311
        self.settings = _settings()
        self.lives = self.deaths = 0
        self._died_s = 0.0
        self.told: dict[tuple[str, str, str, str], int] = {}  #: what leaders did, by group: shares
        self.rows: list[LeaderFill] = []
        self.life: Life | None = None
        self._number = 0

    def now_s(self) -> float:
        """Return virtual seconds since the epoch."""
        return START_S + self._clock()

    def now_us(self) -> int:
        """Return virtual microseconds since the epoch."""
        return int(self.now_s() * MICRO)

    def note_death(self) -> None:
        """Remember when a life has ended: what its tasks shout for a moment is no news."""
        self.deaths, self._died_s = self.deaths + 1, self.now_s()

    def new_life(self) -> "Life":
        """Return a process that is about to start on this ledger."""
        self.life, self.lives = Life(self), self.lives + 1
        return self.life

    def unheard(self, _: Any, context: dict[str, Any]) -> None:
        """Note what a task failed with (a loop's exception handler); a dead life's tasks fail because it is dead."""
        error = context.get("exception")
        of_a_death = (self.life is not None and self.life.dead) or self.now_s() - self._died_s < 1
        if not isinstance(error, Died) and not (of_a_death and isinstance(error, LedgerError)):
            self.venue.broken.append(f"unheard: {type(error).__name__}: {error or context['message']}"[:200])

    def rests(self) -> bool:
        """Return whether nothing is undecided, in flight or unsettled."""
        with report.read(self.path, now_us=self.now_us()) as found:
            waiting = found.value(
                "SELECT (SELECT COUNT(*) FROM signal WHERE decided = 0)"
                " + (SELECT COUNT(*) FROM orders WHERE state IN ('posting', 'unknown', 'open'))"
                " + (SELECT COUNT(*) FROM fill WHERE settlement NOT IN ('confirmed', 'failed'))"
            )
        return waiting == 0 and not self.venue.busy

    async def replay(self, intake: Intake) -> None:
        """Show what leaders did lately, as the Data API does: what a life saw last it may have lost."""
        since = int(self.now_s()) - OVERLAP_S
        recent = [fill for fill in self.rows[-200:] if fill.traded_s >= since]
        await intake.absorb("data_api", [(f, (f.shares, f.usdc)) for f in recent], seen_us=self.now_us())

    def moves(self) -> list[Move]:
        """Draw what happens in one transaction: up to three trades of several leaders and tokens."""
        draw = self.rng
        return [
            (draw.randrange(_MARKETS), draw.randrange(len(_LEADERS)), draw.choice((Side.BUY, Side.BUY, Side.SELL)),
             draw.randrange(50, 400))
            for _ in range(draw.choice((1, 1, 1, 2, 3)))
        ]  # fmt: skip

    async def trade(self, intake: Intake, moves: list[Move]) -> None:
        """Let leaders trade in one transaction; it is seen by one source or several, once or more."""
        self._number += 1
        tx = f"0x{self._number:064x}"
        for number, leader, side, whole in moves:
            market, wallet, shares = self.markets[number], _LEADERS[leader], whole * MICRO
            group = (tx, wallet, market.tokens[0], str(side))
            if group in self.told:
                continue
            self.told[group] = shares
            fill = LeaderFill(
                tx, wallet, market.tokens[0], side, shares, shares * PRICE // MICRO, market.condition, "Yes", "model",
                int(self.now_s()),
            )  # fmt: skip
            self.rows.append(fill)
            for source in self.rng.choice((("rtds:1",), ("rtds:1", "data_api"), ("rtds:1", "rtds:1", "data_api"))):
                await intake.absorb(source, [(fill, (shares, fill.usdc))], seen_us=self.now_us())

    def judge(self) -> Verdict:
        """Compare the ledger with the exchange."""
        problems = list(self.venue.broken)
        per_signal = Counter(signal for signal, _ in self.venue.landed)
        twice = [f"signal {signal} has {n} orders at the exchange" for signal, n in per_signal.items() if n > 1]
        with report.read(self.path, now_us=self.now_us()) as found:
            known = {r["id"] for r in found.rows("SELECT id FROM orders")}
            twice += [f"order {o[:14]} was never stored" for _, o in self.venue.landed if o not in known]
            twice += overcopied(found)
            lost = self._lost(found)
            problems += found.mismatches() + self._differences(found)
            signals = found.value("SELECT COUNT(*) FROM signal")
            count = found.value("SELECT COUNT(*) FROM orders")
        problems += twice + lost
        return Verdict(
            not problems, self.seed, count, signals, self.lives, int(self.now_s() - START_S),
            {**dict(sorted(self.venue.seen.items())), "deaths": self.deaths}, len(twice), len(lost), problems[:20],
        )  # fmt: skip

    def _lost(self, found: report.Report) -> list[str]:
        seen = {
            (r["tx"], r["wallet"].lower(), r["token"], r["side"]): r
            for r in found.rows(
                "SELECT t.*, EXISTS (SELECT 1 FROM signal s JOIN decision d ON d.signal_id = s.id"
                " WHERE s.trade_id = t.id) AS decided FROM leader_trade t"
            )
        }
        missing = [g for g, shares in self.told.items() if g not in seen or seen[g]["shares"] != shares]
        undecided = [g for g in self.told if g in seen and not seen[g]["decided"]]
        return [f"leader trade {g[0][-6:]} of {g[1][-2:]} lost or undecided" for g in (*missing, *undecided)]

    def _differences(self, found: report.Report) -> list[str]:
        held = {r["token"]: r["shares"] for r in found.rows(
            "SELECT token, SUM(shares) AS shares FROM position GROUP BY token HAVING SUM(shares) <> 0"
        )}  # fmt: skip
        there = self.venue.held()
        problems = [
            f"token …{token[-8:]}: {decimal_text(held.get(token, 0))} shares in the ledger,"
            f" {decimal_text(there.get(TokenId(token), 0))} at the exchange"
            for token in sorted({*held, *there}) if held.get(token, 0) != there.get(TokenId(token), 0)
        ]  # fmt: skip
        cash = found.value("SELECT SUM(cash) FROM account")
        if cash != self.venue.cash():
            problems.append(f"cash: {decimal_text(cash)} in the ledger, {decimal_text(self.venue.cash())} there")
        return problems


class Life:
    """One life of the process: connections, tasks and all that a kill takes away."""

    def __init__(self, world: World) -> None:
        self._world, self.dead = world, False
        self._connections: list[virtual.Inline] = []
        self.intake: Intake | None = None
        self.ready, self.ended, self.stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(self) -> None:
        """Recover, then decide, post and settle until `stopping` is set."""
        world = self._world
        async with Ledger(world.path, connect=self._connect).open() as ledger:
            boot = await ledger.transact(lambda tx: _begin(tx, world))
            signer = OrderSigner(
                _KEY, chain_id=137, contracts=Contracts(), signature_type=0, funder=None,
                salt=lambda: str(world.rng.getrandbits(53)),
            )  # fmt: skip
            decider = world.parts.decider(
                ledger, world.venue, world.venue, signer, Mirror(), world.settings, boot, world.now_us
            )
            executor = world.parts.executor(ledger, world.venue, decider, world.settings, world.now_us)
            world.venue.alive = self._alive
            world.venue.on_trade = lambda trade: executor.book([trade])
            self.intake = world.parts.intake(ledger, lambda _: executor.doorbell.set(), world.now_us)
            await self.intake.load()
            self.ready.set()
            await executor.run(self.stopping)

    async def _connect(self, uri: str) -> Any:
        connection = virtual.Inline(uri)
        self._connections.append(connection)
        return connection

    def _alive(self) -> None:
        if self.dead:
            raise Died("a call of a life that has ended")

    def die(self) -> None:
        """Lose everything that is not committed."""
        self.dead = True
        self._world.note_death()
        self._world.venue.on_trade = None
        for connection in self._connections:
            connection.cut()
        self.ended.set()

    async def bury(self) -> None:
        """End the tasks of a dead life: the operating system takes them all at once."""
        kept = {asyncio.current_task(), *self._world.venue.coming}
        left = [task for task in asyncio.all_tasks() if task not in kept]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _begin(tx: Any, world: World) -> int:
    await orders.open_account(tx, OWNER, world.venue.collateral_, now_us=world.now_us())
    await leaders.follow(tx, [(wallet, "") for wallet in _LEADERS], now_s=int(START_S) - 1)
    return await control.boot(tx, "executor", 1, 1, "simulation", now_us=world.now_us())


def _market(number: int) -> Market:
    token = (1 << 200) + (number << 50) + (1 << 45)
    return Market(
        ConditionId(f"0x{number + 1:064x}"), (TokenId(str(token)), TokenId(str(token + (1 << 46)))), ("Yes", "No"),
        10_000, 5 * MICRO, False, "v1", 0, 1, True,
    )  # fmt: skip


def _settings() -> Settings:
    huge = 1_000_000
    return Settings.model_validate({
        "mode": "demo", "venue": {"clob_url": "http://127.0.0.1:1"},
        "leaders": [{"wallet": wallet} for wallet in _LEADERS],
        "strategy": {"max_signal_age_s": 60},
        "risk": {
            "max_market_usdc": huge, "max_exposure_usdc": huge, "max_daily_volume_usdc": huge,
            "breaker_loss_usdc": huge, "breaker_errors": 1000,
        },
    })  # fmt: skip
