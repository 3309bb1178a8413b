"""The HTML report of `python -m train.evaluate … --report DIR`: DIR/index.html with tables and plots.

Contact sheets of the worst mistakes are written beside it. They contain images of the data set, so do not share them.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from model.preprocessing import Pixels
from train.evaluation import plots
from train.evaluation.evaluator import EvaluatedSplit
from train.evaluation.measure import AttributePredictions
from train.evaluation.tables import format_report

SHEET = (8, 5)
"""Columns and rows of images on a contact sheet."""

CAPTION_PX = 42
"""Height of the text below each image."""

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; }}
pre {{ overflow: auto; font-size: 12px; }} svg, img {{ max-width: 100%; height: auto; }}
</style>
<h1>{title}</h1>
{sections}
</html>
"""


def write_report(
    folder: Path, report: dict[str, Any], evaluated: EvaluatedSplit, trained: Mapping[str, Mapping[str, int]]
) -> Path:
    """Writes the report and returns its page. `trained` maps attribute and value to the number of training rows."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = [("Metrics", f"<pre>{html.escape(format_report(report))}</pre>")]
    sections += _plots(evaluated, trained)
    for each in evaluated.predictions:
        file = folder / f"worst-{each.name}.jpg"
        if write_worst(file, each, evaluated.pixels):
            sections.append((f"Worst mistakes: {each.name}", f'<img src="{file.name}" alt="contact sheet">'))
    body = "\n".join(f"<h2>{html.escape(title)}</h2>\n{content}" for title, content in sections)
    title = f"{report['bundle']} {report['version']} on {report['data']}, {report['split']}"
    page = folder / "index.html"
    page.write_text(PAGE.format(title=html.escape(title), sections=body), encoding="utf-8")
    return page


def _plots(evaluated: EvaluatedSplit, trained: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
    predictions = evaluated.predictions
    found = [
        ("Calibration: accuracy by score", plots.reliability(predictions)),
        ("Precision by coverage", plots.coverage_and_precision(predictions)),
    ]
    for each in predictions:
        if trained.get(each.name):
            found.append(
                (f"{each.name}: accuracy by training rows", plots.accuracy_by_frequency(each, trained[each.name]))
            )
    # Photos have no confusion matrix: their coarse labels are not values of the taxonomy.
    widest = max(
        (each for each in predictions if trained.get(each.name)), key=lambda each: len(set(each.truth)), default=None
    )
    if widest is not None:
        found.append((f"{widest.name}: confusion matrix", plots.confusion(widest)))
    return found


def write_worst(file: Path, predictions: AttributePredictions, pixels: Pixels) -> bool:
    """Write a contact sheet of the most confident wrong guesses. Returns False if there are none."""
    across, down = SHEET
    wrong = np.flatnonzero(~predictions.correct)
    worst = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][: across * down]
    if len(worst) == 0:
        return False
    height, width = pixels.shape[1], pixels.shape[2]
    sheet = Image.new("RGB", (across * (width + 8), down * (height + CAPTION_PX)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, row in enumerate(worst):
        left, top = place % across * (width + 8), place // across * (height + CAPTION_PX)
        sheet.paste(Image.fromarray(np.asarray(pixels[predictions.rows[row]])), (left, top))
        words = f"{predictions.truth[row]}\n→ {predictions.guesses[row]}\n{predictions.confidence[row]:.2f}"
        pen.multiline_text((left + 2, top + height), words, fill="black", font_size=10, spacing=1)
    sheet.save(file, quality=90)
    return True
