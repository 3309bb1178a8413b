"""SVG plots of attribute predictions: reliability, precision by coverage, confusion, accuracy by frequency."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from train.evaluation.measure import AttributePredictions, FloatArray, equal_mass_bins

PANEL = (3.2, 2.9)
"""Width and height of one attribute's panel, in inches."""

TOP = 30
"""Maximum number of values in a confusion matrix."""


def reliability(predictions: Sequence[AttributePredictions]) -> str:
    """Reliability diagrams (accuracy by confidence, bins of equal mass), before and after calibration."""

    def draw(axes: Axes, each: AttributePredictions) -> None:
        axes.plot([0, 1], [0, 1], color="0.8")
        for label, confidence, style in (("before", each.uncalibrated, ":"), ("after", each.confidence, "-")):
            parts = equal_mass_bins(confidence)
            means = [float(confidence[part].mean()) for part in parts]
            axes.plot(means, [float(each.correct[part].mean()) for part in parts], style, marker=".", label=label)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="score", ylabel="correct")
        axes.legend(fontsize=7)

    return _panels(predictions, draw)


def coverage_and_precision(predictions: Sequence[AttributePredictions]) -> str:
    """Precision by coverage over all thresholds; the dot marks the served one, the line the target precision."""

    def draw(axes: Axes, each: AttributePredictions) -> None:
        coverage, precision = curve(each)
        axes.plot(coverage, precision)
        axes.axhline(each.target_precision, color="0.7", linestyle=":")
        served = each.score >= each.threshold
        if served.any():
            axes.plot(float(served.mean()), float(each.correct[served].mean()), "o", color="tab:red")
        axes.set(xlim=(0, 1.02), ylim=(min(0.5, float(each.correct.mean())), 1.01), xlabel="answered", ylabel="correct")

    return _panels(predictions, draw)


def curve(predictions: AttributePredictions) -> tuple[FloatArray, FloatArray]:
    """(coverage, precision) at every threshold, highest first, over the rows taken for products."""
    order = np.argsort(-predictions.score, kind="stable")
    order = order[predictions.score[order] >= 0]
    counts = np.arange(1, len(order) + 1)
    return counts / len(predictions.correct), np.cumsum(predictions.correct[order]) / counts


def confusion(predictions: AttributePredictions, top: int = TOP) -> str:
    """Confusion matrix of the most frequent values, normalised by row (label); columns are best guesses."""
    frequent = [value for value, _ in Counter(predictions.truth).most_common(top)]
    shares = confusion_shares(predictions, frequent)
    side = 2.2 + 0.26 * len(frequent)
    figure = Figure(figsize=(side + 0.6, side))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(shares.shape[1]), [*frequent, "(other)"], rotation=90, fontsize=7)
    axes.set_yticks(range(len(frequent)), frequent, fontsize=7)
    axes.set(xlabel="best guess", ylabel="catalogue")
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.05:
            shade = "white" if share > 0.6 else "black"
            axes.text(column, row, f"{share * 100:.0f}", ha="center", va="center", fontsize=5, color=shade)
    return _svg(figure)


def confusion_shares(predictions: AttributePredictions, values: Sequence[str]) -> npt.NDArray[np.float64]:
    """Row-normalised confusion matrix, values x (values + 1); the last column counts guesses of any other value."""
    place = {value: number for number, value in enumerate(values)}
    counts = np.zeros((len(values), len(values) + 1))
    for true, guess in zip(predictions.truth, predictions.guesses, strict=True):
        if true in place:
            counts[place[true], place.get(guess, len(values))] += 1
    return counts / counts.sum(axis=1, keepdims=True).clip(min=1)


def accuracy_by_frequency(predictions: AttributePredictions, trained: Mapping[str, int]) -> str:
    """Recall per value by its number of training rows (`trained`); labels mark values with recall below .5."""
    totals = Counter(predictions.truth)
    hits = Counter(true for true, correct in zip(predictions.truth, predictions.correct, strict=True) if correct)
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    counts = [max(trained.get(value, 0), 0.7) for value in totals]
    shares = [hits[value] / total for value, total in totals.items()]
    axes.scatter(counts, shares, s=[12 + 6 * math.sqrt(total) for total in totals.values()], alpha=0.5)
    for (value, total), count, share in zip(totals.items(), counts, shares, strict=True):
        if share < 0.5 and total >= 5:
            axes.annotate(value, (count, share), fontsize=7)
    axes.set(xscale="log", ylim=(-0.03, 1.03), xlabel="rows trained on", ylabel="correct", title=predictions.name)
    return _svg(figure)


def _panels(predictions: Sequence[AttributePredictions], draw: Callable[[Axes, AttributePredictions], None]) -> str:
    columns = min(3, len(predictions))
    rows = math.ceil(len(predictions) / columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, each in zip(grid, predictions, strict=False):
        draw(axes, each)
        axes.set_title(each.name, fontsize=10)
    for axes in list(grid)[len(predictions) :]:
        axes.set_axis_off()
    return _svg(figure)


def _svg(figure: Figure) -> str:
    # pyplot is avoided, because it keeps global state and may need a display.
    FigureCanvasSVG(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight")
    return text.getvalue()[text.getvalue().index("<svg") :]
