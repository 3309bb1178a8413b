"""README's table of settings is the settings tree: each row is checked word for word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from core.settings import Settings

README = Path(__file__).parents[2] / "README.md"


def rows(group: type[BaseModel] = Settings, prefix: str = "ENRICH_") -> Iterator[str]:
    """The table's rows in the order of the tree."""
    for name, field in group.model_fields.items():
        key = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from rows(field.annotation, f"{key}__")
        else:
            yield f"| `{key}` | {default_text(field.default)} | {field.description} |"


def default_text(default: Any) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None:
        return "–"
    if isinstance(default, bool | tuple):
        default = json.dumps(default)
    return f"`{default}`"


def test_every_setting_stands_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    missing = [row for row in rows() if row not in text]
    assert not missing, "add to README.md's table of settings:\n" + "\n".join(missing)


def test_every_setting_is_described() -> None:
    assert not [row for row in rows() if "None |" in row]


if __name__ == "__main__":
    print("\n".join(rows()))
