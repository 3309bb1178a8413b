"""Catalogue rows: a table of pictures with labels, in our layout, in Kaggle's own, or any CSV; and their taxonomy.

Kaggle's file has names with commas that are not quoted. Where a table names no split, rows are split by a hash of the
product's group, and where it names no group, the product's name without its colour words is one: so one product in
two colours never crosses a split.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from model.taxonomy import TREE_LEVELS, Taxonomy

HEADS = ("gender", "baseColour", "season", "usage", "articleType")
"""The client's attributes with a head of their own; a shop's own come from its taxonomy file."""

CLIENT_ATTRIBUTES = (*HEADS, *TREE_LEVELS[1:])

TABLE = "styles.csv"
KAGGLE = ("id", "gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "year", "usage")
KAGGLE += ("productDisplayName",)
MISSING = frozenset({"", "NA"})
SMALL_TIER = (60, 80)
SPLIT_SHARES = (("test", 0.05), ("val", 0.10))  # cumulative; the rest is train


@dataclass(frozen=True)
class Columns:
    """Which columns of the table say what; those of the last three may be missing."""

    image: str = "id"
    split: str = "split"
    group: str = "group"
    name: str = "productDisplayName"


@dataclass(frozen=True)
class Item:
    """One catalogue row. `group` joins the rows of one product; `labels` holds only what is known.

    `is_small` says whether it is of the 60x80 tier (None: the table does not tell sizes); `brand` may be empty.
    """

    image: str
    split: str
    group: str
    labels: dict[str, str]
    name: str
    is_small: bool | None
    brand: str = ""


def table_file(data: Path) -> Path:
    """The table of a data set that is given as a CSV file, or as a folder with `styles.csv` in it."""
    return data / TABLE if data.is_dir() else data


def read_catalogue(
    data: Path, attributes: Iterable[str] = CLIENT_ATTRIBUTES, columns: Columns | None = None
) -> list[Item]:
    """All rows of the table, in file order, with those of the `attributes` that the table has.

    Raises FileNotFoundError, or ValueError on a table that lacks the pictures' column or every attribute.
    """
    file, columns = table_file(data), columns or Columns()
    with file.open(encoding="utf-8", newline="") as lines:
        header = next(csv.reader([lines.readline()]), [])
        wanted = [name for name in attributes if name in header]
        if columns.image not in header or not wanted:
            raise ValueError(f"{file.name} needs a column {columns.image} and one of {', '.join(attributes)}")
        is_kaggle = tuple(header) == KAGGLE
        records = _kaggle_records(lines, header) if is_kaggle else csv.DictReader(lines, header)
        return [_item(record, wanted, columns) for record in records]


def count_training_values(
    data: Path, attributes: Iterable[str], columns: Columns | None = None
) -> dict[str, Counter[str]]:
    """Per attribute, how many rows of the training split carry each value."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in read_catalogue(data, attributes, columns):
        if item.split == "train":
            for name, value in item.labels.items():
                counts[name][value] += 1
    return dict(counts)


def _kaggle_records(lines: Iterator[str], header: list[str]) -> Iterator[dict[str, str]]:
    """Kaggle's rows: whatever follows the last column's comma belongs to it (the name), commas and all."""
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
    """The product's name without its colour words: the same for every colour it is sold in."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return " ".join(word for word in words if word not in COLOUR_WORDS | set(colour.lower().split()))


def hash_split(group: str) -> str:
    """A group's split, the same in every run, by its hash."""
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
    """Values that occur in the given (training) rows; each value's parent is the one most of its rows name.

    `levels` are the tree's, deepest first (the deepest is one of the `heads`); empty for no tree.
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
        seen[levels[0]] &= parents[levels[0]].keys()  # a value that no row places in the tree cannot be answered
    known = {head: tuple(sorted(values)) for head, values in seen.items() if values}
    return Taxonomy(version, known, parents, tuple(levels))
