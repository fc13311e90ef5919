"""The life of a worker process: logging, boot row, crash-loop brake, heartbeat, signals, exit code.

`run` is the only place that catches every exception. A worker is a coroutine that works until
`Boot.stopping` is set; everything it must remember is in the ledger before it acts.
"""

import asyncio
import ctypes
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from bot import failpoints
from bot.config.home import Home, find_config, find_home
from bot.config.load import load
from bot.config.schema import RuntimeSettings, Settings
from bot.errors import BotError, ConfigError, LedgerAway, LedgerError
from bot.ledger import control
from bot.ledger.db import Ledger, Tx
from bot.ledger.files import busy
from bot.liveness import born_us
from bot.logs import logging_to_stdout
from bot.model.control import ControlMode
from bot.model.units import MICRO
from bot.process import Notify, collect_seldom, handles, pss_bytes
from bot.queue import Message, Ping, serve
from bot.watchdog import Watchdog

logger = structlog.get_logger(__name__)

#: supervisord honours exit codes only after `startsecs` (3): a bad configuration lives a little
#: longer.
CONFIG_ERROR_LIFE_S = 4.0
#: A worker's share of memory is measured so often.
WEIGH_US = 10 * MICRO
_BORN = time.monotonic()
#: After a crash loop the next attempt waits this long, or until the operator resumes.
BRAKE_S = 30.0
#: And entries stop until so much time has passed without another crash.
CRASH_PAUSE_S = 600
#: How often a ledger that is away (disk full, locked, read-only) is tried again.
LEDGER_RETRY_S = 1.0
#: So many bytes must be free before a worker begins again after its disk was full.
ROOM = 1 << 18
_PR_SET_PDEATHSIG = 1


def now_us() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


@dataclass
class Boot:
    """One life of a worker, as its body sees it."""

    worker: str
    settings: Settings
    home: Home
    ledger: Ledger
    id: int
    stopping: asyncio.Event
    watchdog: Watchdog  #: guards other workers for as long as this process lives
    #: Called for every message on the worker's socket but Ping, before it is acknowledged.
    on_message: Callable[[Message], Awaitable[str]] | None = None
    state: str = "starting"
    trouble: str = ""  #: what it waits for, told over the socket where the ledger cannot be written
    detail: Callable[[], Mapping[str, object]] = dict  #: gauges of its own, for the status screen
    progressed: Callable[[], int | None] = lambda: None  #: when work got done, microseconds
    progress_us: int | None = None  #: the last that it told
    ready_us: int | None = None
    _pss: int = 0
    _weighed_us: int = 0  #: when that was measured: the kernel adds up pages for milliseconds
    _notify: Notify = field(default_factory=lambda: Notify(os.environ.get("NOTIFY_SOCKET")))

    async def ready(self, state: str = "running") -> None:
        """Say that work has begun."""
        collect_seldom()
        self.state, self.trouble, self.ready_us = state, "", now_us()
        self.progress_us = self.ready_us
        self._notify.send("READY=1")
        await self.beat()

    async def beat(self) -> None:
        """Store that the loop turns and when it last got work done."""
        at = now_us()
        if (told := self.progressed()) is not None:
            self.progress_us = min(at, max(told, self.progress_us or 0))
        if not self._weighed_us <= at < self._weighed_us + WEIGH_US:
            self._weighed_us, self._pss = at, pss_bytes()
        gauges = {
            "pss_bytes": self._pss,
            "handles": handles(),
            "tasks": len(asyncio.all_tasks()),
            "beat_s": self.settings.runtime.beat_s,
        }
        detail = json.dumps({**self.detail(), **gauges})
        await self.ledger.transact(
            control.beat,
            self.id,
            self.state,
            detail,
            now_us=at,
            progress_us=self.progress_us,
            ready_us=self.ready_us,
        )
        self._notify.send("WATCHDOG=1")


