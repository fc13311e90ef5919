"""botctl: register the verbs, read the global options, turn errors into exit codes."""

import difflib
import logging
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer
from typer.exceptions import TyperException

from bot import __version__
from bot.cli import drill, leaders, maintain, observe, positions, proof, run, setup, sources
from bot.cli.output import INTERRUPTED, Cli, emit, fail
from bot.config.home import find_config, find_home
from bot.errors import BotError, ConfigError, UsageError

EXAMPLES = """\
A Polymarket copy-trading bot that remembers, never buys twice, and says why it did not trade.

Examples:

  botctl demo                      watch it work on a simulated exchange\n
  botctl up                        start the three workers\n
  botctl status                    is it alive, what did it do today\n
  botctl why 0x9c1f20              why was this trade copied, or not\n
  botctl pause --for 2h            no entries for two hours, exits go on\n
  botctl halt                      no orders of any kind\n
"""

app = typer.Typer(
    name="botctl",
    help=EXAMPLES,
    invoke_without_command=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", help="configuration file")] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="folder of ledger, sockets and logs")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Global options; they may also follow the verb."""
    found = find_home(home)
    context.obj = Cli(found, find_config(config, found), as_json)
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def version(context: typer.Context) -> None:
    """Print the version."""
    if context.obj.json:
        emit({"version": __version__})
    else:
        print(f"copybot {__version__}")


for verbs in (run, observe, sources, leaders, positions, setup, maintain, proof, drill):
    verbs.register(app)


def main() -> None:
    """Run botctl and exit with a code that scripts can branch on (see the README)."""
    # Screens are not logs: only what goes wrong inside is worth a line on stderr.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    arguments = _globals_first(sys.argv[1:])
    as_json = "--json" in arguments
    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="botctl", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except BotError as error:
        sys.exit(fail(error, as_json=as_json))
    except TyperException as error:
        sys.exit(fail(UsageError(_usage(_message(error))), as_json=as_json))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # `botctl trades | head`: the reader has seen enough.
            sys.stderr.close()
            sys.exit(0)
        path = error.filename or "system"
        problem = ConfigError(
            f"{path}: {error.strerror or error}; check the path and its permissions, or --home"
        )
        sys.exit(fail(problem, as_json=as_json))


def _message(error: TyperException) -> str:
    # Most of its errors name the option in a longer form of their message.
    longer = getattr(error, "format_message", None)
    return str(longer() if longer else error)


def _usage(message: str) -> str:
    """Return a usage error in our words: what was wrong, and the nearest right verb."""
    wrong = (
        message.split("'")[1] if message.startswith("No such command") and "'" in message else None
    )
    if wrong is None:
        return f"{message.rstrip('.')}; try botctl --help"
    known = sorted(getattr(typer.main.get_command(app), "commands", {}))
    near = difflib.get_close_matches(wrong, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"verbs: {', '.join(known)}"
    return f"unknown verb {wrong[:40]!a}; {hint}"


def _globals_first(arguments: list[str]) -> list[str]:
    """Move --json, --config X and --home X before the verb, wherever they were written."""
    front: list[str] = []
    rest: list[str] = []
    items = iter(arguments)
    for item in items:
        if item == "--json" or item.startswith(("--config=", "--home=")):
            front.append(item)
        elif item in ("--config", "--home"):
            front += [item, *[v for v in [next(items, None)] if v is not None]]
        else:
            rest.append(item)
    return front + rest


if __name__ == "__main__":
    main()
