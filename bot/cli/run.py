"""Verbs that steer: up, down, pause, resume, halt. Each is safe to repeat and says what changed."""

import asyncio
import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from bot import failpoints, report, supervise
from bot.cli.output import Cli, cli, emit
from bot.cli.where import ledger_path
from bot.config.load import load
from bot.config.schema import Settings
from bot.config.secrets import KEY_ENV, KEY_FILE_ENV
from bot.errors import ConfigError, NotRunning, UsageError
from bot.model.units import MICRO, money, rfc3339, utc_day
from bot.report.status import status as first_screen

Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]
Reason = Annotated[str, typer.Option("--reason", help="stored with the change", show_default=False)]
ACKNOWLEDGE_ENV = "BOT_I_UNDERSTAND"


def up(
    context: typer.Context,
    yes: Yes = False,
    wait: Annotated[
        int, typer.Option("--wait", min=0, max=600, help="wait this long for all workers, seconds")
    ] = 60,
) -> None:
    """Create or migrate the ledger and start the three workers under supervisord."""
    options = cli(context)
    settings = _checked(options)
    supervise.check_free(options.home)
    if settings.mode == "live" and not _acknowledged(options, settings):
        _acknowledge(settings, yes)
    from bot.ledger.files import migrate

    options.home.create()
    path = options.home.ledger(settings.mode)
    migrate(path, settings.mode)
    if settings.mode == "live" and not _acknowledged(options, settings):
        asyncio.run(_record(options, settings))
    began = _now()
    pid = supervise.start(options.home, options.config).pid
    _await_workers(options, path, began, wait)
    _tell(
        options,
        {"ok": True, "supervisor_pid": pid, "mode": settings.mode},
        f"running ({settings.mode}), supervisor {pid}",
    )


def _checked(options: Cli) -> Settings:
    """Return the settings, if a bot may be started with them; raises ConfigError."""
    if options.config is None:
        raise ConfigError(
            "no configuration: give one with --config, or copy config.example.toml to config.toml"
        )
    settings = load(options.config)
    if not settings.leaders:
        raise ConfigError("leaders: nobody to follow; add [[leaders]] with a wallet")
    if settings.mode == "live" and failpoints.ENV in os.environ:
        raise ConfigError(
            f"{failpoints.ENV}: failpoints are for drills and never armed in mode live; unset it"
        )
    if KEY_ENV in os.environ:
        # supervisord would keep it in its own environment for as long as it lives.
        raise ConfigError(
            f"{KEY_ENV}: not under botctl up; put the key into a file of mode 0600 and name it in"
            f" account.key_file or {KEY_FILE_ENV}, and unset {KEY_ENV}"
        )
    return settings


def _await_workers(options: Cli, path: Path, began_us: int, wait: int) -> None:
    """Return when all run.

    Raises ConfigError, with nothing left running, where one refuses its configuration.
    """
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        with report.read(path) as found:
            workers = first_screen(found).workers
            # Rows of this start only: the last one may have failed for what has been mended since.
            ill = found.rows(
                "SELECT worker, detail FROM boot WHERE started_us >= ? AND exit_code = 78", began_us
            )
        if all(w.state == "running" for w in workers):
            break
        if ill:
            supervise.stop(options.home)
            reason = ill[0]["detail"].split(": ", 1)[-1]
            raise ConfigError(f"{ill[0]['worker']}: {reason}; nothing is left running")
        time.sleep(0.2)
    else:
        if wait:
            late = ", ".join(f"{w.worker} {w.state}" for w in workers if w.state != "running")
            raise NotRunning(
                f"not running after {wait} s: {late}; botctl logs shows why,"
                " botctl down stops the rest"
            )


def _acknowledged(options: Cli, settings: Settings) -> bool:
    """Return whether live trading of this wallet has been acknowledged in this ledger."""
    path = options.home.ledger(settings.mode)
    if not path.exists():
        return False
    with report.read(path) as found:
        said = found.value(
            "SELECT COUNT(*) FROM event WHERE kind = 'live.acknowledged' AND text = ?",
            _words(settings),
        )
        return bool(said)


def _words(settings: Settings) -> str:
    return f"live acknowledged for {settings.account.funder or 'a type 0 wallet'}"


