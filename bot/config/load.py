"""Read the configuration: defaults, then the file, then the environment.

Every problem in a line of its own.
"""

import difflib
import os
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bot.config.schema import ENV_PREFIX, Settings, section_of
from bot.errors import ConfigError
from bot.model.units import printable

#: Variables that are no settings; anything else that starts with BOT_ is a mistake.
OTHER_ENV = frozenset(
    {
        "BOT_FAILPOINTS",
        "BOT_HOME",
        "BOT_CONFIG",
        "BOT_PYTHON",
        "BOT_CODE",
        "BOT_PRIVATE_KEY",
        "BOT_PRIVATE_KEY_FILE",
        "BOT_I_UNDERSTAND",
    }
)


def load(path: Path | None) -> Settings:
    """Read the file (None: defaults and environment only) and return checked settings.

    Raises ConfigError with one line per problem: the field, what was expected, what was found
    and, for an unknown name, the nearest known one.
    """
    document = _read(path)
    problems = [_unknown(name.split(".")) for name in _stray_env()]
    for name in os.environ:
        if name.startswith("BOT_") and not name.startswith(ENV_PREFIX) and name not in OTHER_ENV:
            problems.append(
                f"{printable(name)}: unknown variable; settings are BOT__SECTION__KEY,"
                " two underscores"
            )
    try:
        if problems:
            raise ConfigError("; ".join(problems))
        return Settings(**document)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(item) for item in error.errors())) from None


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {printable(error)}") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; give another with --config"
        ) from None


def _explain(item: Any) -> str:
    path = [str(part) for part in item["loc"]]
    name = ".".join(path) or "settings"
    if item["type"] == "extra_forbidden":
        return _unknown(path)
    found = item.get("input")
    said = "found" in item["msg"]
    shown = (
        ""
        if said or found is None or isinstance(found, (dict, BaseModel))
        else f", found {printable(found, 60)!r}"
    )
    return f"{name}: {item['msg'].removeprefix('Value error, ').removeprefix('value: ')}{shown}"


def _unknown(path: list[str]) -> str:
    depth = next(
        i for i, part in enumerate(path) if not part.isdigit() and part not in _children(path[:i])
    )
    known = _children(path[:depth])
    near = difflib.get_close_matches(path[depth], known, 1, 0.5)
    hint = (
        f"did you mean {'.'.join([*path[:depth], near[0]])}?"
        if near
        else f"known here: {', '.join(known)}"
    )
    return f"{printable('.'.join(path))}: unknown setting; {hint}"


def _children(path: list[str]) -> list[str]:
    model: type[BaseModel] | None = Settings
    for part in path:
        if model is not None and not part.isdigit():
            field = model.model_fields.get(part)
            model = section_of(field) if field else None
    return sorted(model.model_fields) if model else []


def _stray_env() -> list[str]:
    names = [
        n[len(ENV_PREFIX) :].lower().replace("__", ".")
        for n in os.environ
        if n.startswith(ENV_PREFIX)
    ]
    return [n for n in names if n.split(".")[-1] not in _children(n.split(".")[:-1])]


def origins(path: Path | None) -> dict[str, str]:
    """Return for each top-level `section.key` that is set where it comes from: env name or file."""
    found: dict[str, str] = {}
    for section, values in _read(path).items():
        for key in values if isinstance(values, dict) else [None]:
            found[f"{section}.{key}" if key else section] = str(path)
    for name in os.environ:
        if name.startswith(ENV_PREFIX):
            found[name[len(ENV_PREFIX) :].lower().replace("__", ".")] = name
    return found
