"""The executor's own code in virtual time: leaders, a faulty exchange, processes and their deaths.

Time comes from a virtual loop; the ledger is a real file. `simulate` drives it with a seed, and a
state machine of the tests drives it by hand. What is judged, `bot.lab.judge` judges.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot import report
from bot.config.schema import Settings
from bot.config.venue import Contracts
from bot.detect.intake import Intake
from bot.errors import LedgerError
from bot.execution.assemble import Parts, assemble
from bot.lab.judge import judge, settled
from bot.lab.virtual import clock
from bot.lab.virtual.exchange import OWNER, PRICE, VirtualExchange
from bot.lab.virtual.sources import Sources
from bot.ledger import account, control, roster, signals
from bot.ledger.db import Ledger, Tx, rows
from bot.ledger.files import migrate
from bot.ledger.orders import FLYING
from bot.model.control import ControlMode
from bot.model.leader import LeaderFill
from bot.model.market import ConditionId, Market, Side, TokenId
from bot.model.signal import Wish
from bot.model.units import MICRO
from bot.polymarket.signer import OrderSigner

START_S = 1_800_000_000.0
_KEY = "0x" + "11" * 32
_LEADERS = tuple(f"0x{n:040x}" for n in (0x11, 0x12, 0x13, 0x14))
_MARKETS = 60
#: What a leader does: (market, leader, side, shares).
Move = tuple[int, int, Side, int]


class Died(BaseException):
    """The simulated process is gone. Not an Exception: nothing may catch it and go on."""


@dataclass(frozen=True, slots=True)
class VirtualVerdict:
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
class Broken:
    """Parts that a sabotage puts in place of the bot's own."""

    parts: Parts | None = None
    intake: Callable[..., Intake] = Intake


