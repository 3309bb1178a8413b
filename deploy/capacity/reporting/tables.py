"""Result tables, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.capacity.assumptions import Assumptions
from deploy.capacity.load import Load
from deploy.capacity.reporting.figures import Row
from deploy.capacity.scaled_object import ScaledObject
from deploy.capacity.variation import with_values

HEADINGS = (
    "scenario", "lane", "images", "p50", "p95", "p99", "pods", "GPU-hours", "cost", "always on", "changes", "turns/h",
    "at zero", "lost", "twice",
)  # fmt: skip
LEGEND = """\
p50, p95, p99: from the acceptance of an image to its answer. pods: the most at a time. cost: at a price of {price:g} a
GPU-hour; always on: the same for as many GPUs as the most pods, for the whole time. changes: of the number of pods;
turns/h: how often an hour up follows down or down up. twice: images worked on again because their pod was killed."""


def cells(row: Row) -> list[str]:
    """Returns the row's cells, in the order of HEADINGS."""
    return [
        row.scenario, row.lane, f"{row.images:,}",
        *(duration(each) if row.images else "–" for each in (row.wait_p50_s, row.wait_p95_s, row.wait_p99_s)),
        str(row.pods_max), f"{row.gpu_hours:.1f}", f"{row.cost:.2f}", f"{row.always_on_cost:.2f}",
        str(row.scale_events), f"{row.turns_per_hour:.1f}", f"{row.at_zero:.0%}",
        str(row.lost), str(row.computed_twice),
    ]  # fmt: skip


def lines(found: Sequence[Row]) -> list[list[str]]:
    """Returns the cells of all rows. Skips lanes without images."""
    return [cells(row) for row in found if row.images]


def duration(seconds: float) -> str:
    """Formats a duration for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02} min"


def plain(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Formats a table in aligned columns."""
    widths = [max(len(line[column]) for line in (headings, *lines)) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in (headings, *lines)
    )


def markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Formats a table as Markdown."""
    rule = ["---"] * len(headings)
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *lines))


def unfinished(rows: Sequence[Row]) -> list[str]:
    """Returns a sentence for each row with unfinished images."""
    return [
        f"{row.scenario}, {row.lane}: {row.unfinished:,} images still waited at the end; the lane is too small for them"
        for row in rows
        if row.unfinished
    ]


def legend(assumptions: Assumptions) -> str:
    """Returns the explanation of the columns."""
    return LEGEND.format(price=assumptions.price_per_gpu_hour)


def loads(given: Sequence[Load]) -> str:
    """Returns one line per scenario."""
    return "\n".join(f"{each.name}: {each.story}" for each in given)


def values(scaled_objects: Sequence[ScaledObject]) -> str:
    """Returns the scaling parameters, one line per lane."""
    return "\n".join(f"{each.name}: {each.formula.text}; {with_values(each)}" for each in scaled_objects)
