"""Images and targets of a run as arrays, and the augmented batches drawn from them."""

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
    ANNOTATIONS,
    GENDER,
    Photo,
    gender_masks,
    read_annotations,
    read_photos,
    type_masks,
)
from train.data.words import count_words, word_targets

LIGHT_COLOURS = frozenset({"White", "Off White", "Cream", "Silver", "Grey", "Nude", "Beige", "Skin", "Steel"})
"""Values of baseColour that are too close to the white background to be cut out."""

PASTED_SHARE = 0.08
"""Share of catalogue images that get a photo's background."""


@dataclass(frozen=True)
class CatalogueSplit:
    """Images (N x H x W x 3), and per attribute N indices into the taxonomy's values (-1: missing or unknown)."""

    items: list[Item]
    pixels: Pixels
    targets: dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class PhotoSplit:
    """Images (N x H x W x 3), and per head with partial labels, the values that fit each photo (N x values, bool).

    `leaf` is the tree's deepest level, one of these heads. `annotated` are labels given by eye, which no training sees:
    per attribute, the values that fit (N x values, bool); a row without any is unlabelled.
    """

    photos: list[Photo]
    pixels: Pixels
    leaf: str
    fitting: dict[str, npt.NDArray[np.bool_]]
    annotated: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def types(self) -> npt.NDArray[np.bool_]:
        """The values of the deepest level that fit each photo, N x values."""
        return self.fitting[self.leaf]


@dataclass(frozen=True)
class Dataset:
    """The data of a training run. The photo splits are None in a run without photos.

    `words` are the words of product names to predict, `train_words` (N x words, bool) marks those of each training row.
    `soft` and `photo_soft` are the teachers' outputs for training rows and training photos.
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
    """The augmented input of one step, for R catalogue rows and P photos.

    `images` are float (R + P) x H x W x 3, rows first. `targets` are R value indices per attribute, `words` R x words,
    `fitting` P x values per head with partial labels. `soft` (R rows) and `photo_soft` (P rows) are empty without
    teachers.
    """

    images: torch.Tensor
    targets: dict[str, torch.Tensor]
    words: torch.Tensor
    fitting: dict[str, torch.Tensor]
    soft: dict[str, torch.Tensor] = field(default_factory=dict)
    photo_soft: dict[str, torch.Tensor] = field(default_factory=dict)


def load_dataset(options: Options, cache: Path | None) -> Dataset:
    """Read catalogue and photos at the run's input size.

    Without a taxonomy file, the taxonomy of the client's attributes is counted from the training rows.
    """
    taxonomy = Taxonomy.load(options.taxonomy) if options.taxonomy else None
    items = read_catalogue(options.data, taxonomy.values if taxonomy else CLIENT_ATTRIBUTES, options.columns)
    taxonomy = taxonomy or count_taxonomy([item for item in items if item.split == "train"])
    photos, size, labels = options.photos, options.size, options.photo_labels
    rows = read_photos(photos) if photos else []

    def catalogue_split(split: str) -> CatalogueSplit:
        return load_catalogue_split(options.data, items, split, taxonomy, size, cache)

    def photo_split(split: str) -> PhotoSplit | None:
        return load_photo_split(photos, rows, split, taxonomy, size, cache, labels) if photos else None

    train, train_photos = catalogue_split("train"), photo_split("train")
    words = count_words(train.items)
    return Dataset(
        taxonomy=taxonomy,
        words=words,
        train_words=word_targets(train.items, words),
        train=train,
        val=catalogue_split("val"),
        train_photos=train_photos,
        val_photos=photo_split("val"),
        soft=soft_targets(options.teachers, options.data, [item.image for item in train.items], taxonomy, cache),
        photo_soft=_photo_soft(options, train_photos, taxonomy, cache),
    )


def _photo_soft(options: Options, photos: PhotoSplit | None, taxonomy: Taxonomy, cache: Path | None) -> Soft:
    """Teacher outputs for photos: features, and heads with partial labels.

    Other heads are left out, because the teachers were not trained on them with photos.
    """
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
    """Images and targets of one split. Rows without an image are left out (Kaggle lacks a few).

    Raises ValueError if no row is left.
    """
    store = ImageStore(data)
    chosen = [item for item in items if item.split == split and item.image in store]
    if not chosen:
        raise ValueError(f"{data.name} has no images in the split {split!r}")
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
    """Images and partial labels of one split. Raises ValueError if it has no photos."""
    store = ImageStore(folder)
    chosen = [photo for photo in photos if photo.split == split and photo.image in store]
    if not chosen:
        raise ValueError(f"{folder.name} has no photos in the split {split!r}")
    pixels = load_pixels(folder, [photo.image for photo in chosen], size, cache)
    fitting = {str(taxonomy.leaf): type_masks(chosen, taxonomy, labels)}
    if GENDER in taxonomy.attributes:
        fitting[GENDER] = gender_masks(chosen, taxonomy)
    return PhotoSplit(chosen, pixels, str(taxonomy.leaf), fitting, read_annotations(ANNOTATIONS, chosen, taxonomy))


def targets_of(items: Sequence[Item], taxonomy: Taxonomy, name: str) -> npt.NDArray[np.int64]:
    """N indices into the attribute's values, -1 for missing or unknown labels."""
    return np.array(
        [taxonomy.index(name, item.labels[name]) if name in item.labels else UNKNOWN for item in items], dtype=np.int64
    )


