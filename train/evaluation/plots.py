"""Plots of judged attributes as SVG text: reliability, coverage and precision, confusion, accuracy by frequency."""

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

from train.evaluation.measure import Floats, Judged, of_equal_mass

PANEL = (3.2, 2.9)
"""Width and height of one attribute's panel, in inches."""

TOP = 30


def reliability(judged: Sequence[Judged]) -> str:
    """How often guesses are right against how sure the network is, before calibration and after: equal bins."""

    def draw(axes: Axes, each: Judged) -> None:
        axes.plot([0, 1], [0, 1], color="0.8")
        for label, confidence, style in (("before", each.before, ":"), ("after", each.confidence, "-")):
            parts = of_equal_mass(confidence)
            sure = [float(confidence[part].mean()) for part in parts]
            axes.plot(sure, [float(each.right[part].mean()) for part in parts], style, marker=".", label=label)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="score", ylabel="right")
        axes.legend(fontsize=7)

    return _panels(judged, draw)


def coverage_and_precision(judged: Sequence[Judged]) -> str:
    """What any threshold would give; the mark is the one that is served, the line the precision asked for."""

    def draw(axes: Axes, each: Judged) -> None:
        coverage, precision = curve(each)
        axes.plot(coverage, precision)
        axes.axhline(each.asked, color="0.7", linestyle=":")
        served = each.score >= each.threshold
        if served.any():
            axes.plot(float(served.mean()), float(each.right[served].mean()), "o", color="tab:red")
        axes.set(xlim=(0, 1.02), ylim=(min(0.5, float(each.right.mean())), 1.01), xlabel="answered", ylabel="right")

    return _panels(judged, draw)


def curve(judged: Judged) -> tuple[Floats, Floats]:
    """(coverage, precision) at every threshold, from the surest row to all that are taken for products."""
    order = np.argsort(-judged.score, kind="stable")
    order = order[judged.score[order] >= 0]
    counts = np.arange(1, len(order) + 1)
    return counts / len(judged.right), np.cumsum(judged.right[order]) / counts


def confusion(judged: Judged, top: int = TOP) -> str:
    """The most frequent values: each row says what its pictures were taken for, as shares of the row."""
    frequent = [value for value, _ in Counter(judged.truth).most_common(top)]
    shares = confusion_shares(judged, frequent)
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


def confusion_shares(judged: Judged, values: Sequence[str]) -> npt.NDArray[np.float64]:
    """values x (values and one column for all others): per true value, the share of each guess."""
    place = {value: number for number, value in enumerate(values)}
    counts = np.zeros((len(values), len(values) + 1))
    for true, guess in zip(judged.truth, judged.guesses, strict=True):
        if true in place:
            counts[place[true], place.get(guess, len(values))] += 1
    return counts / counts.sum(axis=1, keepdims=True).clip(min=1)


def accuracy_by_frequency(judged: Judged, trained: Mapping[str, int]) -> str:
    """One dot per value: how often it is recognized, against how many rows were trained on."""
    totals = Counter(judged.truth)
    hits = Counter(true for true, right in zip(judged.truth, judged.right, strict=True) if right)
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    counts = [max(trained.get(value, 0), 0.7) for value in totals]
    shares = [hits[value] / total for value, total in totals.items()]
    axes.scatter(counts, shares, s=[12 + 6 * math.sqrt(total) for total in totals.values()], alpha=0.5)
    for (value, total), count, share in zip(totals.items(), counts, shares, strict=True):
        if share < 0.5 and total >= 5:
            axes.annotate(value, (count, share), fontsize=7)
    axes.set(xscale="log", ylim=(-0.03, 1.03), xlabel="rows trained on", ylabel="right", title=judged.name)
    return _svg(figure)


def _panels(judged: Sequence[Judged], draw: Callable[[Axes, Judged], None]) -> str:
    columns = min(3, len(judged))
    rows = math.ceil(len(judged) / columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, each in zip(grid, judged, strict=False):
        draw(axes, each)
        axes.set_title(each.name, fontsize=10)
    for axes in list(grid)[len(judged) :]:
        axes.set_axis_off()
    return _svg(figure)


def _svg(figure: Figure) -> str:
    # Without pyplot: no global state, no display.
    FigureCanvasSVG(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight")
    return text.getvalue()[text.getvalue().index("<svg") :]
