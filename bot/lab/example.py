"""config.example.toml, generated from the settings model."""

from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bot.config.schema import LeaderSettings, Settings, section_of
from bot.model.units import decimal_text

HEAD = (
    "Every setting with its default. Copy to config.toml and change what you need.",
    "Each can be set as BOT__SECTION__KEY in the environment, which wins over this file.",
    "Lines that are commented out have no default.",
)


def example_toml() -> str:
    """Return the example configuration; a test holds the file in the repository against it."""
    document = tomlkit.document()
    for line in HEAD:
        document.add(tomlkit.comment(line))
    document.add(tomlkit.nl())
    _fill(document, Settings)
    leader = tomlkit.table()
    _fill(leader, LeaderSettings)
    leader["wallet"] = "0x0000000000000000000000000000000000000001"
    leaders = tomlkit.aot()
    leaders.append(leader)
    document["leaders"] = leaders
    return tomlkit.dumps(document)


def _fill(table: Any, model: type[BaseModel]) -> None:
    sections = []
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is not None:
            sections.append((name, field, section))
            continue
        table.add(tomlkit.comment(f"{field.description}{_bounds(field)}"))
        value = None if field.default is PydanticUndefined else field.default
        if value is None:
            table.add(tomlkit.comment(f"{name} ="))
        else:
            table.add(name, _toml(value, field))
    for name, field, section in sections:
        if field.annotation is not None and "tuple" in str(field.annotation):
            continue
        inner = tomlkit.table()
        if name == "contracts":
            inner.add(tomlkit.comment(str(field.description)))
        _fill(inner, section)
        table.add(name, inner)


def _toml(value: Any, field: FieldInfo) -> Any:
    # Decimal settings are integers in millionths inside; people write numbers.
    if isinstance(value, int) and not isinstance(value, bool) and _is_decimal(field):
        text = decimal_text(value)
        return tomlkit.value(text)
    return str(value) if isinstance(value, Path) else value


def _is_decimal(field: FieldInfo) -> bool:
    return any(type(item).__name__ == "BeforeValidator" for item in field.metadata)


def _bounds(field: FieldInfo) -> str:
    found = {
        name: getattr(item, name)
        for item in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(item, name)
    }
    if "ge" in found and "le" in found:
        return f" ({found['ge']} to {found['le']})"
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, (str, int)) for choice in choices):
        return f" ({', '.join(str(choice) for choice in choices)})"
    return ""