def _acknowledge(settings: Settings, yes: bool) -> None:
    risk = settings.risk
    print(
        f"LIVE: real money. wallet {settings.account.funder or 'the key’s own address (type 0)'}",
        file=sys.stderr,
    )
    print(
        f"limits: {money(risk.max_market_usdc)} USDC a market,"
        f" {money(risk.max_exposure_usdc)} in all,"
        f" {money(risk.max_daily_volume_usdc)} bought a day,"
        f" entries stop at a loss of {money(risk.breaker_loss_usdc)}",
        file=sys.stderr,
    )
    if os.environ.get(ACKNOWLEDGE_ENV) == "live":
        return
    if yes or not sys.stdin.isatty() or input("type live to go on: ").strip() != "live":
        raise ConfigError(
            f"live mode needs an explicit acknowledgement: set {ACKNOWLEDGE_ENV}=live"
        )


async def _record(options: Cli, settings: Settings) -> None:
    from bot.ledger import control
    from bot.ledger.db import Ledger

    now = _now()
    async with Ledger(options.home.ledger(settings.mode)).open() as ledger:
        await ledger.transact(
            lambda tx: control.record(
                tx, "botctl", "live.acknowledged", _words(settings), now_us=now
            )
        )


def down(context: typer.Context) -> None:
    """Stop the workers: no new order is born, what is being sent is settled, then all end."""
    options = cli(context)
    supervise.stop(options.home)
    _tell(options, {"ok": True}, "stopped")


def pause(
    context: typer.Context,
    reason: Reason = "operator",
    for_: Annotated[
        str | None, typer.Option("--for", help="end by itself after e.g. 30m, 2h, 1d")
    ] = None,
) -> None:
    """No entries; leaders' exits are still copied. Survives restarts."""
    until = _now() + span_us(for_) if for_ else None
    _steer(context, "paused", reason, until)


def resume(context: typer.Context, yes: Yes = False, reason: Reason = "operator") -> None:
    """Entries and exits again; resets the breaker. Asks first if the bot was halted."""
    with report.read(ledger_path(cli(context))) as found:
        halted = first_screen(found).control == "halted"
    if (
        halted
        and not yes
        and not (sys.stdin.isatty() and typer.confirm("The bot is halted. Resume trading?"))
    ):
        raise UsageError("the bot is halted; resume needs --yes")
    _steer(context, "running", reason, None)


def halt(context: typer.Context, reason: Reason = "operator") -> None:
    """No orders of any kind until an operator resumes. Survives restarts."""
    _steer(context, "halted", reason, None)


def _steer(context: typer.Context, mode: str, reason: str, until_us: int | None) -> None:
    options = cli(context)
    changed = asyncio.run(_store(options, mode, reason, until_us))
    with report.read(ledger_path(options)) as found:
        now = first_screen(found)
    until = f" until {rfc3339(now.control_until_us)}" if now.control_until_us else ""
    stays = f"{now.control}{until} since {rfc3339(now.control_since_us)} ({now.control_reason})"
    if now.control != mode:
        raise UsageError(f"the bot stays {stays}: a pause does not soften a halt; botctl resume")
    said = {"ok": True, "control": mode, "changed": changed, "until_us": now.control_until_us}
    _tell(options, said, f"{mode}{until} ({reason})" if changed else f"stays {stays}")


async def _store(options: Cli, mode: str, reason: str, until_us: int | None) -> bool:
    from bot.ledger import account, control
    from bot.ledger.db import Ledger, Tx
    from bot.model.control import ControlMode

    def store(tx: Tx) -> bool:
        now = _now()
        if mode == ControlMode.RUNNING:
            realized, _ = account.daily(tx, utc_day(now))
            control.rearm(tx, utc_day(now), realized)
            control.clear_alerts(tx, set(), "breaker:", now_us=now)
            control.clear_alerts(tx, set(), "crash_loop:", now_us=now)
        return control.steer(
            tx,
            ControlMode(mode),
            reason=reason[:200],
            actor="operator",
            now_us=now,
            until_us=until_us,
        )

    async with Ledger(ledger_path(options)).open() as ledger:
        return await ledger.transact(store)


def span_us(text: str, option: str = "--for") -> int:
    """Return a time span like 2h in microseconds; raises UsageError, which names the option."""
    match = re.fullmatch(r"([0-9]{1,5})([smhd])", text.strip())
    if not match:
        raise UsageError(f"{option}: expected a time span like 30m, 2h or 1d, found {text[:40]!a}")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]] * MICRO


def _now() -> int:
    return time.time_ns() // 1000


def _tell(options: Cli, value: dict[str, object], text: str) -> None:
    if options.json:
        emit(value)
    else:
        print(text)


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    for verb in (up, down, pause, resume, halt):
        app.command()(verb)
