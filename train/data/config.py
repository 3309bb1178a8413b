"""A run's settings from a TOML file: what stands there counts as if it had been given on the command line before.

data = "shop/products.csv"
taxonomy = "shop/taxonomy.json"
epochs = 20

[columns]            # which columns of the table say what
image = "photo"
group = "style"

[head_weights]       # of the losses; 1 where nothing is said, .3 for a tree's upper levels
material = 0.5

[precisions]         # what the thresholds have to keep, .90 where nothing is said
material = 0.95

[margins]            # added to those when thresholds are chosen, 0 where nothing is said
material = 0.01

[recipe]             # what has no option of its own: see RECIPE
mixup = 0.4
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from train.data.catalogue import Columns
from train.data.options import HEAD_WEIGHTS, MARGINS, PRECISIONS

TABLES = ("columns", "head_weights", "precisions", "margins", "recipe")
RECIPE = (
    "photo_batch_size",
    "weight_decay",
    "warm_up_steps",
    "ema_decay",
    "drop_path",
    "smoothing",
    "photo_weight",
    "word_weight",
    "mixup",
    "teaching",
    "feature_weight",
)
"""Settings of a run that are seldom changed; what they mean stands in train/data/options.py."""


def read_config(context: click.Context, parameter: click.Parameter, file: Path | None) -> Path | None:
    """Click's callback: the file's keys become the options' defaults, its tables wait in `context.meta`.

    Raises click.BadParameter on a file that is no TOML, and on a key that is no option, so that no typo is lost.
    """
    if file is None:
        return None
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{file.name} is not TOML: {error}", context, parameter) from error
    context.meta["tables"] = {name: data.pop(name) for name in TABLES if name in data}
    names = {flag: option.name for option in context.command.params for flag in option.opts if option.name}
    unknown = [name for name in data if _flag(name) not in names]
    if unknown:
        raise click.BadParameter(f"{file.name} sets {', '.join(unknown)}, which is no option", context, parameter)
    context.default_map = {names[_flag(name)]: value for name, value in data.items()}
    return file


def _flag(name: str) -> str:
    """A file's key as it is written on the command line."""
    return "--" + name.replace("_", "-")


def table_settings(context: click.Context, columns: tuple[str, ...]) -> dict[str, Any]:
    """The run's settings that are tables, `columns` being the command line's own (`image=photo`)."""
    tables: dict[str, dict[str, Any]] = context.meta.get("tables", {})
    recipe = tables.get("recipe", {})
    if unknown := recipe.keys() - set(RECIPE):
        raise click.UsageError(f"a recipe has {', '.join(RECIPE)}, not {', '.join(sorted(unknown))}")
    return {
        **recipe,
        "columns": columns_from(columns, tables.get("columns")),
        "head_weights": HEAD_WEIGHTS | tables.get("head_weights", {}),
        "precisions": PRECISIONS | tables.get("precisions", {}),
        "margins": MARGINS | tables.get("margins", {}),
    }


def columns_from(given: tuple[str, ...], table: Mapping[str, str] | None = None) -> Columns:
    """The columns named on the command line (`image=photo`), over those of a configuration's table."""
    named = dict(table or {}) | dict(_pair(text) for text in given)
    known = {field.name for field in dataclasses.fields(Columns)}
    if set(named) - known:
        raise click.UsageError(f"columns are {', '.join(sorted(known))}, not {', '.join(sorted(set(named) - known))}")
    return Columns(**named)


def _pair(text: str) -> tuple[str, str]:
    name, separator, column = text.partition("=")
    if not (name and separator and column):
        raise click.UsageError(f"--column {text}: write it as image=photo")
    return name, column
