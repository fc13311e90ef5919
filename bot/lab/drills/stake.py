"""Two leaders in one token, and what must be true of our shares of it when one of them leaves.

Everything is judged by the outcome: the exchange's truth, and fills and positions of the ledger.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bot.errors import TimedOut
from bot.lab.drill import Drill, LawBroken, Scene
from bot.lab.testbed import PATIENCE_S, Overrides
from bot.model.amounts import CENT
from bot.model.units import MICRO, decimal_text

#: A leader with fewer shares than this, or with less than a twentieth, has left.
DUST, GONE_PARTS = 5 * MICRO, 20
#: An exit takes at least so much of the leader's own exit price, in percent.
FLOOR_PERCENT = 85
#: How long a drill waits for what is known to go wrong.
SHORT_S = 25.0
#: The stream tells of a leader's trade this late, so that the book can change before we know.
LATE = {"rtds_delay_ms": 1500}


@dataclass
class Stake:
    """What we hold of one token by two leaders: `leader` is about to leave, the other stays."""

    scene: Scene
    market: int = 0
    leader: int = 0
    ours: int = 0  #: shares of ours that belong to the leader who leaves
    theirs: int = 0  #: shares of ours that belong to the one who stays
    leader_had: int = 0  #: the leader's net holding when our entry ended
    #: The best bid when the leader sells: he gets it for all he has.
    exit_price: int = 490_000
    closed: bool = False  #: the operator wants nothing of it

    @property
    def token(self) -> str:
        """Return the token that we hold."""
        return str(self.scene.on.address["markets"][self.market]["tokens"][0])

    @property
    def other(self) -> str:
        """Return the token of the other outcome."""
        return str(self.scene.on.address["markets"][self.market]["tokens"][1])

    @property
    def wallet(self) -> str:
        """Return the wallet of the leader who leaves."""
        return str(self.scene.on.address["leaders"][self.leader])

    def shares(self, token: str = "") -> int:
        """Return our settled shares at the exchange."""
        return int(self.scene.on.truth()["shares"].get(token or self.token, 0))

    def net(self) -> int:
        """Return what the leader holds of the outcome, less what he holds of the other one."""
        total = 0
        for _, wallet, token, side, shares in self.scene.on.truth()["leader_trades"]:
            if wallet.lower() == self.wallet.lower() and token in (self.token, self.other):
                total += shares if (side == "BUY") == (token == self.token) else -shares
        return total

    def wanted(self) -> int:
        """Return how many shares we should hold now: in proportion to the leader, and the rest."""
        if self.closed:
            return self.theirs
        left = self.net()
        gone = left < DUST or left * GONE_PARTS < self.leader_had
        return self.theirs + (0 if gone else self.ours * left // self.leader_had)

    def leave(self, how: str) -> None:
        """Let the leader sell all, 10 % and again 10 %, or buy as much of the other outcome."""
        if how == "complement":
            budget = round(self.net() * 510_000 / MICRO / MICRO)
            self.scene.trade(self.leader, self.market, outcome=1, usdc=budget)
            return
        for part in [10, 10] if how == "tenth" else [100]:
            self.scene.trade(self.leader, self.market, side="SELL", part=part)

    def stand(self, how: str) -> None:
        """Let the leader leave, and every bid vanish before we can follow: an exit stands."""
        decided = self._decided()
        self.leave(how)
        self.bids(0)
        self.scene.faults += 1
        self.scene.until(lambda: self._decided() > decided, "the exit is decided")

    def bids(self, shares: int = 400) -> None:
        """Quote so many shares a level."""
        self.scene.on.do("depth", shares=shares, market=self.market)

    def _decided(self) -> int:
        return int(self.scene.on.value("SELECT COUNT(*) FROM decision"))

    def reached(self, *, seconds: float | None = None) -> None:
        """Wait until we hold what we should, and no less at any time; then come to rest."""
        law(self.scene, self._at_target, "our shares equal the target", self.said, seconds=seconds)
        self.rest()

    def rest(self) -> None:
        """Come to rest and judge every law of exits."""
        try:
            self.scene.rest()
        except TimedOut as error:
            raise LawBroken(str(error)) from None
        if not self._at_target():
            raise LawBroken(f"at rest our shares do not equal the target: {self.said()}")
        self.above_floor()
        if problems := self.scene.judge().problems:
            raise LawBroken("; ".join(problems)[:500])

    def _at_target(self) -> bool:
        here, wanted = self.shares(), self.wanted()
        if here < wanted - CENT:
            raise LawBroken(f"more was sold than the leader's part: {self.said()}")
        return here <= wanted + CENT

    def said(self) -> str:
        """Return what we hold and what we should."""
        here, wanted = self.shares(), self.wanted()
        return f"{decimal_text(here)} shares at the exchange, {decimal_text(wanted)} wanted"

    def above_floor(self) -> None:
        """Raise LawBroken if anything was sold too far below the leader's own price."""
        floor = self.exit_price * FLOOR_PERCENT // 100
        for row in self.scene.on.rows(
            "SELECT shares, usdc FROM fill WHERE side = 'SELL' AND settlement <> 'failed'"
            " AND token = ?",
            self.token,
        ):
            price = row["usdc"] * MICRO // row["shares"]
            if price < floor:
                sold, at = decimal_text(row["shares"]), decimal_text(price)
                raise LawBroken(f"{sold} shares sold at {at}, the floor is {decimal_text(floor)}")

    def keeps(self, seconds: float) -> None:
        """Let time pass in which nothing may be sold beyond the target or below the floor."""

        def passed() -> bool:
            self._at_target()
            self.above_floor()
            return time.monotonic() > until

        until = time.monotonic() + seconds
        self.scene.until(passed, "time passes", seconds=seconds + 30)

    def untouched(self, seconds: float, why: str) -> None:
        """Let so much time pass in which nothing at all may be sold."""
        held, until = self.shares(), time.monotonic() + seconds

        def passed() -> bool:
            self.above_floor()
            if self.shares() != held:
                raise LawBroken(f"{why}, and something was sold: {self.said()}")
            return time.monotonic() > until

        self.scene.until(passed, "time passes", seconds=seconds + 30)


