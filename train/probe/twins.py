"""Twins: images of a table that are identical or nearly so, by the bytes' digest and by small thumbnails."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from model.preprocessing import Pixels

THUMBNAIL = (16, 12)
MAX_DISTANCE = 3.0
"""Root mean square difference of two thumbnails, in grey levels of 0 to 255, up to which images are twins."""

MIN_CONTRAST = 4.0
"""Thumbnails of a smaller deviation are nearly blank, and not compared."""

BLOCK = 2048


def thumbnails(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Small versions of N images, N x 576, 0..255."""
    parts = [
        functional.interpolate(
            torch.from_numpy(np.array(part)).permute(0, 3, 1, 2).float(), size=THUMBNAIL, mode="area"
        ).flatten(1)
        for part in np.array_split(pixels, max(1, -(-len(pixels) // BLOCK)))
    ]
    found: npt.NDArray[np.float32] = torch.cat(parts).numpy()
    return found


def find_twins(small: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs of rows (lower first) whose thumbnails (N x values) differ by at most MAX_DISTANCE."""
    rows = torch.from_numpy(small)
    limit = MAX_DISTANCE * small.shape[1] ** 0.5
    is_blank = rows.std(dim=1) < MIN_CONTRAST
    found = []
    for first in range(0, len(rows), BLOCK):
        distances = torch.cdist(rows[first : first + BLOCK], rows)
        distances[is_blank[first : first + BLOCK]] = torch.inf
        for one, other in (distances <= limit).nonzero().tolist():
            if one + first < other:
                found.append((one + first, other))
    return found


def join_groups(groups: npt.NDArray[np.int64], twins: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Group numbers, N, in which twins and the groups that they connect have one number."""
    parent = list(range(int(groups.max()) + 1)) if len(groups) else []

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for one, other in twins:
        parent[root(int(groups[one]))] = root(int(groups[other]))
    return np.array([root(int(number)) for number in groups], dtype=np.int64)
