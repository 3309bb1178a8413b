"""What the loop draws batches from: pictures and targets of both sets as arrays, and the order of an epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.preprocessing import Pixels
from model.taxonomy import Taxonomy
from train.augment import CATALOGUE, PHOTO, augment, paste_background
from train.catalogue import Item, count_taxonomy, read_catalogue
from train.images import ImageStore, load_pixels
from train.loss import UNKNOWN
from train.photos import Photo, gender_masks, read_photos, type_masks
from train.words import count_words, word_targets

LIGHT_COLOURS = frozenset({"White", "Off White", "Cream", "Silver", "Grey", "Nude", "Beige", "Skin", "Steel"})
PASTED_SHARE = 0.08


@dataclass(frozen=True)
class CatalogueSplit:
    """Pictures (N x H x W x 3), and per attribute N indices into the taxonomy's values (-1: missing or unknown)."""

    items: list[Item]
    pixels: Pixels
    targets: dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class PhotoSplit:
    """Photos, and which article types and genders fit each (N x values, bool)."""

    photos: list[Photo]
    pixels: Pixels
    types: npt.NDArray[np.bool_]
    genders: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Dataset:
    """Everything one training run reads. The photos' splits are None for a run without photos.

    `words` are those of the training rows' names that are worth predicting, `train_words` (N x words, bool) says which
    row's name has which.
    """

    taxonomy: Taxonomy
    words: tuple[str, ...]
    train_words: npt.NDArray[np.bool_]
    train: CatalogueSplit
    val: CatalogueSplit
    train_photos: PhotoSplit | None
    val_photos: PhotoSplit | None


@dataclass(frozen=True)
class Batch:
    """One step's input, augmented: pictures (catalogue rows, then photos), targets and masks."""

    images: torch.Tensor
    targets: dict[str, torch.Tensor]
    words: torch.Tensor
    types: torch.Tensor
    genders: torch.Tensor


def load_dataset(data: Path, photos: Path | None, size: tuple[int, int], cache: Path | None) -> Dataset:
    """Read both folders at `size` = (height, width). The taxonomy is counted from the training rows."""
    items = read_catalogue(data)
    taxonomy = count_taxonomy([item for item in items if item.split == "train"])
    rows = read_photos(photos) if photos else []

    def catalogue(split: str) -> CatalogueSplit:
        return load_catalogue_split(data, items, split, taxonomy, size, cache)

    def own(split: str) -> PhotoSplit | None:
        return load_photo_split(photos, rows, split, taxonomy, size, cache) if photos else None

    train = catalogue("train")
    words = count_words(train.items)
    return Dataset(taxonomy, words, word_targets(train.items, words), train, catalogue("val"), own("train"), own("val"))


def load_catalogue_split(
    folder: Path,
    items: Sequence[Item],
    split: str,
    taxonomy: Taxonomy,
    size: tuple[int, int],
    cache: Path | None = None,
) -> CatalogueSplit:
    """One split's pictures and targets; a row whose picture is missing (Kaggle lacks a few) is left out."""
    store = ImageStore(folder)
    chosen = [item for item in items if item.split == split and item.image in store]
    if not chosen:
        raise ValueError(f"{folder.name} has no pictures in the split {split!r}")
    pixels = load_pixels(folder, [item.image for item in chosen], size, cache)
    return CatalogueSplit(chosen, pixels, {name: targets_of(chosen, taxonomy, name) for name in taxonomy.values})


def load_photo_split(
    folder: Path,
    photos: Sequence[Photo],
    split: str,
    taxonomy: Taxonomy,
    size: tuple[int, int],
    cache: Path | None = None,
) -> PhotoSplit:
    """One split's photos and masks."""
    store = ImageStore(folder)
    chosen = [photo for photo in photos if photo.split == split and photo.image in store]
    if not chosen:
        raise ValueError(f"{folder.name} has no photos in the split {split!r}")
    pixels = load_pixels(folder, [photo.image for photo in chosen], size, cache)
    return PhotoSplit(chosen, pixels, type_masks(chosen, taxonomy), gender_masks(chosen, taxonomy))


def targets_of(items: Sequence[Item], taxonomy: Taxonomy, name: str) -> npt.NDArray[np.int64]:
    """N indices into the attribute's values."""
    return np.array(
        [taxonomy.index(name, item.labels[name]) if name in item.labels else UNKNOWN for item in items], dtype=np.int64
    )


def photo_weights(photos: Sequence[Photo]) -> torch.Tensor:
    """How often to draw each photo: a few senders and labels have most of them, so each counts by its square root."""
    senders, labels = Counter(photo.sender for photo in photos), Counter(photo.label for photo in photos)
    return torch.tensor([(senders[photo.sender] * labels[photo.label]) ** -0.5 for photo in photos])


class BatchSource:
    """Draws augmented batches: every catalogue row once an epoch, photos at random beside them."""

    def __init__(self, dataset: Dataset, batch_size: int, photo_batch_size: int) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.photo_batch_size = photo_batch_size if dataset.train_photos else 0
        self.steps = max(1, len(dataset.train.items) // batch_size)
        self._photo_weights = photo_weights(dataset.train_photos.photos if dataset.train_photos else [])
        self._can_paste = np.array(
            [item.labels.get("baseColour", "White") not in LIGHT_COLOURS for item in dataset.train.items]
        )

    def epoch(self, random: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.dataset.train.items), generator=random).numpy()
        for step in range(self.steps):
            rows = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])
            yield self._batch(rows, random)

    def _batch(self, rows: npt.NDArray[np.int64], random: torch.Generator) -> Batch:
        train, own = self.dataset.train, self.dataset.train_photos
        pixels = torch.from_numpy(train.pixels[rows])
        targets = {name: torch.from_numpy(column[rows]) for name, column in train.targets.items()}
        words = torch.from_numpy(self.dataset.train_words[rows])
        if own is None or not self.photo_batch_size:
            nothing = torch.zeros(0, 0, dtype=torch.bool)
            return Batch(augment(pixels, CATALOGUE, random), targets, words, nothing, nothing)
        picked = torch.multinomial(self._photo_weights, self.photo_batch_size, generator=random).sort().values.numpy()
        photos = torch.from_numpy(own.pixels[picked])
        chosen = torch.rand(len(rows), generator=random) < PASTED_SHARE
        chosen &= torch.from_numpy(self._can_paste[rows])
        pixels = paste_background(pixels, photos, chosen, random)
        images = torch.cat([augment(pixels, CATALOGUE, random), augment(photos, PHOTO, random)])
        types, genders = torch.from_numpy(own.types[picked]), torch.from_numpy(own.genders[picked])
        return Batch(images, targets, words, types, genders)
