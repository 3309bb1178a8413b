"""An estimate of a run's time, from a few measured batches."""

from __future__ import annotations

import time

import numpy as np
import torch

from model.bundle import load_bundle
from model.nets.network import AttributeNetwork
from model.preprocessing import to_input
from train.data.options import Options
from train.probe.features import extract
from train.probe.run import MIRRORED_ROWS

SAMPLE = 32
OTHER_S = 15.0
"""Seconds for reading weights and for measuring the bundle."""

FIT_S_PER_ROW = 0.02
"""Seconds per row, mirrored copies included, to fit and cross-validate the heads of three attributes (measured)."""


def estimate_seconds(options: Options, rows: int) -> tuple[float, float]:
    """Images per second through the run's network, and the run's estimated seconds for a number of rows."""
    blank = np.full((SAMPLE, *options.size, 3), 200, dtype=np.uint8)
    if options.start is not None and options.start.is_dir():
        bundle = load_bundle(options.start)
        extract(bundle, blank[:8], 1)  # the first batch also allocates memory
        began = time.perf_counter()
        extract(bundle, blank, 1)
        rate = SAMPLE / (time.perf_counter() - began)
        copies = 2 if rows <= MIRRORED_ROWS else 1
        return rate, rows * copies / rate + min(rows, 6000) * FIT_S_PER_ROW + OTHER_S
    network = AttributeNetwork(options.architecture, {"any": 2})
    began = time.perf_counter()
    network(to_input(torch.from_numpy(blank)))["any"].sum().backward()
    rate = SAMPLE / (time.perf_counter() - began)
    seconds = rows * options.epochs / rate
    return rate, (min(seconds, options.max_minutes * 60) if options.max_minutes else seconds) + OTHER_S
