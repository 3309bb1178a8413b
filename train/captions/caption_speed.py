"""Benchmark of a bundle's predictions with structured text and with its captioner."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from model.predictor import Predictor
from train.data.drawn import COLOURS, TYPES, draw

ROUNDS = 40
WARM_UP_ROUNDS = 3
BUDGET_MS = 60_000


def measure_speed(bundle: Path | None, batch_size: int, threads: int | None) -> tuple[float, float]:
    """Median milliseconds per batch with structured text and with the captioner."""
    predictors = [
        Predictor.load(bundle, device="cpu", threads=threads, caption_budget_ms=budget) for budget in (0, BUDGET_MS)
    ]
    articles = itertools.islice(itertools.cycle(itertools.product(TYPES, COLOURS)), batch_size)
    drawn = [draw(article, colour, (180, 240), seed) for seed, (article, colour) in enumerate(articles)]
    batch = [predictors[0].preprocess(image) for image in drawn]
    structured, captioned = (median_ms(partial(predictor.predict, batch)) for predictor in predictors)
    return structured, captioned


def format_speed(structured_ms: float, captioned_ms: float, batch_size: int) -> str:
    """The result of `measure_speed` as text."""
    captions_ms = captioned_ms - structured_ms

    def line(title: str, batch_ms: float) -> str:
        return f"{title} {batch_ms / batch_size:.2f} ms/image, {1000 * batch_size / batch_ms:.0f} images/s"

    return "\n".join(
        [
            f"batch of {batch_size}, {torch.get_num_threads()} threads, medians of {ROUNDS}",
            line("heads with structured text:", structured_ms),
            line("heads with captions:       ", captioned_ms),
            f"{line('captions alone:', captions_ms)}, {captions_ms / structured_ms:.2f} of the heads",
        ]
    )


def median_ms(action: Callable[[], object]) -> float:
    """Median milliseconds of 40 calls, after 3 that are not counted."""
    times = []
    for _ in range(WARM_UP_ROUNDS + ROUNDS):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[WARM_UP_ROUNDS:])
