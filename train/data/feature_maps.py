"""Last feature maps of a split's images from a frozen backbone, computed once and cached on disk as float16.

Copy 0 is the image as it is served, copy 1 its mirror image; further copies are augmented as in training.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from model.bundle import Bundle
from model.preprocessing import Pixels, to_input
from train.data.augment import CATALOGUE, augment

Maps: TypeAlias = npt.NDArray[np.float16]
"""N x features x h x w."""


def compute_maps(
    bundle: Bundle, pixels: Pixels, copy: int = 0, file: Path | None = None, batch_size: int = 128
) -> Maps:
    """Feature maps of all images. With a `file`, they are memory-mapped, and computed only if it does not exist."""
    if file is not None and file.exists():
        return np.load(file, mmap_mode="r")  # type: ignore[no-any-return]
    network, random = bundle.network(), torch.Generator().manual_seed(copy)
    maps: Maps | None = None
    unfinished = file.with_suffix(".part") if file else None
    for first in tqdm(range(0, len(pixels), batch_size), desc=f"feature maps {copy}", leave=False, mininterval=5):
        batch = torch.from_numpy(np.array(pixels[first : first + batch_size]))
        with torch.inference_mode():
            found = (
                network.feature_map(to_input(make_copy(batch, copy, random), bundle.mean, bundle.std)).half().numpy()
            )
        if maps is None:
            maps = _empty((len(pixels), *found.shape[1:]), unfinished)
        maps[first : first + len(found)] = found
    if maps is None:
        raise ValueError("there are no images")
    if isinstance(maps, np.memmap) and unfinished and file:
        maps.flush()
        os.replace(unfinished, file)
    return maps


def make_copy(batch: torch.Tensor, copy: int, random: torch.Generator) -> torch.Tensor:
    """The given copy of a batch of images (N x H x W x 3)."""
    if copy == 0:
        return batch
    return batch.flip(2) if copy == 1 else augment(batch, CATALOGUE, random)


def map_file(folder: Path, bundle: Bundle, split: str, copy: int, names: list[str]) -> Path:
    """Cache file of one copy of a split; its name contains a hash of the backbone's weights and the image names."""
    digest = hashlib.sha256("\n".join(names).encode())
    for name, tensor in sorted(bundle.weights.items()):
        if name.startswith("backbone."):
            digest.update(tensor.half().numpy().tobytes())
    return folder / f"maps-{split}-{copy}-{digest.hexdigest()[:12]}.npy"


def _empty(shape: tuple[int, ...], file: Path | None) -> Maps:
    if file is None:
        return np.empty(shape, dtype=np.float16)
    file.parent.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