def end_with_supervisor(home: Home) -> None:
    """Be asked to stop when supervisord dies.

    Orphans would hold the sockets against its successor.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    pid_file = home.run / "supervisord.pid"
    if pid_file.exists() and pid_file.read_text().strip() != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGTERM)  # it died while this process was being born


def run(
    worker: str, body: Callable[[Boot], Awaitable[None]], *, watches: tuple[str, ...] = ()
) -> int:
    """Live one life of a worker and return its exit code: 0, 1, 75 or 78 (see `bot.errors`).

    It guards the workers in `watches` all along, also while it waits for the ledger.
    """
    os.umask(0o077)
    home = find_home(None)
    try:
        config = find_config(None, home)
        settings = load(config)
    except ConfigError as error:
        with logging_to_stdout(worker, "INFO", as_json=True):
            logger.error("config.refused", error=str(error), exit_code=error.exit_code)
        _outlive_start()
        return error.exit_code
    with logging_to_stdout(worker, settings.runtime.log_level, settings.runtime.log_json):
        try:
            _arm(settings)
            if "SUPERVISOR_ENABLED" in os.environ:
                end_with_supervisor(home)
            failpoints.reach("worker.started")
            return asyncio.run(_live(worker, body, settings, home, watches))
        except BotError as error:
            logger.error("worker.failed", error=str(error), exit_code=error.exit_code)
            if isinstance(error, ConfigError) or error.exit_code == ConfigError.exit_code:
                _outlive_start()
            return error.exit_code
        except Exception:
            logger.exception("worker.crashed")
            return 1


def _outlive_start() -> None:
    time.sleep(max(0.0, _BORN + CONFIG_ERROR_LIFE_S - time.monotonic()))


def _arm(settings: Settings) -> None:
    folder = os.environ.get(failpoints.ENV)
    if folder and settings.mode == "live":
        raise ConfigError(
            f"{failpoints.ENV}: failpoints are for drills and never armed in mode live; unset it"
        )
    if folder:
        failpoints.arm(Path(folder))


async def _live(
    worker: str,
    body: Callable[[Boot], Awaitable[None]],
    settings: Settings,
    home: Home,
    watches: tuple[str, ...],
) -> int:
    home.create()
    path = home.ledger(settings.mode)
    if not path.exists():
        raise ConfigError(f"ledger {path}: not there; run botctl up, which creates it")
    stopping = asyncio.Event()
    _listen(stopping)
    watchdog = Watchdog(home, watches, hung_s=settings.runtime.hung_s)
    boot = Boot(worker, settings, home, Ledger(path), 0, stopping, watchdog)
    # The socket first: a second worker of this name must fail before it leaves a boot row, and a
    # worker without a ledger must be able to say so.
    served = serve(home.socket(worker), lambda message: _receive(boot, message))
    try:
        async with served, asyncio.TaskGroup() as group:
            # A guard that ends takes this life with it: nobody would know that nobody looks.
            guard = group.create_task(watchdog.guard(), name="watchdog.guard")
            code = await _lives(boot, body)
            guard.cancel()
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    return code


async def _lives(boot: Boot, body: Callable[[Boot], Awaitable[None]]) -> int:
    path = boot.ledger.path
    while not boot.stopping.is_set():
        try:
            async with boot.ledger.open():
                boot.id = await _begin(boot.ledger, boot.worker, boot.settings, _booted_us())
                failpoints.reach("worker.booted")
                return await _recorded(boot, body)
        except LedgerAway as error:
            boot.state, boot.trouble = "waiting", str(error)
            logger.warning("ledger.away", error=str(error), retry_s=LEDGER_RETRY_S)
            await _pause(boot.stopping, LEDGER_RETRY_S)
            if boot.id:
                # Its boot is stored: another life begins clean, once there is room for one. A
                # disk that is full by a few pages takes a boot row, and nothing after it.
                while not boot.stopping.is_set() and not await asyncio.to_thread(_room, path):
                    await _pause(boot.stopping, LEDGER_RETRY_S)
                raise
    return 0


def _room(path: Path) -> bool:
    """Return whether a ledger can be written, and its disk takes more than a few pages."""
    if busy(path) is not None:
        return False
    probe = path.with_name(f"{path.name}.probe")
    try:
        probe.write_bytes(bytes(ROOM))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


async def _recorded(boot: Boot, body: Callable[[Boot], Awaitable[None]]) -> int:
    """Run the body; however it ends, store how."""
    code, detail = 1, "crashed"
    try:
        await _supervised(boot, body)
        code, detail = 0, "asked to stop"
    except BaseExceptionGroup as group:
        error = _first(group)
        code, detail = getattr(error, "exit_code", 1), f"{type(error).__name__}: {error}"
        raise error from None
    except BotError as error:
        code, detail = error.exit_code, f"{type(error).__name__}: {error}"
        raise
    finally:
        await _end_boot(boot, code, detail)
    return code


async def _end_boot(boot: Boot, code: int, detail: str) -> None:
    at = now_us()
    try:
        await boot.ledger.transact(control.end_boot, boot.id, code, detail[:500], now_us=at)
    except LedgerError as error:
        # The row stays open, as after a kill; why the worker ended must not be covered up.
        logger.error("boot.end_not_stored", error=str(error))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _begin(ledger: Ledger, worker: str, settings: Settings, booted_us: int) -> int:
    """Insert the boot row; where too many boots ended badly, entries stop for a while."""
    limits = settings.runtime
    at = now_us()

    def begin(tx: Tx) -> int:
        unclean = _unclean(tx, worker, limits, booted_us)
        if unclean >= limits.crash_boots:
            window = f"{unclean} times in {limits.crash_window_s} s"
            reason = f"crash_loop: {worker} ended badly {window}"
            # Entries only, and for a while: exits must not stop for somebody else's fault.
            control.steer(
                tx,
                ControlMode.PAUSED,
                reason=reason,
                actor=worker,
                now_us=at,
                until_us=at + CRASH_PAUSE_S * MICRO,
            )
            text = f"{reason}; entries stop for {CRASH_PAUSE_S // 60} quiet minutes, exits go on"
            control.alert(tx, f"crash_loop:{worker}", "critical", text, now_us=at)
        else:
            control.clear_alerts(tx, set(), f"crash_loop:{worker}", now_us=at)
        return control.boot(tx, worker, os.getpid(), born_us(), settings.fingerprint(), now_us=at)

    return await ledger.transact(begin)


def _unclean(tx: Tx, worker: str, limits: RuntimeSettings, booted_us: int) -> int:
    """Return how many lives have ended badly of late. Those before a reboot were nobody's fault."""
    since = max(now_us() - limits.crash_window_s * MICRO, booted_us)
    return control.unclean_boots(tx, worker, since)


