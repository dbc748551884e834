"""The settings as a table for people: what there is, and what is in force."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from tempagg_pipeline.core.settings import LOCAL_STATE, Settings, load_settings


class _Row(NamedTuple):
    section: str
    variable: str
    field: FieldInfo
    value: object


def markdown_table() -> str:
    """Name, default and meaning of every setting, one table a section."""
    lines: list[str] = []
    for name, section in Settings.model_fields.items():
        lines += [f"## {_title(section)}", "", "| variable | default | meaning |", "|---|---|---|"]
        for row in _rows(None):
            if row.section == name:
                lines.append(f"| `{row.variable}` | {_default(row.field)} | {row.field.description} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def values_in_force() -> str:
    """Every variable with its value; of a secret only whether it is set.

    Raises:
        SettingsError: a variable has a wrong value.
    """
    return "\n".join(f"{row.variable}={_shown(row.value)}" for row in _rows(load_settings()))


def _rows(values: Settings | None) -> Iterator[_Row]:
    for name, section in Settings.model_fields.items():
        fields: dict[str, FieldInfo] = section.annotation.model_fields  # pyright: ignore
        for field_name, field in fields.items():
            value = getattr(getattr(values, name), field_name) if values else None
            yield _Row(name, _variable(field), field, value)


def _title(section: FieldInfo) -> str:
    return (section.annotation.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _variable(field: FieldInfo) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else str(alias)


def _default(field: FieldInfo) -> str:
    if field.default is None:
        return "—"
    if isinstance(field.default, Path) and field.default.is_relative_to(LOCAL_STATE.parent):
        return f"`{field.default.relative_to(LOCAL_STATE.parent)}`"
    return f"`{field.default}`"


def _shown(value: object) -> str:
    if value is None:
        return ""
    return "(set)" if isinstance(value, SecretStr) else str(value)
