"""What the loop draws batches from: pictures and targets of both sets as arrays, and the order of an epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.preprocessing import Pixels
from model.taxonomy import Taxonomy
from train.data.augment import (
    CATALOGUE,
    PHOTO,
    augment,
    paste_background,
)
from train.data.catalogue import (
    CLIENT_ATTRIBUTES,
    Item,
    count_taxonomy,
    read_catalogue,
)
from train.data.distillation import FEATURES, Soft, soft_targets
from train.data.images import ImageStore, load_pixels
from train.data.loss import UNKNOWN
from train.data.options import Options
from train.data.photos import (
    GENDER,
    Photo,
    gender_masks,
    read_photos,
    type_masks,
)
from train.data.words import count_words, word_targets

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
    """Photos, and per head that their labels tell of which of its values fit each (N x values, bool).

    `leaf` is the tree's deepest level, one of those heads.
    """

    photos: list[Photo]
    pixels: Pixels
    leaf: str
    fitting: dict[str, npt.NDArray[np.bool_]]

    @property
    def types(self) -> npt.NDArray[np.bool_]:
        """Which values of the deepest level fit, N x values."""
        return self.fitting[self.leaf]


@dataclass(frozen=True)
class Dataset:
    """Everything one training run reads. The photos' splits are None for a run without photos.

    `words` are those of the training rows' names that are worth predicting, `train_words` (N x words, bool) says which
    row's name has which. `soft` is what the teachers say of the training rows, `photo_soft` of the training photos.
    """

    taxonomy: Taxonomy
    words: tuple[str, ...]
    train_words: npt.NDArray[np.bool_]
    train: CatalogueSplit
    val: CatalogueSplit
    train_photos: PhotoSplit | None
    val_photos: PhotoSplit | None
    soft: Soft = field(default_factory=dict)
    photo_soft: Soft = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """One step's input, augmented: pictures (catalogue rows, then photos), the rows' targets, the photos' masks.

    `soft` and `photo_soft` are empty where there is no teacher.
    """

    images: torch.Tensor
    targets: dict[str, torch.Tensor]
    words: torch.Tensor
    fitting: dict[str, torch.Tensor]
    soft: dict[str, torch.Tensor] = field(default_factory=dict)
    photo_soft: dict[str, torch.Tensor] = field(default_factory=dict)


def load_dataset(options: Options, cache: Path | None) -> Dataset:
    """Read both sets at the run's size. Without a taxonomy file, the client's is counted from the training rows."""
    taxonomy = Taxonomy.load(options.taxonomy) if options.taxonomy else None
    items = read_catalogue(options.data, taxonomy.values if taxonomy else CLIENT_ATTRIBUTES, options.columns)
    taxonomy = taxonomy or count_taxonomy([item for item in items if item.split == "train"])
    photos, size, labels = options.photos, options.size, options.photo_labels
    rows = read_photos(photos) if photos else []

    def catalogue(split: str) -> CatalogueSplit:
        return load_catalogue_split(options.data, items, split, taxonomy, size, cache)

    def own(split: str) -> PhotoSplit | None:
        return load_photo_split(photos, rows, split, taxonomy, size, cache, labels) if photos else None

    train, train_photos = catalogue("train"), own("train")
    words = count_words(train.items)
    return Dataset(
        taxonomy=taxonomy,
        words=words,
        train_words=word_targets(train.items, words),
        train=train,
        val=catalogue("val"),
        train_photos=train_photos,
        val_photos=own("val"),
        soft=soft_targets(options.teachers, options.data, [item.image for item in train.items], taxonomy, cache),
        photo_soft=_photo_soft(options, train_photos, taxonomy, cache),
    )


def _photo_soft(options: Options, photos: PhotoSplit | None, taxonomy: Taxonomy, cache: Path | None) -> Soft:
    """Features, and the heads that photos have labels for: teachers never learnt what the others look like there."""
    if photos is None or options.photos is None:
        return {}
    names = [photo.image for photo in photos.photos]
    soft = soft_targets(options.teachers, options.photos, names, taxonomy, cache)
    return {name: rows for name, rows in soft.items() if name in photos.fitting or name == FEATURES}


def load_catalogue_split(
    data: Path,
    items: Sequence[Item],
    split: str,
    taxonomy: Taxonomy,
    size: tuple[int, int],
    cache: Path | None = None,
) -> CatalogueSplit:
    """One split's pictures and targets; a row whose picture is missing (Kaggle lacks a few) is left out."""
    store = ImageStore(data)
    chosen = [item for item in items if item.split == split and item.image in store]
    if not chosen:
        raise ValueError(f"{data.name} has no pictures in the split {split!r}")
    pixels = load_pixels(data, [item.image for item in chosen], size, cache)
    return CatalogueSplit(chosen, pixels, {name: targets_of(chosen, taxonomy, name) for name in taxonomy.values})


