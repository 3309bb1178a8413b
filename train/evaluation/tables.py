"""Evaluation reports as plain text tables, for the terminal and the model card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

COLUMNS = ("accuracy", "macro_f1", "macro_f1_5", "ece_before", "ece", "coverage", "precision")
TITLES = ("accuracy", "macro-F1", "macro-F1 (≥5)", "ECE before", "ECE", "coverage", "precision")


def format_number(value: float | None) -> str:
    """Three decimals, or a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, so that it is readable in a terminal too."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])


def catalogue_table(report: dict[str, Any]) -> str:
    """One row per attribute; the last columns are the accuracy per image-size tier, if the sizes are known."""
    tiers = report["tiers"]
    header = ["attribute", "rows", *TITLES, *[f"{tier} ({row['rows']})" for tier, row in tiers.items()]]
    rows = [
        [name, str(row["rows"]), *[format_number(row[key]) for key in COLUMNS]]
        + [format_number(tier["accuracy"].get(name)) for tier in tiers.values()]
        for name, row in report["attributes"].items()
    ]
    return table(header, rows)


def interval_table(report: dict[str, Any]) -> str:
    """Confidence intervals by product group or sender, see `train.evaluation.bootstrap`."""
    title = "senders" if report["kind"] == "photos" else "groups"
    alike = "equal weight"
    header = ("attribute", title, "accuracy, 95 % CI", alike, "ECE, 95 % CI", alike, "precision, upper bound")
    rows = [
        (
            name,
            str(row["groups"]),
            _range(row["accuracy"]),
            format_number(row["accuracy_alike"]),
            _range(row["ece"]),
            format_number(row["ece_alike"]),
            format_number(row["precision_upper"]),
        )
        for name, row in report.get("spread", {}).items()
    ]
    return table(header, rows)


def _range(interval: Sequence[float]) -> str:
    return f"{format_number(interval[0])} to {format_number(interval[1])}"


def photo_table(report: dict[str, Any]) -> str:
    """The metrics of a report on customer photos, in one row."""
    keys = ("type_fits", "coverage", "precision", "lost_as_no_product")
    titles = ("rows", "type fits", "coverage", "precision", "rejected as no product")
    return table(titles, [[str(report["rows"]), *[format_number(report[key]) for key in keys]]])


def annotation_table(report: dict[str, Any]) -> str:
    """The metrics of attributes of customer photos that were labelled by eye, and of genders by age."""
    keys = ("fits", "coverage", "precision", "answered_of_all")
    rows = [
        (name, str(row["rows"]), *[format_number(row[key]) for key in keys])
        for name, row in report["attributes"].items()
        if "fits" in row
    ]
    titles = ("labelled by eye", "rows", "fits", "coverage", "precision", "answered of all photos")
    ages = ("answered", "guess_of_right_age", "answers_of_wrong_age")
    by_age = [
        (age, str(row["rows"]), *[format_number(row[key]) for key in ages])
        for age, row in report.get("ages", {}).items()
    ]
    age_titles = ("garments of", "rows", "gender answered", "best guess of the right age", "answers of the wrong age")
    parts = [table(titles, rows)] if rows else []
    return "\n\n".join([*parts, *([table(age_titles, by_age)] if by_age else [])])


def tree_line(report: dict[str, Any]) -> str:
    """One sentence on the consistency of the tree's levels."""
    tree = report["hierarchy"]
    if not tree:
        return "The taxonomy has no tree."
    return (
        f"Tree: answers consistent {tree['answers_consistent']:.4f}, best guesses consistent "
        f"{tree['guesses_consistent']:.4f}, answered at some level {tree['answered_at_some_level']:.3f}."
    )


def domain_table(report: dict[str, Any]) -> str:
    """Images without a product by kind: the shares taken for a product, and answered."""
    rows = [
        (kind, format_number(row["taken"]), format_number(row["answered"])) for kind, row in report["kinds"].items()
    ]
    rows.append(("all", format_number(report["taken"]), format_number(report["answered"])))
    return table(("kind", "taken for a product", f"{report['attribute']} answered"), rows)


def format_report(report: dict[str, Any]) -> str:
    """The complete report on one split as text."""
    if report["kind"] == "non-products":
        title = f"{report['bundle']} {report['version']} on {report['rows']} generated images without a product"
        return "\n\n".join([title, domain_table(report)])
    title = f"{report['bundle']} {report['version']} on {report['data']}, {report['split']}: {report['rows']} rows"
    if report["kind"] == "photos":
        labels = table(
            ("label", "type fits"),
            [(name, format_number(share)) for name, share in report["type_fits_by_label"].items()],
        )
        parts = [
            title,
            photo_table(report),
            annotation_table(report),
            interval_table(report),
            labels,
            tree_line(report),
        ]
        return "\n\n".join(part for part in parts if part)
    return "\n\n".join([title, catalogue_table(report), interval_table(report), tree_line(report)])
