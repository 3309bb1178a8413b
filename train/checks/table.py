"""What is wrong with a table, or may be, before a run spends time on it: findings, and facts to print."""

from __future__ import annotations

import difflib
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from PIL import Image

from model.preprocessing import Pixels, fit
from model.taxonomy import Taxonomy
from train.data.catalogue import (
    CLIENT_ATTRIBUTES,
    Item,
    column_problems,
    did_you_mean,
    read_catalogue,
    read_header,
    table_file,
)
from train.data.images import ImageStore
from train.data.options import HEAD_WEIGHTS, MARGINS, PRECISIONS, Options
from train.heads.threshold_check import rows_needed
from train.probe.twins import find_twins, thumbnails

SPLITS = ("train", "val", "test")
RARE = 5
"""Values of fewer training rows are rare: no head learns them, and cross-validation cannot measure them."""

SHOWN = 5
"""Number of examples in a finding."""

MISSING_SHARE = 0.2
"""Share of missing images from which the table is taken to be wrong, not incomplete."""

SIDE = 64
"""Size in pixels at which images are decoded to be compared."""


@dataclass
class Findings:
    """`errors` stop a run or spoil it, `warnings` may be intended, `facts` are for information."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)


def check_table(options: Options) -> tuple[Findings, list[Item]]:
    """All findings about the run's table, and its rows that have an image."""
    found = Findings()
    try:
        header = read_header(options.data)
    except (OSError, UnicodeDecodeError) as error:
        found.errors.append(f"{table_file(options.data).name} cannot be read as UTF-8 text: {error}")
        return found, []
    file, wanted = table_file(options.data).name, _attributes(options, found)
    found.errors += [f"{file} {problem}" for problem in column_problems(options.columns, header)]
    if options.taxonomy:
        lacking = [name for name in wanted if name not in header]
        found.errors += [f"{file} lacks the attribute {name}{did_you_mean(name, header)}" for name in lacking]
    _names(options, header, wanted, found)
    if found.errors:
        return found, []
    try:
        items = read_catalogue(options.data, wanted, options.columns)
    except (ValueError, KeyError, TypeError) as error:
        found.errors.append(f"{file}: {error}")
        return found, []
    if not items:
        found.errors.append(f"{file} has no rows")
        return found, []
    present, pixels = _images(options.data, items, found)
    taxonomy = Taxonomy.load(options.taxonomy) if options.taxonomy else None
    _labels(present, wanted, taxonomy, options, found)
    _splits(items, present, wanted, found)
    if present:
        _twins(present, pixels, found)
    return found, present