def load_photo_split(
    folder: Path,
    photos: Sequence[Photo],
    split: str,
    taxonomy: Taxonomy,
    size: tuple[int, int],
    cache: Path | None = None,
    labels: Path | None = None,
) -> PhotoSplit:
    """One split's photos and masks."""
    store = ImageStore(folder)
    chosen = [photo for photo in photos if photo.split == split and photo.image in store]
    if not chosen:
        raise ValueError(f"{folder.name} has no photos in the split {split!r}")
    pixels = load_pixels(folder, [photo.image for photo in chosen], size, cache)
    fitting = {str(taxonomy.leaf): type_masks(chosen, taxonomy, labels)}
    if GENDER in taxonomy.attributes:
        fitting[GENDER] = gender_masks(chosen, taxonomy)
    return PhotoSplit(chosen, pixels, str(taxonomy.leaf), fitting)


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

    def __init__(
        self, dataset: Dataset, batch_size: int, photo_batch_size: int, rank: int = 0, processes: int = 1
    ) -> None:
        """Sizes are those of one process; `rank` of `processes` says whose share of the rows to draw."""
        self.dataset = dataset
        self.batch_size = batch_size
        own = len(dataset.train_photos.photos) if dataset.train_photos else 0
        self.photo_batch_size = min(photo_batch_size, own)
        self.steps = max(1, len(dataset.train.items) // (batch_size * processes))
        self._rank, self._processes = rank, processes
        self._photo_weights = photo_weights(dataset.train_photos.photos if dataset.train_photos else [])
        self._can_paste = np.array(
            [item.labels.get("baseColour", "White") not in LIGHT_COLOURS for item in dataset.train.items]
        )

    def epoch(self, order: npt.NDArray[np.int64], random: torch.Generator) -> Iterator[Batch]:
        """The epoch's batches. `order` is a permutation of the rows, the same in every process."""
        order = order[self._rank :: self._processes]
        for step in range(self.steps):
            rows = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])
            yield self._batch(rows, random)

    def _batch(self, rows: npt.NDArray[np.int64], random: torch.Generator) -> Batch:
        train, own = self.dataset.train, self.dataset.train_photos
        pixels = torch.from_numpy(train.pixels[rows])
        targets = {name: torch.from_numpy(column[rows]) for name, column in train.targets.items()}
        words = torch.from_numpy(self.dataset.train_words[rows])
        if own is None or not self.photo_batch_size:
            return Batch(augment(pixels, CATALOGUE, random), targets, words, {}, _picked(self.dataset.soft, rows))
        picked = torch.multinomial(self._photo_weights, self.photo_batch_size, generator=random).sort().values.numpy()
        photos = torch.from_numpy(own.pixels[picked])
        chosen = torch.rand(len(rows), generator=random) < PASTED_SHARE
        chosen &= torch.from_numpy(self._can_paste[rows])
        pixels = paste_background(pixels, photos, chosen, random)
        images = torch.cat([augment(pixels, CATALOGUE, random), augment(photos, PHOTO, random)])
        fitting = {name: torch.from_numpy(masks[picked]) for name, masks in own.fitting.items()}
        soft, photo_soft = _picked(self.dataset.soft, rows), _picked(self.dataset.photo_soft, picked)
        return Batch(images, targets, words, fitting, soft, photo_soft)


def _picked(soft: Soft, rows: npt.NDArray[np.int64]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values[rows]) for name, values in soft.items()}
