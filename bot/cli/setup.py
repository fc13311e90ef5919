"""Verbs for the configuration: show every value with its origin, check, print an example."""

from typing import Any

import typer
from pydantic import BaseModel

from bot.cli.output import cli, emit, table
from bot.config.load import load, origins
from bot.config.schema import section_of
from bot.errors import ConfigError

config = typer.Typer(help="Show, check or print configuration.", rich_markup_mode=None)


@config.command()
def show(context: typer.Context) -> None:
    """Every value in force and where it comes from. There are no secrets in it."""
    options = cli(context)
    settings, known = load(options.config), origins(options.config)
    rows = [(name, _text(value), known.get(name, "default")) for name, value in _flat("", settings)]
    if options.json:
        emit(
            {
                "config": {
                    name: {"value": value, "origin": origin} for name, value, origin in rows
                },
                "fingerprint": settings.fingerprint(),
            }
        )
    else:
        table(("SETTING", "VALUE", "ORIGIN"), rows)


@config.command()
def check(context: typer.Context) -> None:
    """Exit 0 if the configuration is valid and complete, else 78 with what is wrong."""
    options = cli(context)
    settings = load(options.config)
    if not settings.leaders:
        raise ConfigError("leaders: nobody to follow; add [[leaders]] with a wallet")
    if options.json:
        emit({"ok": True, "mode": settings.mode, "fingerprint": settings.fingerprint()})
    else:
        print(
            f"ok: {settings.mode}, following {len(settings.leaders)},"
            f" config {settings.fingerprint()}"
        )


@config.command()
def example() -> None:
    """Print config.example.toml: every setting with its description and default."""
    from bot.lab.example import example_toml

    print(example_toml(), end="")


def _flat(prefix: str, model: BaseModel) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            found += _flat(f"{prefix}{name}.", value)
        elif section_of(field) and isinstance(value, tuple):
            found.append((f"{prefix}{name}", ", ".join(leader.wallet for leader in value) or "–"))
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _text(value: Any) -> str:
    return "–" if value is None else str(value)


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    app.add_typer(config, name="config")