def _attributes(options: Options, found: Findings) -> tuple[str, ...]:
    if options.taxonomy is None:
        return CLIENT_ATTRIBUTES
    try:
        return tuple(Taxonomy.load(options.taxonomy).values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found.errors.append(f"{options.taxonomy.name} is not a taxonomy: {error}; count it with train.taxonomy")
        return ()


def _names(options: Options, header: Sequence[str], wanted: Sequence[str], found: Findings) -> None:
    """Columns that are not used, and names in the run's tables that are no attribute."""
    used = {*wanted, *(getattr(options.columns, each.name) for each in fields(options.columns))}
    if unused := [name for name in header if name not in used]:
        found.facts.append(f"columns not used: {', '.join(unused)}")
    tables = {
        "head_weights": options.head_weights.keys() - HEAD_WEIGHTS.keys(),
        "precisions": options.precisions.keys() - PRECISIONS.keys(),
        "margins": options.margins.keys() - MARGINS.keys(),
    }
    found.errors += [
        f"[{table}] names {name}, which is not an attribute{did_you_mean(name, wanted)}"
        for table, names in tables.items()
        for name in sorted(names - set(wanted))
    ]


def _images(data: Path, items: Sequence[Item], found: Findings) -> tuple[list[Item], Pixels]:
    """The rows whose image can be read, and these images at a small size."""
    store, missing, broken = ImageStore(data), [], []
    present, pixels = [], []
    for item in items:
        if item.image not in store:
            missing.append(item.image)
            continue
        try:
            with Image.open(io.BytesIO(store.read(item.image))) as image:
                image.draft("RGB", (SIDE * 2, SIDE * 2))
                pixels.append(fit(image.convert("RGB"), (SIDE, SIDE * 3 // 4)))
            present.append(item)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            broken.append(item.image)
    if missing:
        text = f"{len(missing)} of {len(items)} pictures are missing in {store.folder}: {_examples(missing)}"
        (found.errors if len(missing) > MISSING_SHARE * len(items) else found.warnings).append(text)
    if broken:
        found.errors.append(f"{len(broken)} pictures cannot be decoded: {_examples(broken)}")
    repeated = [image for image, count in Counter(item.image for item in items).items() if count > 1]
    if repeated:
        found.warnings.append(f"{len(repeated)} pictures are in several rows: {_examples(repeated)}")
    return present, np.stack(pixels) if pixels else np.zeros((0, SIDE, SIDE * 3 // 4, 3), dtype=np.uint8)


def _labels(
    items: Sequence[Item], wanted: Sequence[str], taxonomy: Taxonomy | None, options: Options, found: Findings
) -> None:
    trained = [item for item in items if item.split in {"train", "val"}]
    for name in wanted:
        counts = Counter(item.labels[name] for item in trained if name in item.labels)
        if not counts:
            found.errors.append(f"{name}: no row of train or val has a value")
            continue
        if len(counts) == 1:
            found.warnings.append(f"{name}: all rows have the value {next(iter(counts))}, so there is nothing to learn")
        rare = {value: count for value, count in counts.items() if count < RARE}
        if rare:
            shown = _examples([f"{value} ({count})" for value, count in sorted(rare.items(), key=lambda each: each[1])])
            found.warnings.append(f"{name}: {len(rare)} of {len(counts)} values have fewer than {RARE} rows: {shown}")
        found.warnings += [f"{name}: {pair}" for pair in _similar(counts)]
        if taxonomy is not None:
            known = taxonomy.values[name]
            found.warnings += [
                f"{name}: {value} ({counts[value]} rows) is not in the taxonomy{did_you_mean(value, known)}"
                for value in [value for value in counts if value not in known][:SHOWN]
            ]
        products = len({item.group for item in trained if name in item.labels})
        target = options.precisions.get(name, 0.9) + options.margins.get(name, 0.0)
        if products < rows_needed(target):
            found.warnings.append(
                f"{name} will never be answered: it has {products} labelled products, and a precision of {target:.2f} "
                f"takes {rows_needed(target)} even if every guess is right"
            )


def _similar(counts: Counter[str]) -> list[str]:
    """Pairs of values that may be one: equal but for case and blanks, or a rare one spelt like a frequent one."""
    found, keys = [], defaultdict(list)
    for value in counts:
        keys[" ".join(value.casefold().split())].append(value)
    found += [f"{' and '.join(same)} differ in case or blanks only" for same in keys.values() if len(same) > 1]
    frequent = [value for value, count in counts.items() if count >= RARE]
    for value, count in counts.items():
        others = [each for each in frequent if each not in keys[" ".join(value.casefold().split())]]
        if count < RARE and len(value) > 3 and (close := difflib.get_close_matches(value, others, 1, 0.85)):
            found.append(f"{value} ({count} rows) may be a misspelling of {close[0]} ({counts[close[0]]})")
    return found


def _splits(items: Sequence[Item], present: Sequence[Item], wanted: Sequence[str], found: Findings) -> None:
    counts = Counter(item.split for item in present)
    products = {split: len({item.group for item in present if item.split == split}) for split in counts}
    for split in [*SPLITS, *sorted(counts.keys() - set(SPLITS))]:
        labels = ", ".join(
            f"{name} {sum(name in item.labels for item in present if item.split == split)}" for name in wanted
        )
        found.facts.append(f"{split}: {counts[split]} rows of {products.get(split, 0)} products; labelled: {labels}")
    if unknown := {item.split for item in items} - set(SPLITS):
        found.warnings.append(f"rows of the splits {_examples(sorted(unknown))} are not used; the names are {SPLITS}")
    if not counts["train"]:
        found.errors.append("no row is in the split train")
    if not counts["test"]:
        found.warnings.append("no row is in the split test, so the bundle is measured on the rows it was trained on")
    crossing = defaultdict(set)
    for item in present:
        crossing[item.group].add(item.split)
    divided = [group for group, splits in crossing.items() if len(splits) > 1]
    if divided:
        found.warnings.append(f"{len(divided)} products are in several splits, which leaks: {_examples(divided)}")


def _twins(items: Sequence[Item], pixels: Pixels, found: Findings) -> None:
    across = [
        (items[one], items[other])
        for one, other in find_twins(thumbnails(pixels))
        if items[one].split != items[other].split
    ]
    if across:
        shown = _examples([f"{one.image} ({one.split}) = {other.image} ({other.split})" for one, other in across])
        found.warnings.append(
            f"{len(across)} pairs of pictures in different splits are the same or nearly so, which leaks: {shown}. "
            "Give them one value in the group column"
        )


def _examples(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