class VirtualRun:
    """Everything of one simulation."""

    def __init__(
        self, path: Path, seed: int, loop_s: Callable[[], float], broken: Broken | None = None
    ) -> None:
        migrate(path, "demo")
        self.path, self.seed, self._loop_s, self.broken = path, seed, loop_s, broken or Broken()
        self.rng = random.Random(seed)  # noqa: S311 (repeatable on purpose)
        self.markets = [_market(n) for n in range(_MARKETS)]
        chance = random.Random(seed + 1)  # noqa: S311
        self.exchange = VirtualExchange(chance, self.now_s, self.markets, 1_000_000 * MICRO)
        self.settings = _settings()
        self.lives = self.deaths = 0
        self._died_s = 0.0
        self.sources = Sources(self.rng, self.now_us)
        self.process: Process | None = None
        self._number = 0
        self._halted = False

    def now_s(self) -> float:
        """Return virtual seconds since the epoch."""
        return START_S + self._loop_s()

    def now_us(self) -> int:
        """Return virtual microseconds since the epoch."""
        return int(self.now_s() * MICRO)

    def note_death(self) -> None:
        """Remember when a process has ended: what its tasks shout for a moment is no news."""
        self.deaths, self._died_s = self.deaths + 1, self.now_s()

    def new_process(self) -> "Process":
        """Return a process that is about to start on this ledger."""
        self.process, self.lives = Process(self), self.lives + 1
        return self.process

    def unheard(self, _: Any, context: dict[str, Any]) -> None:
        """Note what a task failed with (a loop's exception handler).

        The tasks of a process that has died fail because it is dead.
        """
        error = context.get("exception")
        dead = self.process is not None and self.process.dead
        of_a_death = dead or self.now_s() - self._died_s < 1
        if not isinstance(error, Died) and not (of_a_death and isinstance(error, LedgerError)):
            what = f"unheard: {type(error).__name__}: {error or context['message']}"
            self.exchange.broken.append(what[:200])

    def truth(self) -> dict[str, Any]:
        """Return what leaders did and what is true at the exchange."""
        return {
            **self.exchange.truth(),
            "leader_trades": [[*group, shares] for group, shares in self.sources.traded.items()],
            "undone": [[*group, shares] for group, shares in self.sources.undone],
        }

    def rests(self) -> bool:
        """Return whether nothing is undecided, in flight or unsettled."""
        with report.read(self.path, now_us=self.now_us()) as found:
            return settled(found, self.truth())

    def moves(self) -> list[Move]:
        """Draw one transaction: up to three trades of several leaders and tokens."""
        draw = self.rng
        return [
            (
                draw.randrange(_MARKETS),
                draw.randrange(len(_LEADERS)),
                draw.choice((Side.BUY, Side.BUY, Side.SELL)),
                draw.randrange(50, 400),
            )
            for _ in range(draw.choice((1, 1, 1, 2, 3)))
        ]

    async def trade(self, intake: Intake, moves: list[Move]) -> None:
        """Let leaders trade in one transaction, and sources tell of it."""
        self._number += 1
        tx = f"0x{self._number:064x}"
        for number, leader, side, whole in moves:
            market, wallet, shares = self.markets[number], _LEADERS[leader], whole * MICRO
            fill = LeaderFill(
                tx,
                wallet,
                market.tokens[0],
                side,
                shares,
                shares * PRICE // MICRO,
                market.condition,
                "Yes",
                "virtual",
                int(self.now_s()),
            )
            if not self.sources.knows(fill):
                await self.sources.tell(intake, fill)

    async def unsettle(self, ledger: Ledger) -> None:
        """Let bids vanish, and the operator halt, resume, close and cancel, now and then."""
        draw = self.rng
        if draw.random() < 0.4:
            token = draw.choice(self.sources.fates[-60:])[0].token
            self.exchange.dries_up(token, draw.uniform(5, 600))
        if draw.random() < (0.3 if self._halted else 0.02):
            self._halted = not self._halted
            await ledger.transact(_steer, self._halted, now_us=self.now_us())
        if draw.random() < 0.05:
            wish = draw.choice((Wish.CLOSE, Wish.CLOSE_AT_ANY_PRICE, Wish.CANCEL))
            self.exchange.seen[str(wish).replace(" ", "_")] += await ledger.transact(
                _ask, draw.random(), wish, now_us=self.now_us()
            )

    async def soothe(self, ledger: Ledger) -> None:
        """Let the operator resume: what stands is to come to rest."""
        self._halted = False
        await ledger.transact(_steer, False, now_us=self.now_us())

    def judge(self) -> VirtualVerdict:
        """Let the checker of every drill compare the ledger with the exchange."""
        with report.read(self.path, now_us=self.now_us()) as found:
            judgement = judge(found, self.truth())
            signals = found.value("SELECT COUNT(*) FROM signal")
            count = found.value("SELECT COUNT(*) FROM orders")
        problems = [*self.exchange.broken, *judgement.problems]
        faults = {**dict(sorted(self.exchange.seen.items())), "deaths": self.deaths}
        virtual_s = int(self.now_s() - START_S)
        return VirtualVerdict(
            not problems,
            self.seed,
            count,
            signals,
            self.lives,
            virtual_s,
            faults,
            len(judgement.twice),
            len(judgement.missing),
            problems[:20],
        )


