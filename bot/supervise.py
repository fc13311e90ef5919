"""supervisord: start it, ask it, stop it, over its Unix socket."""

import asyncio
import fcntl
import http.client
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.config.home import CONFIG_ENV, HOME_ENV, WORKERS, Home
from bot.errors import ConfigError, StateUnknown, TimedOut
from bot.queue import Ping, ask, check_path

CONF = Path(__file__).parents[1] / "supervisord.conf"
#: A call to supervisord waits this long for its answer.
CALL_S = 10.0
#: A ping waits this long for its answer.
PING_S = 2.0
#: A worker that has never answered may still be importing; after this long it is hung.
START_S = 60.0
#: Workers of a supervisor that was killed get this long to drain before a new one starts.
ORPHANS_S = 60.0
_ERRORS = (OSError, xmlrpc.client.Error, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Process:
    """One program as supervisord sees it."""

    name: str
    state: str
    pid: int
    exit_code: int = 0


def check_free(home: Home) -> None:
    """Raise ConfigError unless a bot can be started here: paths short enough, none running."""
    # supervisord links a temporary name beside its socket while it binds.
    check_path(home.socket("supervisor").with_name("supervisor.sock.0000000"))
    if _answers(home):
        raise ConfigError(
            f"{home.path}: already running; botctl status shows it, botctl down stops it"
        )
    deadline = time.monotonic() + ORPHANS_S
    while left := asyncio.run(_orphans(home)):
        # Their supervisor was killed; each was asked to stop by that and is draining.
        if time.monotonic() > deadline:
            raise ConfigError(
                f"{home.path}: {', '.join(left)} of an earlier supervisor still run; end them first"
            )
        time.sleep(0.2)


def refuse_live(home: Home) -> None:
    """Raise ConfigError if anything may have this home's ledger open."""
    if _answers(home) or asyncio.run(_orphans(home)):
        raise ConfigError(f"{home.path}: the bot is running on this ledger; botctl down first")
    with (home.run / "executor.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{home.path}: an executor still holds this ledger; botctl down first"
            ) from None


async def _orphans(home: Home) -> list[str]:
    answers = await asyncio.gather(
        *(ask(home.socket(name), Ping(), timeout_s=PING_S) for name in WORKERS)
    )
    return [name for name, text in zip(WORKERS, answers, strict=True) if text is not None]


def start(
    home: Home,
    config: Path | None,
    environment: Mapping[str, str] | None = None,
    *,
    timeout_s: float = 30,
) -> "subprocess.Popen[bytes]":
    """Start supervisord with the three workers and return its process.

    `environment` is added to what is set here. Raises ConfigError if one is running already or it
    does not come up; its own words are in log/supervisord.log.
    """
    check_free(home)
    home.create()
    variables = {
        **os.environ,
        HOME_ENV: str(home.path),
        "BOT_PYTHON": sys.executable,
        "BOT_CODE": str(CONF.parent),
        **({CONFIG_ENV: str(config)} if config else {}),
        **(environment or {}),
    }
    output = home.log / "supervisord.out"
    with output.open("ab") as sink:
        output.chmod(0o600)
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration",
             str(CONF)],
            env=variables, cwd=home.path, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            start_new_session=True, umask=0o077,
        )  # fmt: skip
    deadline = time.monotonic() + timeout_s
    while not _answers(home):
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()  # what was said not to have started must not start trading later
            process.wait()
            last = (output.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
            raise ConfigError(f"supervisord did not come up: {last[:200]}; see {output}")
        time.sleep(0.05)
    return process


def stop(home: Home, *, timeout_s: float = 60) -> None:
    """Stop the workers in order, then supervisord; return when its socket is gone.

    Raises StateUnknown if nobody answers, TimedOut if it takes longer than allowed.
    """
    try:
        _call(home, "supervisor.shutdown")
    except _ERRORS:
        raise StateUnknown(f"{home.path}: no supervisor answers; nothing to stop") from None
    deadline = time.monotonic() + timeout_s
    while _answers(home) or home.socket("supervisor").exists():
        if time.monotonic() > deadline:
            raise TimedOut(
                f"the workers did not stop within {timeout_s:.0f} s; botctl status shows which"
            )
        time.sleep(0.05)


def processes(home: Home) -> list[Process]:
    """Return the programs; raises StateUnknown if no supervisor answers."""
    try:
        found: Any = _call(home, "supervisor.getAllProcessInfo")
    except _ERRORS:
        raise StateUnknown(f"{home.path}: no supervisor answers") from None
    return [Process(p["name"], p["statename"], p["pid"], p["exitstatus"]) for p in found]


def restart(home: Home, name: str) -> None:
    """Kill one worker the hard way and start it again: it did not answer, so it cannot drain."""
    try:
        _call(home, "supervisor.signalProcess", name, "KILL")
    except _ERRORS:
        raise StateUnknown(f"{home.path}: no supervisor answers") from None


def revive(home: Home, name: str) -> None:
    """Start a worker that supervisord has given up on; raises StateUnknown if that is refused."""
    try:
        _call(home, "supervisor.startProcess", name, False)
    except _ERRORS as error:
        raise StateUnknown(f"{home.path}: {name} was not started: {error}") from None


@dataclass
class Watch:
    """Finds workers that run but do not answer. A hung process stays RUNNING for supervisord."""

    home: Home
    names: tuple[str, ...]
    hung_s: float
    _heard: dict[str, tuple[int, float, bool]] = field(
        default_factory=dict
    )  #: pid, last answer, ever answered

    async def hung(self, found: list[Process], ready: set[int]) -> list[Process]:
        """Ping everybody once and return those that have been silent for too long.

        `ready` are the pids that have begun work: those need not have answered before.
        """
        answers = await asyncio.gather(
            *(ask(self.home.socket(n), Ping(), timeout_s=PING_S) for n in self.names)
        )
        answered = {
            name for name, text in zip(self.names, answers, strict=True) if text is not None
        }
        now, silent = time.monotonic(), []
        for process in found:
            if process.name not in self.names or process.state not in ("STARTING", "RUNNING"):
                continue
            pid, last, ever = self._heard.get(process.name, (0, now, False))
            if process.name in answered or pid != process.pid:
                last, ever = now, process.name in answered
            self._heard[process.name] = (process.pid, last, ever)
            if now - last > (self.hung_s if ever or process.pid in ready else START_S):
                silent.append(process)
        return silent


async def seen(home: Home) -> list[Process]:
    """Return the programs without blocking the loop; none where no supervisor answers.

    Run as plain systemd units there is none: systemd's own watchdog restarts what hangs.
    """
    try:
        return await asyncio.to_thread(processes, home)
    except StateUnknown:
        return []


async def restart_hung(watch: Watch, found: list[Process], ready: set[int]) -> list[Process]:
    """Kill the workers that do not answer, so that supervisord starts them anew; return which."""
    silent = await watch.hung(found, ready)
    for process in silent:
        try:
            await asyncio.to_thread(restart, watch.home, process.name)
        except StateUnknown:
            continue  # it ended by itself meanwhile
    return silent


def _answers(home: Home) -> bool:
    try:
        return bool(_call(home, "supervisor.getState"))
    except _ERRORS:
        return False


def _call(home: Home, method: str, *arguments: str | bool) -> Any:
    transport = _Transport(str(home.socket("supervisor")))
    try:
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        name: Any = proxy
        for part in method.split("."):
            name = getattr(name, part)
        return name(*arguments)
    finally:
        transport.close()


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket that gives up.

    A frozen supervisord must not freeze who asks it.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _Connection(self._path)
        self._connection = host, connection  # what `close` closes
        return connection


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CALL_S)
        self._path = path

    def connect(self) -> None:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(self.timeout)
            opened.connect(self._path)
        except OSError:
            opened.close()
            raise
        self.sock = opened
