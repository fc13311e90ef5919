"""supervisord: start it, ask it, stop it, over its Unix socket."""

import http.client
import os
import subprocess
import sys
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.errors import ConfigError, StateUnknown, TimedOut
from bot.home import CONFIG_ENV, HOME_ENV, Home
from bot.queue import check_path

CONF = Path(__file__).parents[1] / "supervisord.conf"
_ERRORS = (OSError, xmlrpc.client.Error, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Process:
    """One program as supervisord sees it."""

    name: str
    state: str
    pid: int


def check_free(home: Home) -> None:
    """Raise ConfigError unless a bot can be started here: paths short enough, none running."""
    # supervisord links a temporary name beside its socket while it binds.
    check_path(home.socket("supervisor").with_name("supervisor.sock.0000000"))
    if _answers(home):
        raise ConfigError(f"{home.path}: already running; botctl status shows it, botctl down stops it")


def start(home: Home, config: Path | None, *, timeout_s: float = 30) -> int:
    """Start supervisord with the three workers and return its pid.

    Raises ConfigError if one is running already or it does not come up; its own words are in
    log/supervisord.log.
    """
    check_free(home)
    home.create()
    environment = {
        **os.environ,
        HOME_ENV: str(home.path),
        "BOT_PYTHON": sys.executable,
        "BOT_CODE": str(CONF.parent),
        **({CONFIG_ENV: str(config)} if config else {}),
    }
    output = home.log / "supervisord.out"
    with output.open("ab") as sink:
        output.chmod(0o600)
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(CONF)],
            env=environment, cwd=home.path, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + timeout_s
    while not _answers(home):
        if process.poll() is not None or time.monotonic() > deadline:
            last = (output.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
            raise ConfigError(f"supervisord did not come up: {last[:200]}; see {output}")
        time.sleep(0.05)
    return process.pid


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
            raise TimedOut(f"the workers did not stop within {timeout_s:.0f} s; botctl status shows which")
        time.sleep(0.05)


def processes(home: Home) -> list[Process]:
    """Return the programs; raises StateUnknown if no supervisor answers."""
    try:
        found: Any = _call(home, "supervisor.getAllProcessInfo")
    except _ERRORS:
        raise StateUnknown(f"{home.path}: no supervisor answers") from None
    return [Process(p["name"], p["statename"], p["pid"]) for p in found]


def restart(home: Home, name: str) -> None:
    """Kill one worker the hard way and start it again: it did not answer, so it cannot drain."""
    try:
        _call(home, "supervisor.signalProcess", name, "KILL")
    except _ERRORS:
        raise StateUnknown(f"{home.path}: no supervisor answers") from None


def _answers(home: Home) -> bool:
    try:
        return bool(_call(home, "supervisor.getState"))
    except _ERRORS:
        return False


def _call(home: Home, method: str, *arguments: str) -> Any:
    # Imported here: it costs 0.1 s, and reading verbs do not need it.
    from supervisor.xmlrpc import SupervisorTransport

    transport = SupervisorTransport(None, None, serverurl=f"unix://{home.socket('supervisor')}")
    try:
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        name: Any = proxy
        for part in method.split("."):
            name = getattr(name, part)
        return name(*arguments)
    finally:
        transport.close()