def law(
    scene: Scene,
    condition: Callable[[], Any],
    what: str,
    said: Callable[[], str] = lambda: "",
    *,
    seconds: float | None = None,
) -> None:
    """Wait for what a drill is about; raises LawBroken with what is there instead."""
    try:
        scene.until(condition, what, seconds=seconds)
    except TimedOut as error:
        late = str(error).split(";")[0]
        raise LawBroken(f"{late}; {said()}" if said() else late) from None


def hold(scene: Scene, *, market: int = 0, usdc: int = 60, alone: bool = False) -> Stake:
    """Follow two leaders into one token, or one `alone`, and return what we hold by whom."""
    stake = Stake(scene, market)
    for leader in (0,) if alone else (0, 2):
        scene.trade(leader, market, usdc=usdc)
        scene.until(partial(_grown, stake, stake.ours), "an entry is booked")
        if leader == stake.leader:
            stake.ours, stake.leader_had = stake.shares(), stake.net()
    stake.theirs = stake.shares() - stake.ours
    return stake


def _grown(stake: Stake, held: int) -> bool:
    return stake.shares() > held and booked(stake)


def booked(stake: Stake) -> bool:
    """Return whether nothing is on its way and the ledger holds what the exchange holds."""
    here = stake.scene.on.value(
        "SELECT COALESCE(SUM(shares), 0) FROM position WHERE token = ?", stake.token
    )
    return bool(stake.scene.on.truth()["settled"] and here == stake.shares())


def botctl(scene: Scene, *words: str) -> str:
    """Run an operator's command, and return what it says."""
    program = Path(sys.executable).with_name("botctl")
    home = str(scene.on.home.path)
    done = subprocess.run(
        [program, "--home", home, *words], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


def cold(scene: Scene) -> None:
    """Let the executor forget the facts and books that it keeps in memory."""
    scene.kill("executor")
    scene.back("executor")


def exit_drill(
    name: str,
    what: str,
    act: Callable[[Scene], str],
    finding: str = "",
    overrides: Overrides | None = None,
    plan: Mapping[str, Any] | None = None,
) -> Drill:
    """Return a drill; one with a finding does not wait long for what will not come."""
    patience = SHORT_S if finding else PATIENCE_S
    found = Drill(f"exits.{name}", what, act, overrides or {}, plan or {}, finding=finding)
    return replace(found, patience_s=patience)


def ways(
    family: str,
    act: Callable[..., str],
    finding: str = "",
    overrides: Overrides | None = None,
    plan: Mapping[str, Any] | None = None,
    **whats: str,
) -> list[Drill]:
    """Return a drill for each way of leaving that says something of its own here."""
    return [
        exit_drill(f"{family}.{how}", what, partial(act, how=how), finding, overrides, plan)
        for how, what in whats.items()
    ]
