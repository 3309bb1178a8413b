"""One SVG per scenario: pods and queue over time, with a column per lane."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.capacity.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 300
"""More points would only enlarge the file, because the plot has fewer pixels."""


def draw(run: Run, folder: Path) -> Path:
    """Writes `NAME.svg`; the same run gives the same bytes."""
    import matplotlib as mpl  # loading takes seconds, and only plots need it

    mpl.use("svg")
    from matplotlib import pyplot as plt

    settings: dict[Any, Any] = {
        "svg.hashsalt": run.load.name,
        "svg.fonttype": "none",
        "path.simplify_threshold": 1.0,
        "font.size": 9,
    }
    with mpl.rc_context(settings):
        lanes = [lane for lane in run.controls if run.flows[lane].arrived]
        figure, grid = plt.subplots(2, len(lanes), figsize=(5.2 * len(lanes), 4.2), sharex="col", squeeze=False)
        for column, lane in enumerate(lanes):
            series = run.controls[lane].series
            pods, queue = grid[0][column], grid[1][column]
            for label, values, colour in (("desired", series.desired, "#888"), ("ready", series.ready, "#06c")):
                pods.step(*_changes(series.at_s, values), where="post", label=label, color=colour, linewidth=1)
            queue.fill_between(*_peaks(series.at_s, series.waiting), step="post", color="#c60", alpha=0.6, linewidth=0)
            _label(pods, queue, f"{run.load.name}, {lane.value}")
        figure.tight_layout()
        folder.mkdir(parents=True, exist_ok=True)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    path = folder / f"{run.load.name}.svg"
    path.write_text(_rounded(svg.getvalue()), encoding="utf-8")
    return path


def _rounded(svg: str) -> str:
    """Removes hundredths of pixels and trailing spaces, which halves the size."""
    return re.sub(r"[ \t]+$", "", re.sub(r"(\d\.\d)\d+", r"\1", svg), flags=re.MULTILINE)


def _changes(at_s: Sequence[int], values: Sequence[int]) -> tuple[list[float], list[int]]:
    """Returns the points at which a step function changes, and its two ends."""
    kept = [at for at in range(len(values)) if at in (0, len(values) - 1) or values[at] != values[at - 1]]
    return [at_s[at] / 3600 for at in kept], [values[at] for at in kept]


def _peaks(at_s: Sequence[int], values: Sequence[int]) -> tuple[list[float], list[int]]:
    """Downsamples to the maximum of each interval, so that short peaks stay visible."""
    step = -(-len(values) // MAX_POINTS)
    starts = range(0, len(values), step)
    return [at_s[start] / 3600 for start in starts], [max(values[start : start + step]) for start in starts]


def _label(pods: Axes, queue: Axes, title: str) -> None:
    pods.set_title(title)
    pods.set_ylabel("pods")
    pods.set_ylim(bottom=0)
    pods.locator_params(axis="y", integer=True)
    pods.legend(loc="upper right", frameon=False)
    queue.set_ylabel("images that wait")
    queue.set_xlabel("hours")
    queue.set_ylim(bottom=0)
    queue.yaxis.set_major_formatter("{x:,.0f}")
