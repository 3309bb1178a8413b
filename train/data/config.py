"""A run's settings from a TOML file; options on the command line override it. Paths are relative to the file.

data = "products.csv"
taxonomy = "taxonomy.json"
epochs = 20

[columns]            # names of the table's columns
image = "photo"
group = "style"

[head_weights]       # weights of the losses; default 1, for derived levels .3
material = 0.5

[precisions]         # target precisions of the thresholds; default .90
material = 0.95

[margins]            # added to the targets when thresholds are chosen; default 0
material = 0.01

[recipe]             # settings without a command-line option: see RECIPE
mixup = 0.4
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from train.data.catalogue import Columns, describe_split, read_header
from train.data.options import HEAD_WEIGHTS, MARGINS, PRECISIONS

TABLES = ("columns", "head_weights", "precisions", "margins", "recipe")
RECIPE = (
    "photo_batch_size",
    "weight_decay",
    "warm_up",
    "ema_decay",
    "drop_path",
    "smoothing",
    "photo_weight",
    "word_weight",
    "mixup",
    "teaching",
    "feature_weight",
)
"""Settings that are rarely changed; see `train.data.options.Options`."""


def read_config(context: click.Context, parameter: click.Parameter, file: Path | None) -> Path | None:
    """Click callback: use the file's keys as defaults of the options, and keep its tables in `context.meta`.

    Raises click.BadParameter if the file is not TOML or has a key that is not an option.
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
        raise click.BadParameter(f"{file.name} sets {', '.join(unknown)}, which is not an option", context, parameter)
    paths = {option.name for option in context.command.params if isinstance(option.type, click.Path)}
    named = {names[_flag(name)]: value for name, value in data.items()}
    context.default_map = {
        name: _relative_to(file.parent, value) if name in paths else value for name, value in named.items()
    }
    return file


def _relative_to(folder: Path, value: Any) -> Any:
    """A path of the file, or a list of them, relative to the file's folder; absolute paths stay as they are."""
    if isinstance(value, list):
        return [_relative_to(folder, each) for each in value]
    return str(folder / value) if isinstance(value, str) else value


def _flag(name: str) -> str:
    """The command-line flag of a key."""
    return "--" + name.replace("_", "-")


def table_settings(context: click.Context, columns: tuple[str, ...]) -> dict[str, Any]:
    """Settings from the file's tables; `columns` are the command line's `--column` values (`image=photo`)."""
    tables: dict[str, dict[str, Any]] = context.meta.get("tables", {})
    recipe = tables.get("recipe", {})
    if unknown := recipe.keys() - set(RECIPE):
        raise click.UsageError(f"unknown keys in [recipe]: {', '.join(sorted(unknown))}; known: {', '.join(RECIPE)}")
    return {
        **recipe,
        "columns": columns_from(columns, tables.get("columns")),
        "head_weights": HEAD_WEIGHTS | tables.get("head_weights", {}),
        "precisions": PRECISIONS | tables.get("precisions", {}),
        "margins": MARGINS | tables.get("margins", {}),
    }


def columns_from(given: tuple[str, ...], table: Mapping[str, str] | None = None) -> Columns:
    """Column names from `--column` values (`image=photo`), which override those of the configuration's table."""
    named = dict(table or {}) | dict(_pair(text) for text in given)
    known = {field.name for field in dataclasses.fields(Columns)}
    if unknown := set(named) - known:
        raise click.UsageError(f"unknown columns: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    return Columns(**named)


def columns_of_bundle(training: Mapping[str, Any], given: tuple[str, ...]) -> Columns:
    """The columns that a bundle was trained with; `given` (`image=photo`) may repeat, but not change them.

    Other columns would compute other groups, and so put trained rows into `test`. Bundles of older releases carry no
    columns. Raises ValueError for a column that differs.
    """
    trained: dict[str, str] = training.get("columns", {})
    if not trained:
        return columns_from(given)
    for field, column in (_pair(text) for text in given):
        if trained.get(field, column) != column:
            raise ValueError(
                f"the bundle was trained with {field}={trained[field]}, and {field}={column} may read another split, "
                f"with trained rows in it; leave --column {field} out, or pass --allow-leaks for other products"
            )
    return columns_from(given, trained)


def check_split(training: Mapping[str, Any], data: Path, columns: Columns, split: str) -> None:
    """Check that a split of the table that a bundle was trained on is the one it was not trained on.

    Raises ValueError otherwise. Nothing is known of other tables, and of bundles of older releases.
    """
    if training.get("data") != data.resolve().stem:
        return
    if split in training.get("trained_on", ()):
        raise ValueError(
            f"the bundle was trained on the rows of {split}, so their figures would flatter it; its held-out figures "
            "are in its model card. Use --split test, or --allow-leaks"
        )
    rule = describe_split(columns, read_header(data))
    if rule != training.get("split_rule", rule):
        raise ValueError(
            f'the bundle\'s split was "{training["split_rule"]}", and the table\'s is now "{rule}", so trained '
            "rows may be in it; restore the columns, or pass --allow-leaks"
        )


def _pair(text: str) -> tuple[str, str]:
    name, separator, column = text.partition("=")
    if not (name and separator and column):
        raise click.UsageError(f"--column {text} is not of the form FIELD=COLUMN, e.g. image=photo")
    return name, column