def photo_weights(photos: Sequence[Photo]) -> torch.Tensor:
    """Sampling weights of photos, N: each sender and label counts by the square root of its number of photos.

    A few senders and labels have most of the photos.
    """
    senders, labels = Counter(photo.sender for photo in photos), Counter(photo.label for photo in photos)
    return torch.tensor([(senders[photo.sender] * labels[photo.label]) ** -0.5 for photo in photos])


class BatchSource:
    """Draws augmented batches: every catalogue row once per epoch, with random photos added to each batch."""

    def __init__(
        self, dataset: Dataset, batch_size: int, photo_batch_size: int, rank: int = 0, processes: int = 1
    ) -> None:
        """Batch sizes are per process; process `rank` of `processes` draws its share of the rows."""
        self.dataset = dataset
        self.batch_size = batch_size
        photos = len(dataset.train_photos.photos) if dataset.train_photos else 0
        self.photo_batch_size = min(photo_batch_size, photos)
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
        train, photos = self.dataset.train, self.dataset.train_photos
        pixels = torch.from_numpy(train.pixels[rows])
        targets = {name: torch.from_numpy(column[rows]) for name, column in train.targets.items()}
        words = torch.from_numpy(self.dataset.train_words[rows])
        if photos is None or not self.photo_batch_size:
            return Batch(augment(pixels, CATALOGUE, random), targets, words, {}, _picked(self.dataset.soft, rows))
        picked = torch.multinomial(self._photo_weights, self.photo_batch_size, generator=random).sort().values.numpy()
        photo_pixels = torch.from_numpy(photos.pixels[picked])
        chosen = torch.rand(len(rows), generator=random) < PASTED_SHARE
        chosen &= torch.from_numpy(self._can_paste[rows])
        pixels = paste_background(pixels, photo_pixels, chosen, random)
        images = torch.cat([augment(pixels, CATALOGUE, random), augment(photo_pixels, PHOTO, random)])
        fitting = {name: torch.from_numpy(masks[picked]) for name, masks in photos.fitting.items()}
        soft, photo_soft = _picked(self.dataset.soft, rows), _picked(self.dataset.photo_soft, picked)
        return Batch(images, targets, words, fitting, soft, photo_soft)


def _picked(soft: Soft, rows: npt.NDArray[np.int64]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values[rows]) for name, values in soft.items()}
