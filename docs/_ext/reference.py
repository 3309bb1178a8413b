"""Sphinx extension that writes the reference pages' content from the code, at each build.

Each function returns Markdown. The committed pages docs/reference/*.md include the files written to
docs/reference/_generated, which git ignores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, SecretStr

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "reference" / "_generated"


def setup(app: Any) -> dict[str, Any]:
    """Registers the extension with Sphinx."""
    app.connect("builder-inited", lambda _: write())
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(folder: Path = FOLDER) -> None:
    """Writes every page that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        path, text = folder / f"{name}.md", make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; empty without rows."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(headings)} |", "|" + "---|" * len(headings), *lines])


def paragraphs(*parts: str) -> str:
    """Joins the parts that are not empty."""
    return "\n\n".join(part for part in parts if part) + "\n"


# Settings


def settings() -> str:
    """Every setting, by group, from the descriptions in core/settings.py."""
    from core.settings import Settings

    parts, single = [], []
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            parts += [
                f"## {name}",
                group.__doc__ or "",
                _settings_table(_setting_rows(group, f"ENRICH_{name.upper()}__")),
            ]
        else:
            single.append(_setting_row(f"ENRICH_{name.upper()}", field))
    return paragraphs(*parts, "## log", "Format and level of the logs.", _settings_table(single))


def _settings_table(rows: Iterable[Sequence[str]]) -> str:
    return table(["variable", "default", "meaning"], rows)


def _setting_rows(group: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in group.model_fields.items():
        yield _setting_row(f"{prefix}{name.upper()}", field)


def _setting_row(variable: str, field: Any) -> tuple[str, str, str]:
    return f"`{variable}`", default_text(field.default), str(field.description)


def default_text(default: Any) -> str:
    """A setting's default as one writes it in the environment; a dash for none."""
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None:
        return "–"
    if isinstance(default, bool | tuple):
        default = json.dumps(default)
    return f"`{default}`"


# Errors


def errors() -> str:
    """Every error code, of requests and of jobs."""
    from api.schemas.error_codes import ERROR_CODES
    from core.telemetry.metrics import job_error_codes

    retried = _retryable_codes()
    request_rows = [
        (f"`{each.code}`", str(each.status), each.meaning, each.advice) for each in ERROR_CODES if each.status
    ]
    job_rows = [
        (f"`{each.code}`", each.meaning, each.advice, "yes" if each.code in retried else "no")
        for each in ERROR_CODES
        if each.code in job_error_codes()
    ]
    return paragraphs(
        "## Requests",
        "The member `code` of a problem document.",
        table(["code", "status", "meaning", "what to do"], request_rows),
        "## Jobs",
        "The member `error.code` of a failed job. Some codes exist for requests, too.",
        table(["code", "meaning", "what to do", "retried"], job_rows),
    )


def _retryable_codes() -> set[str]:
    from core.errors import JobError

    def below(base: type[JobError]) -> Iterator[type[JobError]]:
        for each in base.__subclasses__():
            yield each
            yield from below(each)

    return {error.code for error in below(JobError) if error.retryable}


# HTTP


def openapi() -> dict[str, Any]:
    """Returns the OpenAPI document that the service serves."""
    from api.app import create_app
    from api.services import services_of
    from core.settings import Settings

    app = create_app(Settings())
    try:
        document: dict[str, Any] = dict(app.spec)  # type: ignore[arg-type]
        return document
    finally:
        services_of(app).close()


def http() -> str:
    """Every operation and schema of the OpenAPI document."""
    document = openapi()
    parts = []
    for tag in document["tags"]:
        parts += [f"## {tag['name']}", tag["description"]]
        for path, item in sorted(document["paths"].items()):
            for method, operation in item.items():
                if tag["name"] in operation["tags"]:
                    parts.append(_operation(f"{method.upper()} {path}", operation))
    parts.append("## Schemas")
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return paragraphs(*parts)


def _operation(name: str, operation: dict[str, Any]) -> str:
    parameters = [
        (f"`{each['name']}`", each["in"], _type(each["schema"]), each.get("description", ""))
        for each in operation["parameters"]
    ]
    answers = [(status, _body(answer), answer["description"]) for status, answer in operation["responses"].items()]
    body = operation.get("requestBody", {})
    return paragraphs(
        f"### {operation['summary']}",
        f"`{name}`",
        operation["description"],
        table(["parameter", "in", "type", "meaning"], parameters),
        f"Request body: {_body(body)}" if body else "",
        _example("Example request body", body),
        table(["status", "body", "meaning"], answers),
        _example("Example response", next(iter(operation["responses"].values()))),
    )


def _body(part: dict[str, Any]) -> str:
    described = {kind: _type(content["schema"]) for kind, content in part.get("content", {}).items()}
    return ", ".join(f"{text} (`{kind}`)" if "problem" not in kind else text for kind, text in described.items())


def _example(title: str, part: dict[str, Any]) -> str:
    for content in part.get("content", {}).values():
        if content.get("example"):
            text = json.dumps(content["example"], indent=2, ensure_ascii=False)
            return f"{title}:\n\n```json\n{text}\n```"
    return ""


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (f"`{field}`", _type(each) + ("" if field in required else ", optional"), each.get("description", ""))
        for field, each in schema.get("properties", {}).items()
    ]
    values = ", ".join(f"`{value}`" for value in schema.get("enum", []))
    return paragraphs(
        f"### {name}",
        schema.get("description", ""),
        f"One of {values}." if values else "",
        table(["field", "type", "meaning"], rows),
    )


def _type(schema: dict[str, Any]) -> str:
    """The type of a schema in a few words, with a link where it has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "allOf"):
        if key in schema:
            return (" or " if key == "anyOf" else " and ").join(_type(each) for each in schema[key])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    if kind == "object" and "file" in schema.get("properties", {}):
        return "the field `file`"
    return str(kind) + (f" ({schema['format']})" if "format" in schema else "")


# Commands


def commands() -> str:
    """Every command of `enrich`, with its options."""
    from cli.main import cli

    return paragraphs(*(_command(name, each) for name, each in all_commands(cli, "enrich")))


def all_commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yields the command and all below it, by full name."""
    yield name, command
    if isinstance(command, click.Group):
        for each in sorted(command.commands):
            yield from all_commands(command.commands[each], f"{name} {each}")


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    options = [
        (f"`{found[0]}`", found[1])
        for parameter in command.get_params(context)
        if "--help" not in parameter.opts and (found := parameter.get_help_record(context))
    ]
    return paragraphs(
        f"## {name}",
        f"```\n{name} {' '.join(command.collect_usage_pieces(context))}\n```",
        "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n")),
        table(["option", "meaning"], options),
    )


# Metrics


def metrics() -> str:
    """Every metric, by the process that exposes it."""
    from core.telemetry.metrics import definitions

    found = definitions()
    parts = []
    for process in sorted({each.process for each in found}):
        rows = [
            (f"`{each.name}`", each.kind, ", ".join(f"`{label}`" for label in each.labels) or "–", each.text)
            for each in found
            if each.process == process
        ]
        parts += [f"## {process}", table(["metric", "kind", "labels", "meaning"], rows)]
    return paragraphs(*parts)


PAGES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "errors": errors,
    "http": http,
    "cli": commands,
    "metrics": metrics,
}