class Process:
    """One life of the process: connections, tasks and all that a kill takes away."""

    def __init__(self, run: VirtualRun) -> None:
        self._run, self.dead = run, False
        self._connections: list[clock.Inline] = []
        self.intake: Intake | None = None
        self.ledger: Ledger | None = None
        self.ready, self.ended = asyncio.Event(), asyncio.Event()
        self.stopping = asyncio.Event()

    async def work(self) -> None:
        """Recover, then decide, post and settle until `stopping` is set."""
        run = self._run
        async with Ledger(run.path, connect=self._connect).open() as ledger:
            boot = await ledger.transact(_begin, run)
            execution = assemble(
                ledger,
                run.exchange,
                run.exchange,
                signer(run.rng),
                run.settings,
                boot_id=boot,
                now_us=run.now_us,
                parts=run.broken.parts,
            )
            run.exchange.alive = self._alive
            run.exchange.on_evidence = execution.prover.apply
            self.ledger = ledger
            self.intake = run.broken.intake(
                ledger, lambda s: execution.loop.ring(s.purchase), run.now_us
            )
            await self.intake.load()
            self.ready.set()
            await execution.loop.run(self.stopping)

    async def _connect(self, uri: str) -> clock.Inline:
        connection = clock.Inline(uri)
        self._connections.append(connection)
        return connection

    def _alive(self) -> None:
        if self.dead:
            raise Died("a call of a life that has ended")

    def die(self) -> None:
        """Lose everything that is not committed."""
        self.dead = True
        self._run.note_death()
        self._run.exchange.on_evidence = None
        for connection in self._connections:
            connection.cut()
        self.ended.set()

    async def reap(self) -> None:
        """End the tasks of a dead process: the operating system takes them all at once."""
        kept = {asyncio.current_task(), *self._run.exchange.coming}
        left = [task for task in asyncio.all_tasks() if task not in kept]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def signer(rng: random.Random | None = None) -> OrderSigner:
    """Return the signer of the simulated wallet; its salts repeat with `rng`."""
    salt = None if rng is None else lambda: rng.getrandbits(53)
    return OrderSigner(
        _KEY, chain_id=137, contracts=Contracts(), signature_type=0, funder=None, salt=salt
    )


def _begin(tx: Tx, run: VirtualRun) -> int:
    account.open_account(tx, OWNER, run.exchange.opening, now_us=run.now_us())
    roster.follow(tx, [(wallet, "") for wallet in _LEADERS], now_s=int(START_S) - 1)
    return control.boot(tx, "executor", 1, 1, "simulation", now_us=run.now_us())


def _steer(tx: Tx, halted: bool, *, now_us: int) -> None:
    mode = ControlMode.HALTED if halted else ControlMode.RUNNING
    control.steer(tx, mode, reason="a story", actor="operator", now_us=now_us)


def _ask(tx: Tx, which: float, wish: Wish, *, now_us: int) -> int:
    """Ask for something of one of the positions; return how many there were to ask for."""
    cancels = wish is Wish.CANCEL
    there = "position WHERE shares >= 10000"
    resting = f"orders WHERE kind = 'GTD' AND {FLYING}"
    which_one = f"SELECT portfolio, condition, token, {'id' if cancels else 'shares'} AS what FROM"
    found = rows(tx, f"{which_one} {resting if cancels else there}")
    if not found:
        return 0
    chosen = found[int(which * len(found))]
    place = (chosen["portfolio"], chosen["condition"], chosen["token"])
    note = f"{wish} {chosen['what']}" if cancels else str(wish)
    signals.ask(tx, *place, note, now_us=now_us)
    return 1


def _market(number: int) -> Market:
    token = (1 << 200) + (number << 50) + (1 << 45)
    tokens = (TokenId(str(token)), TokenId(str(token + (1 << 46))))
    condition = ConditionId(f"0x{number + 1:064x}")
    return Market(condition, tokens, ("Yes", "No"), 10_000, 5 * MICRO, False, "v1", 0, 1, True)


def _settings() -> Settings:
    huge = 1_000_000
    return Settings.model_validate(
        {
            "mode": "demo",
            "venue": {"clob_url": "http://127.0.0.1:1"},
            "leaders": [{"wallet": wallet} for wallet in _LEADERS],
            "strategy": {"max_signal_age_s": 60},
            "risk": {
                "max_market_usdc": huge,
                "max_exposure_usdc": huge,
                "max_daily_volume_usdc": huge,
                "breaker_loss_usdc": huge,
                "breaker_errors": 1000,
            },
        }
    )
