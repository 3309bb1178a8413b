"""Images of a data set (in zip archives, as `images/ID.jpg`, or as files), and a cache at the network's input size.

Decoding 40,000 images takes a minute or two; the cache is one memory-mapped uint8 array per split and size.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from model.preprocessing import Pixels, fit


class ImageStore:
    """Images by name, in the folder of a data set's table. The data set is given as a folder or as a CSV file.

    A name is an ID (for `ID.jpg` in `images*.zip`, or `images/ID.jpg`) or a path relative to the table's folder.
    """

    def __init__(self, data: Path) -> None:
        self.folder = data if data.is_dir() else data.parent
        self._archives = [zipfile.ZipFile(file) for file in sorted(self.folder.glob("images*.zip"))]
        self._members = {name: archive for archive in self._archives for name in archive.namelist()}

    def __contains__(self, name: str) -> bool:
        return f"{name}.jpg" in self._members or self._file(name).is_file()

    def read(self, name: str) -> bytes:
        """The encoded image. Raises FileNotFoundError."""
        archive = self._members.get(f"{name}.jpg")
        return archive.read(f"{name}.jpg") if archive else self._file(name).read_bytes()

    def version(self, name: str) -> str:
        """A string that changes with the image: the archive's CRC, or the file's size and modification time."""
        archive = self._members.get(f"{name}.jpg")
        if archive:
            return f"{archive.getinfo(f'{name}.jpg').CRC:08x}"
        file = self._file(name).stat()
        return f"{file.st_size} {file.st_mtime_ns}"

    def pixels(self, name: str, size: tuple[int, int]) -> Pixels:
        """The decoded image at `size` = (height, width), preprocessed exactly as in serving."""
        with Image.open(io.BytesIO(self.read(name))) as image:
            return fit(image.convert("RGB"), size)

    def _file(self, name: str) -> Path:
        by_id = self.folder / "images" / f"{name}.jpg"
        return by_id if by_id.is_file() else self.folder / name


def load_pixels(
    data: Path, names: Sequence[str], size: tuple[int, int], cache: Path | None = None, workers: int | None = None
) -> Pixels:
    """The named images as one uint8 array, N x height x width x 3; memory-mapped if `cache` is a folder."""
    if cache is None:
        return np.stack(list(_decoded(ImageStore(data), names, size, workers)))
    store = ImageStore(data)
    file = cache / f"{data.stem}-{size[0]}x{size[1]}-{_digest(store, names)}.npy"
    if not file.exists():
        _write_cache(file, store, names, size, workers)
    pixels: Pixels = np.load(file, mmap_mode="r")
    return pixels


def _write_cache(
    file: Path, store: ImageStore, names: Sequence[str], size: tuple[int, int], workers: int | None
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}.part")  # several processes of a run may write it at once
    array = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(len(names), *size, 3))
    for row, pixels in enumerate(_decoded(store, names, size, workers)):
        array[row] = pixels
    array.flush()
    os.replace(unfinished, file)


def _decoded(store: ImageStore, names: Sequence[str], size: tuple[int, int], workers: int | None) -> Iterable[Pixels]:
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        decoded = pool.map(lambda name: store.pixels(name, size), names)
        yield from tqdm(decoded, total=len(names), desc=f"decoding {store.folder.name}", leave=False, mininterval=2)


def _digest(store: ImageStore, names: Sequence[str]) -> str:
    """A hash of the image names and versions."""
    return hashlib.sha256("\n".join(f"{name} {store.version(name)}" for name in names).encode()).hexdigest()[:12]
