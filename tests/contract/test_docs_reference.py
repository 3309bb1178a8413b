"""The generated reference has every setting, error code, operation, schema, command and metric, with a description."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from api.schemas.error_codes import ERROR_CODES
from cli.main import cli
from core.settings import Settings
from core.telemetry.metrics import definitions, job_error_codes
from docs._ext import reference

PAGES = Path(reference.__file__).parents[1] / "reference"


def settings(group: type[BaseModel] = Settings, prefix: str = "ENRICH_") -> Iterator[tuple[str, str, str | None]]:
    """(variable, default, description) in the order of the tree."""
    for name, field in group.model_fields.items():
        key = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings(field.annotation, f"{key}__")
        else:
            yield key, reference.default_text(field.default), field.description


def test_every_setting_is_in_the_reference_word_for_word() -> None:
    page = reference.settings()
    rows = [f"| `{name}` | {default} | {text} |" for name, default, text in settings()]
    assert [row for row in rows if row not in page] == []


def test_every_setting_and_group_is_described() -> None:
    assert [name for name, _, text in settings() if not text] == []
    groups = [field.annotation for field in Settings.model_fields.values()]
    assert [
        group for group in groups if isinstance(group, type) and issubclass(group, BaseModel) and not group.__doc__
    ] == []


def test_every_error_code_is_in_the_reference() -> None:
    requests, _, jobs = reference.errors().partition("## Jobs")
    assert [
        each.code for each in ERROR_CODES if each.status and f"| `{each.code}` | {each.status} |" not in requests
    ] == []
    assert [code for code in job_error_codes() if f"| `{code}` |" not in jobs] == []
    assert "| `fetch_timeout` |" in jobs
    assert all(line.endswith(("| yes |", "| no |")) for line in jobs.splitlines() if line.startswith("| `"))


def test_every_operation_and_schema_is_in_the_reference() -> None:
    page, document = reference.http(), reference.openapi()
    operations = [
        (f"`{method.upper()} {path}`", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    assert len(operations) > 20
    for name, operation in operations:
        assert f"### {operation['summary']}\n\n{name}\n" in page, name
    for schema in document["components"]["schemas"]:
        assert f"\n### {schema}\n" in page


def test_every_command_and_option_is_in_the_reference() -> None:
    page = reference.commands()
    sections = dict(part.split("\n", 1) for part in ("\n" + page).split("\n## ")[1:])
    for name, command in reference.all_commands(cli, "enrich"):
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in sections[name], f"{name} {parameter.opts[0]}"
    assert {"enrich up", "enrich keys create", "enrich webhooks listen", "enrich jobs retry"} < sections.keys()


def test_every_metric_is_in_the_reference() -> None:
    page = reference.metrics()
    assert [each.name for each in definitions() if f"| `{each.name}` | {each.kind} |" not in page] == []
    assert [each.name for each in definitions() if each.text.replace("|", "\\|") not in page] == []


@pytest.mark.parametrize("name", reference.PAGES)
def test_every_generated_part_is_included_by_a_page(name: str, tmp_path: Path) -> None:
    assert f"```{{include}} _generated/{name}.md\n" in (PAGES / f"{name}.md").read_text(encoding="utf-8")
    reference.write(tmp_path)
    assert (tmp_path / f"{name}.md").read_text(encoding="utf-8").startswith("## ")