def _booted_us() -> int:
    import psutil

    return int(psutil.boot_time() * MICRO)


def _listen(stopping: asyncio.Event) -> None:
    def stop() -> None:
        if stopping.is_set():
            # The second signal: the operator does not want to wait. Rows carry on from here.
            os._exit(130)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


async def _receive(boot: Boot, message: Message) -> str:
    if isinstance(message, Ping):
        return f"{boot.state}: {boot.trouble}" if boot.trouble else boot.state
    return await boot.on_message(message) if boot.on_message is not None else ""


async def _brake(boot: Boot) -> None:
    """After a crash loop: wait before the next attempt, or until the operator resumes."""
    limits, began = boot.settings.runtime, time.monotonic()

    booted_us = _booted_us()

    def looping(tx: Tx) -> bool:
        stopped = control.read(tx, now_us=now_us()).mode is not ControlMode.RUNNING
        return stopped and _unclean(tx, boot.worker, limits, booted_us) > limits.crash_boots

    while (
        await boot.ledger.look(looping)
        and time.monotonic() - began < BRAKE_S
        and not boot.stopping.is_set()
    ):
        boot.state, boot.trouble = (
            "braked",
            f"crash loop: the next attempt comes within {BRAKE_S:.0f} s",
        )
        await _pause(boot.stopping, 1)
    boot.state, boot.trouble = "starting", ""


async def _supervised(boot: Boot, body: Callable[[Boot], Awaitable[None]]) -> None:
    async def beating() -> None:
        while True:
            await asyncio.sleep(boot.settings.runtime.beat_s)
            await boot.beat()

    async with asyncio.TaskGroup() as group:
        heart = group.create_task(beating())
        await _brake(boot)
        await body(boot)
        boot.state = "stopping"
        boot._notify.send("STOPPING=1")
        heart.cancel()


async def until_stopped(boot: Boot, *tasks: Awaitable[None]) -> None:
    """Run background tasks until the worker is asked to stop.

    A task that ends or fails ends the worker.
    """
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(_endless(task)) for task in tasks]
        await boot.stopping.wait()
        for task in running:
            task.cancel()


async def _endless(work: Awaitable[None]) -> None:
    await work
    raise RuntimeError("a background task ended by itself")
