"""Catalogue rows: `styles.csv` in our layout or in Kaggle's own, the split, and the taxonomy counted from the rows.

Kaggle's file has names with commas that are not quoted, and no split: there rows are split by a hash of the
product's group (the name without its colour words), so that one product in two colours never crosses a split.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from model.taxonomy import TREE_LEVELS, Taxonomy

HEADS = ("gender", "baseColour", "season", "usage", "articleType")
MISSING = frozenset({"", "NA"})
SMALL_TIER = (60, 80)
SPLIT_SHARES = (("test", 0.05), ("val", 0.10))  # cumulative; the rest is train


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


def read_catalogue(folder: Path) -> list[Item]:
    """All rows of `styles.csv`, in file order. Raises FileNotFoundError, or ValueError on a table we cannot read."""
    with (folder / "styles.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader([file.readline()]))
        if "id" not in header or TREE_LEVELS[0] not in header:
            raise ValueError(f"{folder.name}/styles.csv has no columns id and {TREE_LEVELS[0]}")
        records = csv.DictReader(file, header) if "split" in header else _kaggle_records(file, header)
        return [_item(record) for record in records]


def _kaggle_records(lines: Iterator[str], header: list[str]) -> Iterator[dict[str, str]]:
    """Kaggle's rows: whatever follows the last column's comma belongs to it (the name), commas and all."""
    for line in lines:
        cells = line.rstrip("\r\n").split(",", len(header) - 1)
        if len(cells) == len(header):
            record = dict(zip(header, cells, strict=True))
            yield record | {header[-1]: record[header[-1]].strip('"')}


def _item(record: dict[str, str]) -> Item:
    labels = {name: record[name] for name in (*HEADS, *TREE_LEVELS[1:]) if record.get(name, "") not in MISSING}
    name = record.get("productDisplayName", "")
    group = record.get("group") or product_group(name or record["id"], labels.get("baseColour", ""))
    size = (int(record["width"]), int(record["height"])) if record.get("width") else None
    return Item(
        image=record["id"],
        split=record.get("split") or split_of(group),
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


def split_of(group: str) -> str:
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


def count_taxonomy(items: Sequence[Item], version: str = "1") -> Taxonomy:
    """Values that occur in the given (training) rows; each value's parent is the one most of its rows name."""
    parents: dict[str, dict[str, str]] = {}
    for lower, upper in pairwise(TREE_LEVELS):
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        for item in items:
            if lower in item.labels and upper in item.labels:
                votes[item.labels[lower]][item.labels[upper]] += 1
        parents[lower] = {value: min(votes[value], key=lambda up: (-votes[value][up], up)) for value in sorted(votes)}
    reached = set(parents[TREE_LEVELS[0]].values())
    parents[TREE_LEVELS[1]] = {sub: top for sub, top in parents[TREE_LEVELS[1]].items() if sub in reached}
    seen = {head: {item.labels[head] for item in items if head in item.labels} for head in HEADS}
    return Taxonomy(version, {head: tuple(sorted(values)) for head, values in seen.items()}, parents)
