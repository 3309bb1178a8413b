"""Catalogue rows (images with labels) from our layout, Kaggle's or any CSV file, and the taxonomy counted from them.

A table without a split column is split by a hash of the product group. Without a group column, the group is the
product's name without colour words, so that one product in two colours is never in two splits.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

from model.taxonomy import TREE_LEVELS, Taxonomy

HEADS = ("gender", "baseColour", "season", "usage", "articleType")
"""The client's attributes that have a head; other shops name theirs in a taxonomy file."""

CLIENT_ATTRIBUTES = (*HEADS, *TREE_LEVELS[1:])

TABLE = "styles.csv"
KAGGLE = ("id", "gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "year", "usage")
KAGGLE += ("productDisplayName",)
MISSING = frozenset({"", "NA"})
SMALL_TIER = (60, 80)
SPLIT_SHARES = (("test", 0.05), ("val", 0.10))  # cumulative; the rest is train


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns; only `image` has to exist."""

    image: str = "id"
    split: str = "split"
    group: str = "group"
    name: str = "productDisplayName"


@dataclass(frozen=True)
class Item:
    """One catalogue row.

    `group` is common to the rows of one product. `labels` maps attributes to values; missing labels are left out.
    `is_small` is whether the image is 60x80, None if the table has no sizes. `brand` may be empty.
    """

    image: str
    split: str
    group: str
    labels: dict[str, str]
    name: str
    is_small: bool | None
    brand: str = ""


def table_file(data: Path) -> Path:
    """The table's file, for a data set given as a CSV file or as a folder with `styles.csv`."""
    return data / TABLE if data.is_dir() else data


def read_catalogue(
    data: Path, attributes: Iterable[str] = CLIENT_ATTRIBUTES, columns: Columns | None = None
) -> list[Item]:
    """All rows of the table in file order, with labels for those of the `attributes` that are columns.

    Raises FileNotFoundError if there is no table, and ValueError if it lacks a named column or all attributes.
    """
    file, columns = table_file(data), columns or Columns()
    with file.open(encoding="utf-8-sig", newline="") as lines:  # Excel writes a byte order mark
        header = next(csv.reader([lines.readline()]), [])
        wanted = [name for name in attributes if name in header]
        if columns.image not in header or not wanted:
            raise ValueError(
                f"{file.name} needs a column {columns.image} and one of the columns {', '.join(attributes)}"
                f"{did_you_mean(columns.image, header)}"
            )
        if problems := column_problems(columns, header):
            raise ValueError(f"{file.name} {problems[0]}")
        is_kaggle = tuple(header) == KAGGLE
        records = _kaggle_records(lines, header) if is_kaggle else csv.DictReader(lines, header)
        return [_item(record, wanted, columns) for record in records]


def column_problems(columns: Columns, header: Sequence[str]) -> list[str]:
    """A sentence for each column that was named but that the table lacks; default names may be missing.

    Falling back to a default in silence would compute other groups, and so another split.
    """
    return [
        f"has no column {name}, which was named as the {field.name} column{did_you_mean(name, header)}"
        for field in fields(Columns)
        if (name := getattr(columns, field.name)) not in header and (name != field.default or field.name == "image")
    ]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?` if a known name is similar, else an empty string."""
    by_key = {each.strip().casefold(): each for each in known}
    close = difflib.get_close_matches(name.strip().casefold(), by_key, n=1, cutoff=0.6)
    return f"; did you mean {by_key[close[0]]}?" if close else ""


def describe_split(columns: Columns, header: Sequence[str]) -> str:
    """The rule that assigns rows to splits, in words; bundles carry it."""
    if columns.split in header:
        return f"column {columns.split}"
    group = f"column {columns.group}" if columns.group in header else f"words of {columns.name} without colours"
    shares = ", ".join(f"{split} below {upper:g}" for split, upper in SPLIT_SHARES)
    return f"SHA-256 of the group ({group}): {shares}, else train"


def read_header(data: Path) -> list[str]:
    """The column names of the table."""
    with table_file(data).open(encoding="utf-8-sig", newline="") as lines:
        return next(csv.reader([lines.readline()]), [])


def count_training_values(
    data: Path, attributes: Iterable[str], columns: Columns | None = None
) -> dict[str, Counter[str]]:
    """Number of training rows per attribute and value."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in read_catalogue(data, attributes, columns):
        if item.split == "train":
            for name, value in item.labels.items():
                counts[name][value] += 1
    return dict(counts)


def _kaggle_records(lines: Iterator[str], header: list[str]) -> Iterator[dict[str, str]]:
    """Kaggle's rows, whose last column (the name) may contain unquoted commas. Incomplete rows are skipped."""
    for line in lines:
        cells = line.rstrip("\r\n").split(",", len(header) - 1)
        if len(cells) == len(header):
            record = dict(zip(header, cells, strict=True))
            yield record | {header[-1]: record[header[-1]].strip('"')}


def _item(record: dict[str, str], attributes: Sequence[str], columns: Columns) -> Item:
    labels = {name: record[name] for name in attributes if (record[name] or "") not in MISSING}
    image, name = record[columns.image], record.get(columns.name) or ""
    group = record.get(columns.group) or product_group(name or image, labels.get("baseColour", ""))
    size = (int(record["width"]), int(record["height"])) if record.get("width") else None
    return Item(
        image=image,
        split=record.get(columns.split) or hash_split(group),
        group=group,
        labels=labels,
        name=name,
        is_small=None if size is None else size == SMALL_TIER,
        brand=record.get("brandName", ""),
    )


def product_group(name: str, colour: str) -> str:
    """The product's name without colour words, so that it is the same for every colour."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return " ".join(word for word in words if word not in COLOUR_WORDS | set(colour.lower().split()))


def hash_split(group: str) -> str:
    """A group's split, determined by its SHA-256 hash."""
    share = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 0x1_0000_0000
    return next((split for split, upper in SPLIT_SHARES if share < upper), "train")


COLOUR_WORDS = frozenset(
    {"beige", "black", "blue", "bronze", "brown", "burgundy", "charcoal", "coffee", "copper", "cream", "fluorescent"}
    | {"gold", "golden", "green", "grey", "gray", "khaki", "lavender", "lime", "magenta", "maroon", "mauve", "melange"}
    | {"metallic", "multi", "multicoloured", "mushroom", "mustard", "navy", "nude", "off", "olive", "orange", "peach"}
    | {"pink", "purple", "red", "rose", "rust", "sea", "silver", "skin", "steel", "tan", "taupe", "teal", "turquoise"}
    | {"white", "yellow"}
)


def count_taxonomy(
    items: Sequence[Item],
    version: str = "1",
    heads: Sequence[str] = HEADS,
    levels: Sequence[str] = TREE_LEVELS,
) -> Taxonomy:
    """The taxonomy of the given (training) rows; a value's parent is the most frequent one among its rows.

    `levels` are the tree's levels, deepest first (the deepest is one of the `heads`); empty for no tree.
    """
    parents: dict[str, dict[str, str]] = {}
    reached: set[str] | None = None
    for lower, upper in pairwise(levels):
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        for item in items:
            if lower in item.labels and upper in item.labels:
                votes[item.labels[lower]][item.labels[upper]] += 1
        kept = [value for value in sorted(votes) if reached is None or value in reached]
        parents[lower] = {value: min(votes[value], key=lambda up: (-votes[value][up], up)) for value in kept}
        reached = set(parents[lower].values())
    seen = {head: {item.labels[head] for item in items if head in item.labels} for head in heads}
    if len(levels) > 1:
        seen[levels[0]] &= parents[levels[0]].keys()  # a value without a parent cannot be predicted
    known = {head: tuple(sorted(values)) for head, values in seen.items() if values}
    return Taxonomy(version, known, parents, tuple(levels))
