"""The evaluation as a page: `python -m train.evaluate … --report DIR` writes DIR/index.html, plots and all.

Beside it lie contact sheets of the worst mistakes. They show pictures of the data set: not to be passed on.
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
"""Pictures across and down on a contact sheet."""

CAPTION_PX = 42

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
    """The page's file. `trained` says how many training rows each value of each attribute had."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = [("Figures", f"<pre>{html.escape(format_report(report))}</pre>")]
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
        ("Is a score what it says?", plots.reliability(predictions)),
        ("What a threshold costs, and what it gives", plots.coverage_and_precision(predictions)),
    ]
    for each in predictions:
        if trained.get(each.name):
            found.append(
                (f"{each.name}: the rare and the frequent", plots.accuracy_by_frequency(each, trained[each.name]))
            )
    # Of photos with coarse labels the truth is no value of the taxonomy: there is no square to draw.
    widest = max(
        (each for each in predictions if trained.get(each.name)), key=lambda each: len(set(each.truth)), default=None
    )
    if widest is not None:
        found.append((f"{widest.name}: what is taken for what", plots.confusion(widest)))
    return found


def write_worst(file: Path, predictions: AttributePredictions, pixels: Pixels) -> bool:
    """A contact sheet of the surest wrong guesses, the surest first; False where nothing is wrong."""
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
