"""The model card, generated from the measured metrics; only the origin and limits of the data are written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.bundle import ALWAYS_ABSTAIN, Bundle
from train.evaluation.tables import (
    annotation_table,
    catalogue_table,
    domain_table,
    format_number,
    interval_table,
    photo_table,
    table,
    tree_line,
)

NO_ORIGIN = """## Where it comes from

No description of the data and their limits was given when this bundle was made (`--origin FILE`).
"""


def read_origin(file: Path | None) -> str:
    """The card's Markdown on the origin and limits of the data; without a file, a note that there is none."""
    return NO_ORIGIN if file is None else file.read_text(encoding="utf-8")


def write_card(bundle: Bundle, reports: list[dict[str, Any]], origin: str) -> str:
    """The card as Markdown. `reports` come from `evaluate` and `evaluate_domain`, one per measured split."""
    parts = [
        f"# {bundle.name} {bundle.version}",
        _summary(bundle),
        origin.strip(),
        "## Figures",
        *[_figures(report) for report in reports],
        "## Thresholds",
        _thresholds(bundle),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(bundle: Bundle) -> str:
    counts = ", ".join(f"{name} ({len(values)})" for name, values in bundle.taxonomy.values.items())
    weights = sum(tensor.numel() for tensor in bundle.weights.values()) / 1e6
    companion = ""
    if bundle.companion:
        share = f"{bundle.companion.share:.2f}"
        companion = (
            f" A companion, `{bundle.companion.architecture}`, gets the same input; the answer is the average of both "
            f"networks' probabilities, the companion's with weight {share}. The photo head, the in_domain head and the "
            "captioner use the first network's features."
        )
    return (
        f"Predicts attributes of one article from one image: {counts}.\n"
        f"`{bundle.architecture}` with one linear head per attribute, {weights:.1f} M parameters, input "
        f"{bundle.size[0]} x {bundle.size[1]} pixels (height x width, aspect ratio kept, white padding)."
        f"{_derived(bundle)}{companion} Created on {bundle.created}, taxonomy {bundle.taxonomy.version}."
    )


def _derived(bundle: Bundle) -> str:
    deepest, *above = bundle.taxonomy.levels or ("",)
    return f" Scores of {' and '.join(above)} are sums over {deepest}." if above else ""


def _figures(report: dict[str, Any]) -> str:
    if report["kind"] == "non-products":
        title = f"### Generated images without a product ({report['rows']}, of kinds not trained on)"
        return "\n\n".join([title, domain_table(report)])
    if report["kind"] == "photos":
        title = f"### Customer photos, `{report['split']}` ({report['rows']} photos of senders not trained on)"
        parts = [title, photo_table(report), annotation_table(report), interval_table(report), tree_line(report)]
        return "\n\n".join(part for part in parts if part)
    title = f"### Catalogue, `{report['split']}` ({report['rows']} rows of product groups not trained on)"
    tables = [catalogue_table(report), interval_table(report), tree_line(report)]
    return "\n\n".join([title, *tables, EXPLAINED.strip()])


def _thresholds(bundle: Bundle) -> str:
    checks = bundle.training.get("thresholds", {})
    rows = [
        (
            name,
            f"{row.precision:.2f}",
            "never answers" if row.threshold >= ALWAYS_ABSTAIN else format_number(row.threshold),
            *[format_number(checks.get(name, {}).get(key)) for key in ("answered", "precision", "bound")],
        )
        for name, row in bundle.calibration.items()
    ]
    source = bundle.training.get("thresholds_from", "val")
    silent = [
        f"**{name} is never answered**: {check['reason']}." for name, check in checks.items() if check.get("reason")
    ]
    return (
        "An attribute whose score is below its threshold is `null`. Each threshold is the lowest at which the 95 %\n"
        f"Clopper-Pearson lower bound on the precision on `{source}` reaches the target precision plus the run's\n"
        "margin (by default .02 for articleType, whose precision `val` overestimates). articleType has to reach its\n"
        "target on customer photos too. The last columns are the share answered there, its precision and the bound.\n\n"
        + "\n\n".join([table(THRESHOLD_TITLES, rows), *silent])
    )


THRESHOLD_TITLES = ("attribute", "target precision", "threshold", "answered", "precision", "lower bound")

EXPLAINED = """
Accuracy, macro-F1 and ECE (15 bins of equal mass; before and after calibration) are those of the best guess, regardless
of thresholds. Macro-F1 averages over the values with at least one row in the split (≥5: at least five). Coverage is the
share of rows answered, precision the share of those that is correct. The last columns are the accuracy on 60x80 images
and on larger ones, which are not a random sample of the set. The second table has 95 % confidence intervals. Rows of
one product group are right or wrong together, so the intervals come from a bootstrap over groups (for photos: senders);
"equal weight" gives each group the same weight, and the last column is the 95 % Clopper-Pearson upper bound on the
precision of answered rows.
"""
