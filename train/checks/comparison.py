"""What changes between two bundles on the same pictures, per attribute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.bundle import Bundle
from train.data.catalogue import Columns, Item, read_catalogue, table_file
from train.data.images import ImageStore, load_pixels
from train.evaluation.inference import compute_scores
from train.evaluation.tables import format_number, table

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Answers:
    """One bundle's answers for N pictures, per attribute; None where it does not answer."""

    values: dict[str, list[str | None]]


def answers_of(bundle: Bundle, data: Path, items: Sequence[Item], cache: Path | None = None) -> Answers:
    """The answers for the pictures of the rows, as the predictor gives them."""
    scores = compute_scores(bundle, load_pixels(data, [item.image for item in items], bundle.size, cache))
    values: dict[str, list[str | None]] = {}
    for name, known in bundle.taxonomy.values.items():
        rows = scores.scores[name]
        is_answered = (rows.max(axis=1) >= bundle.calibration[name].threshold) & scores.is_product
        best = rows.argmax(axis=1)
        values[name] = [known[best[row]] if is_answered[row] else None for row in range(len(items))]
    return Answers(values)


def read_pictures(data: Path, attributes: Sequence[str], columns: Columns, split: str | None) -> list[Item]:
    """The rows of a table that have an image, of one split or of all; or the images of a folder without a table.

    Raises ValueError if there are none.
    """
    if data.is_dir() and not table_file(data).exists():
        files = sorted(file for file in data.rglob("*") if file.suffix.lower() in SUFFIXES)
        names = [str(file.relative_to(data)) for file in files]
        items = [Item(image=name, split="", group=name, labels={}, name="", is_small=None) for name in names]
    else:
        store = ImageStore(data)
        rows = read_catalogue(data, attributes, columns)
        items = [item for item in rows if item.image in store and split in {None, item.split}]
    if not items:
        raise ValueError(f"{data.name} has no pictures" + (f" in the split {split!r}" if split else ""))
    return items


def compare(
    first: Bundle, second: Bundle, data: Path, items: Sequence[Item], examples: int = 5, cache: Path | None = None
) -> dict[str, Any]:
    """The comparison as a JSON-ready dict; `examples` is the number of rows listed per kind of change."""
    one, other = (answers_of(bundle, data, items, cache) for bundle in (first, second))
    names = [*one.values, *(name for name in other.values if name not in one.values)]
    attributes = {}
    for name in names:
        if name in one.values and name in other.values:
            attributes[name] = _attribute(name, items, one.values[name], other.values[name], examples)
        else:
            attributes[name] = {"only_in": "A" if name in one.values else "B"}
    trained = {bundle.training.get("data") for bundle in (first, second)} & {data.resolve().stem}
    return {
        "A": f"{first.name} {first.version}",
        "B": f"{second.name} {second.version}",
        "rows": len(items),
        "has_trained_rows": bool(trained)
        and any(item.split in side.training.get("trained_on", ()) for item in items for side in (first, second)),
        "attributes": attributes,
    }


def _attribute(
    name: str, items: Sequence[Item], one: Sequence[str | None], other: Sequence[str | None], examples: int
) -> dict[str, Any]:
    truth = [item.labels.get(name) for item in items]
    both = [a == b for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    changes: dict[str, list[dict[str, str | None]]] = {}
    pairs: Counter[tuple[str | None, str | None]] = Counter()
    for item, label, a, b in zip(items, truth, one, other, strict=True):
        if a != b:
            kind = "newly_answered" if a is None else "no_longer_answered" if b is None else "changed"
            changes.setdefault(kind, []).append({"id": item.image, "A": a, "B": b, "label": label})
            pairs[(a, b)] += 1
    return {
        "labelled": sum(label is not None for label in truth),
        "A": _side(one, truth),
        "B": _side(other, truth),
        "agreement": float(np.mean(both)) if both else None,
        "same": float(np.mean([a == b for a, b in zip(one, other, strict=True)])),
        "changes": {kind: {"rows": len(rows), "examples": rows[:examples]} for kind, rows in changes.items()},
        "most_frequent": [{"A": a, "B": b, "rows": count} for (a, b), count in pairs.most_common(examples)],
    }


def _side(answers: Sequence[str | None], truth: Sequence[str | None]) -> dict[str, float | None]:
    """The share answered, and the precision of the answers where there is a label."""
    correct = [a == t for a, t in zip(answers, truth, strict=True) if a is not None and t is not None]
    return {
        "answered": float(np.mean([answer is not None for answer in answers])),
        "precision": float(np.mean(correct)) if correct else None,
    }


def format_comparison(report: dict[str, Any]) -> str:
    """The comparison as tables and lines for a terminal."""
    titles = ("attribute", "answered A", "B", "precision A", "B", "labelled", "agreement", "new", "lost", "changed")
    shared = {name: row for name, row in report["attributes"].items() if "only_in" not in row}
    rows = [
        (
            name,
            *[format_number(row[side][key]) for key in ("answered", "precision") for side in ("A", "B")],
            str(row["labelled"]),
            format_number(row["agreement"]),
            *[
                str(row["changes"].get(kind, {}).get("rows", 0))
                for kind in ("newly_answered", "no_longer_answered", "changed")
            ],
        )
        for name, row in shared.items()
    ]
    lines = [f"A = {report['A']}, B = {report['B']}, {report['rows']} pictures", "", table(titles, rows)]
    for name, row in report["attributes"].items():
        if "only_in" in row:
            lines.append(f"\n{name}: only {row['only_in']} has this attribute")
            continue
        for kind, change in row["changes"].items():
            lines.append(f"\n{name}, {kind.replace('_', ' ')} ({change['rows']}):")
            lines += [_line(example) for example in change["examples"]]
    if report["has_trained_rows"]:
        lines.append("\nSome rows were trained on, so precisions flatter; use --split test.")
    return "\n".join(lines)


def _line(example: dict[str, str | None]) -> str:
    label = f"  (label: {example['label']})" if example["label"] is not None else ""
    return f"  {example['id']}: {example['A'] or '–'} → {example['B'] or '–'}{label}"
