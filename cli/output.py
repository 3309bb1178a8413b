"""Output of the commands: JSON lines, tables, and errors as one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def exit_on(*expected: type[Exception]) -> Iterator[None]:
    """Turns expected errors into one sentence on standard error and exit status 2, without a traceback."""
    try:
        yield
    except expected as error:
        click.echo(f"enrich: {error}", err=True)
        sys.exit(2)


def echo_json(document: dict[str, object]) -> None:
    """Writes one JSON line to standard output and flushes it, so that a pipe receives it immediately."""
    import json

    click.echo(json.dumps(document, ensure_ascii=False))


def echo_note(sentence: str) -> None:
    """Writes one line to standard error, for what is no error but worth knowing."""
    click.echo(f"enrich: {sentence}", err=True)


def echo_table(documents: list[dict[str, object]]) -> None:
    """Writes documents as aligned columns with a header. Writes nothing if there are none."""
    if not documents:
        return
    lines = [[str(name) for name in documents[0]], *([_cell(value) for value in each.values()] for each in documents)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    return "-" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
