"""`python -m train.caption_speed`: what names cost beside the heads, per picture, at the served batch size."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

ROUNDS = 40


def median_ms(action: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS + 3):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[3:])
