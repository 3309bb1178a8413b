"""The model card, written from the measured figures: nothing in it is typed in by hand but the data's
origin and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.bundle import ALWAYS_ABSTAIN, Bundle
from train.evaluation.tables import (
    catalogue_table,
    domain_table,
    format_number,
    interval_table,
    photo_table,
    table,
    tree_line,
)

NO_ORIGIN = """## Where it comes from

Nothing was said about the data and their limits when this bundle was made (`--origin FILE`).
"""


def read_origin(file: Path | None) -> str:
    """What the card says of the data and their limits."""
    return NO_ORIGIN if file is None else file.read_text(encoding="utf-8")


def write_card(bundle: Bundle, reports: list[dict[str, Any]], origin: str) -> str:
    """Markdown. `reports` are `evaluate`'s, one per measured split."""
    parts = [
        f"# {bundle.name} {bundle.version}",
        _summary(bundle),
        origin.strip(),
        "## Figures",
        *[_figures(report) for report in reports],
        "## How sure it has to be",
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
            f" A companion, `{bundle.companion.architecture}`, looks at the same input; its probabilities are {share} "
            "of the mean that is answered. The photo head, the in_domain head and the captioner read the first one."
        )
    return (
        f"Attributes of one article from one picture: {counts}.\n"
        f"`{bundle.architecture}` with one linear head per attribute, {weights:.1f} M parameters, input "
        f"{bundle.size[0]} x {bundle.size[1]} pixels (height x width, aspect kept, white padding).{_derived(bundle)}"
        f"{companion} Made on {bundle.created}, taxonomy {bundle.taxonomy.version}."
    )


def _derived(bundle: Bundle) -> str:
    deepest, *above = bundle.taxonomy.levels or ("",)
    return f" From {deepest} its {' and '.join(above)} are summed up." if above else ""


def _figures(report: dict[str, Any]) -> str:
    if report["kind"] == "non-products":
        title = f"### Pictures of no product, drawn by code ({report['rows']}, of kinds not learnt from)"
        return "\n\n".join([title, domain_table(report)])
    if report["kind"] == "photos":
        title = f"### People's own photos, `{report['split']}` ({report['rows']} photos of senders not trained on)"
        return "\n\n".join([title, photo_table(report), interval_table(report), tree_line(report)])
    title = f"### Catalogue, `{report['split']}` ({report['rows']} rows of product groups not trained on)"
    tables = [catalogue_table(report), interval_table(report), tree_line(report)]
    return "\n\n".join([title, *tables, EXPLAINED.strip()])


def _thresholds(bundle: Bundle) -> str:
    rows = [
        (
            name,
            f"{row.precision:.2f}",
            "never answers" if row.threshold >= ALWAYS_ABSTAIN else format_number(row.threshold),
        )
        for name, row in bundle.calibration.items()
    ]
    return (
        "Below its threshold an attribute is `null`. Thresholds are the lowest on `val` whose Clopper-Pearson lower\n"
        "bound (95 %) reaches the precision asked for and the run's margin (by default .02 for articleType, of which\n"
        "`val` is known to flatter); articleType has to reach it on own photos, too.\n\n"
        + table(("attribute", "precision asked", "threshold"), rows)
    )


EXPLAINED = """
Accuracy, macro-F1 and ECE (15 bins of equal mass; before and after calibration) are those of the best guess, thresholds
ignored; macro-F1 is over the values with at least one row in the split (≥5: at least five); coverage and precision are
of answered rows. The last columns are accuracy on the 60x80 pictures and on the larger ones, which are no random sample
of the set. The second table says how far to trust the first: rows of one product group are right or wrong together, so
its intervals come from drawing groups (of photos: senders) again, "alike" lets each of them weigh the same, and the
last column is the 95 % Clopper-Pearson upper bound of the precision of answered rows.
"""
