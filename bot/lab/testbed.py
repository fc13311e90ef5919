"""A throw-away testbed: a simulated Polymarket, a home, the real workers under a real supervisord.

Demo, drills and storm all play here. Nothing is left behind, neither files nor processes.
"""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from bot import failpoints, report, supervise
from bot.config.home import WORKERS, Home
from bot.errors import BotError, ConfigError, StateUnknown, TimedOut
from bot.ledger.files import migrate
from bot.liveness import living

#: Generous: machines are shared and slow at times.
READY_S = 120.0
PATIENCE_S = 120.0
#: A cancel whose answer nobody stored is proven by its order's expiry alone: six minutes and a lag.
EXPIRY_S = 600.0
#: Set when the program is asked to end: every testbed stops waiting and is taken down at once.
interrupted = threading.Event()
Overrides = Mapping[str, Mapping[str, Any]]


@dataclass
class Testbed:
    """One running bot, the exchange it trades on, and the means to hurt both."""

    home: Home
    config: Path
    address: Mapping[str, Any]
    venue: httpx.Client
    exchange_pid: int
    supervisor: "subprocess.Popen[bytes] | None" = None
    #: Folder of armed failpoints.
    points: Path = field(default_factory=Path)

    @property
    def ledger(self) -> Path:
        """Return the ledger file."""
        return self.home.ledger("demo")

    def do(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Tell the simulation to do something (see bot/sim/director.py).

        Raises ConfigError if it does not know it.
        """
        answer: dict[str, Any] = self.venue.post(
            "/sim/do", json={"order": what, **arguments}
        ).json()
        if "error" in answer:
            raise ConfigError(f"{what}: {answer['error']}")
        return answer

    def truth(self) -> dict[str, Any]:
        """Return what is true at the exchange."""
        found: dict[str, Any] = self.venue.get("/sim/truth").json()
        return found

    def value(self, sql: str, *values: object) -> Any:
        """Return the first column of the first row of a query over the ledger."""
        with report.read(self.ledger) as found:
            return found.value(sql, *values)

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a query over the ledger."""
        with report.read(self.ledger) as found:
            return found.rows(sql, *values)

    def until(
        self, condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE_S
    ) -> None:
        """Wait for a condition.

        Raises TimedOut, with the workers' last words, if it never comes.
        """
        deadline = time.monotonic() + seconds
        while not self._holds(condition):
            if interrupted.is_set():
                raise TimedOut("interrupted")
            if time.monotonic() > deadline:
                raise TimedOut(f"after {seconds:.0f} s still not: {what}; {self.last_words()}")
            time.sleep(0.05)

    @staticmethod
    def _holds(condition: Callable[[], Any]) -> bool:
        try:
            return bool(condition())
        except (BotError, httpx.HTTPError):
            return False  # a ledger or exchange under fire may not answer

    def alive(self, worker: str) -> psutil.Process | None:
        """Return the process of a worker's newest life, or None if it has ended.

        Never a stranger with its pid.
        """
        boot = self.rows(
            "SELECT pid, pid_started_us FROM boot WHERE worker = ? ORDER BY id DESC LIMIT 1", worker
        )[0]
        return living(boot["pid"], boot["pid_started_us"])

    def kill(self, worker: str, number: int = signal.SIGKILL) -> bool:
        """Send a signal to a worker's newest life; return whether there was one to receive it."""
        process = self.alive(worker)
        try:
            if process is not None:
                process.send_signal(number)
        except psutil.NoSuchProcess:
            return False
        return process is not None

    def arm(self, point: str, words: str = "kill") -> None:
        """Let a failpoint strike whoever reaches it next."""
        part = self.points / f".{point}"
        part.write_text(words)
        part.rename(self.points / point)

    def armed(self, point: str) -> bool:
        """Return whether a failpoint has not struck yet."""
        return (self.points / point).exists()

    def spoil_starts(self, after_s: int) -> None:
        """Let workers that are started from now on fail after so many seconds."""
        self._spoiled.write_text(str(after_s))

    def mend_starts(self) -> None:
        """Let workers start again."""
        self._spoiled.unlink()

    @property
    def _spoiled(self) -> Path:
        return self.home.path / "python.spoiled"

    def _python(self) -> Path:
        """Return a Python for the workers that can be spoiled."""
        path, spoiled = self.home.path / "python", shlex.quote(str(self._spoiled))
        path.write_text(
            f'#!/bin/sh\n[ -e {spoiled} ] && sleep "$(cat {spoiled})" && exit 1\n'
            f'exec {shlex.quote(sys.executable)} "$@"\n'
        )
        path.chmod(0o700)
        return path

    def at_work(self, since_us: int = 0) -> bool:
        """Return whether every worker's newest life is ready and not ended.

        It counts if it has begun after `since_us`.
        """
        found = self.value(
            "SELECT COUNT(*) FROM boot b"
            " WHERE id = (SELECT MAX(id) FROM boot WHERE worker = b.worker)"
            " AND ready_us IS NOT NULL AND ended_us IS NULL AND started_us > ?",
            since_us,
        )
        return bool(found == len(WORKERS))

    def up(self, *, wait: bool = True, drilled: bool = True) -> None:
        """Start supervisord and the workers on this home; `drilled`: failpoints may strike them."""
        environment = {"BOT_PYTHON": str(self._python())}
        if drilled:
            environment[failpoints.ENV] = str(self.points)
        began = time.time_ns() // 1000
        self.supervisor = supervise.start(self.home, self.config, environment)
        if wait:
            self.until(
                lambda: self.at_work(began) and self._watching(),
                "the workers are ready",
                seconds=READY_S,
            )

    def _watching(self) -> bool:
        return not self.value(
            # Thousands that an operator follows have their turn while others trade.
            "SELECT COUNT(*) FROM leader l WHERE active = 1 AND listed = 1 AND NOT EXISTS"
            " (SELECT 1 FROM cursor c WHERE c.wallet = l.wallet AND c.source = 'positions')"
        )

    def down(self) -> None:
        """Stop everything; a supervisord that does not answer is killed with what it started."""
        try:
            supervise.stop(self.home)
        except (StateUnknown, TimedOut):
            self.end()
        if self.supervisor is not None:
            self.supervisor.wait(timeout=PATIENCE_S)

    def end(self) -> None:
        """Kill supervisord and all that it has started in one blow, as a power cut does."""
        if self.supervisor is not None and self.supervisor.poll() is None:
            end_tree(self.supervisor.pid)
            self.supervisor.wait(timeout=PATIENCE_S)

    def last_words(self) -> str:
        """Return each worker's last log line."""
        words = []
        for worker in WORKERS:
            path = self.home.log / f"{worker}.log"
            lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
            words.append(f"{worker}: {lines[-1][:300] if lines else 'silent'}")
        return "; ".join(words)


@contextmanager
def set_up(
    plan: Mapping[str, Any],
    *,
    follow: tuple[str, ...] = ("all",),
    overrides: Overrides | None = None,
    folder: Path | None = None,
) -> Iterator[Testbed]:
    """Set a testbed up and take it down again; the workers are started by `Testbed.up`.

    `plan` is the simulation's (see bot/sim/server.py), `overrides` are settings by section,
    `folder` is where the home is made. Raises ConfigError if the plan or the leaders to follow are
    wrong.
    """
    # Short, because socket paths are limited to 107 bytes.
    home = Home(Path(tempfile.mkdtemp(prefix="copybot-", dir=folder)))
    try:
        with (
            _simulation(plan) as (pid, address),
            httpx.Client(base_url=address["clob_url"], timeout=30) as venue,
        ):
            home.create()
            config = _configure(
                home, address, _followed(follow, address["leaders"]), overrides or {}
            )
            found = Testbed(home, config, address, venue, pid, points=home.path / "failpoints")
            found.points.mkdir(mode=0o700)
            migrate(found.ledger, "demo")
            try:
                yield found
            finally:
                if found.supervisor is not None:
                    # Who is interrupted has no time for what is being sent: it is a simulation.
                    found.end() if interrupted.is_set() else found.down()
    finally:
        shutil.rmtree(home.path, ignore_errors=True)


@contextmanager
def _simulation(plan: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bot.sim.server", json.dumps(plan)],
        cwd=supervise.CONF.parent,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        answer = json.loads(
            process.stdout.readline() or '{"error": "the simulated exchange did not start"}'
        )
        if "error" in answer:
            raise ConfigError(answer["error"])
        yield process.pid, answer
    finally:
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a drill may have frozen it
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()


def _followed(follow: tuple[str, ...], leaders: list[str]) -> list[str]:
    known = {wallet.lower(): wallet for wallet in leaders}
    if follow == ("all",):
        return list(known.values())
    if strangers := [w for w in follow if w.lower() not in known]:
        raise ConfigError(
            f"--follow: {strangers[0][:60]!a} trades nowhere in this session;"
            " give `all` or a trader of it"
        )
    return [known[w.lower()] for w in follow]


def _configure(
    home: Home, address: Mapping[str, Any], followed: list[str], overrides: Overrides
) -> Path:
    key = home.path / "key"
    key.touch(0o600)
    key.write_text(address["private_key"])
    kind = address["signature_type"]
    sections: dict[str, dict[str, Any]] = {
        "venue": {
            name: address[name]
            for name in (
                "clob_url",
                "market_ws_url",
                "user_ws_url",
                "data_url",
                "gamma_url",
                "rtds_url",
                "rpc_urls",
                "rpc_ws_urls",
            )
        },
        "account": {
            "signature_type": kind,
            "key_file": str(key),
            **({"funder": address["wallet"]} if kind else {}),
        },
        "detect": {"poll_s": 3 if len(followed) > 10 else 1},
        "execution": {"settle_poll_s": 2, "evidence_lag_s": 2},
    }
    for name, values in overrides.items():
        sections[name] = {**sections.get(name, {}), **values}
    lines = ['mode = "demo"']
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    for wallet in followed:
        lines += ["[[leaders]]", f'wallet = "{wallet}"']
    path = home.path / "config.toml"
    path.touch(0o600)
    path.write_text("\n".join(lines) + "\n")
    return path


def end_tree(pid: int) -> None:
    """Kill a process and everything it started, if it still runs."""
    if psutil.pid_exists(pid):
        parent = psutil.Process(pid)
        parent.suspend()  # else it starts them anew, or its end tells them to end in good order
        for process in (*parent.children(recursive=True), parent):
            process.kill()
