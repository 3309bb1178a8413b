"""Search for wrong labels: rows where both the model and the nearest neighbours disagree with the label.

A label is in doubt if the model's best guess is another value with a high score, and most of the row's neighbours carry
that value too. Neighbours are the most similar images of other products, by cosine similarity of the backbone's
features.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from model.bundle import Bundle
from model.preprocessing import Pixels, to_input
from train.data.catalogue import Columns, Item, read_catalogue
from train.data.images import ImageStore, load_pixels
from train.evaluation.inference import compute_scores
from train.evaluation.measure import FloatArray
from train.evaluation.tables import table

NEIGHBOURS = 10
MIN_SCORE = 0.9
"""Minimum calibrated score of the model's guess."""

MIN_SHARE = 0.6
"""Minimum share of the neighbours that carry the guessed value."""

CHUNK = 1024
"""Rows per block of the similarity matrix, which is never held as a whole."""


@dataclass(frozen=True)
class Suspect:
    """A label in doubt: the label, the model's guess and its score, and the share of neighbours with that value."""

    image: str
    name: str
    attribute: str
    label: str
    guess: str
    score: float
    neighbours: float


def load_rows(
    bundle: Bundle, data: Path, split: str, columns: Columns, cache: Path | None
) -> tuple[list[Item], Pixels]:
    """The rows of a split that have an image, and the images at the bundle's input size."""
    store = ImageStore(data)
    rows = read_catalogue(data, bundle.taxonomy.values, columns)
    items = [item for item in rows if item.split == split and item.image in store]
    return items, load_pixels(data, [item.image for item in items], bundle.size, cache)


def audit(bundle: Bundle, items: list[Item], pixels: Pixels, min_score: float = MIN_SCORE) -> list[Suspect]:
    """All labels in doubt, by score times share of neighbours, highest first."""
    scores = compute_scores(bundle, pixels).scores
    neighbours = nearest(normalised_features(bundle, pixels), [item.group for item in items])
    found = []
    for attribute, values in bundle.taxonomy.values.items():
        labels = np.array([item.labels.get(attribute, "") for item in items])
        best = scores[attribute].argmax(axis=1)
        guesses, confidence = np.array(values)[best], scores[attribute].max(axis=1)
        agrees = (labels[neighbours] == guesses[:, None]) & (neighbours >= 0)
        share = agrees.sum(axis=1) / (neighbours >= 0).sum(axis=1).clip(min=1)
        is_suspect = (labels != "") & (labels != guesses) & (confidence >= min_score) & (share >= MIN_SHARE)
        for row in np.flatnonzero(is_suspect):
            item = items[row]
            words = (item.image, item.name, attribute, str(labels[row]), str(guesses[row]))
            found.append(Suspect(*words, float(confidence[row]), float(share[row])))
    return sorted(found, key=lambda each: -each.score * each.neighbours)


@torch.no_grad()
def normalised_features(bundle: Bundle, pixels: Pixels) -> FloatArray:
    """The backbone's pooled features, N x features, each row of L2 norm 1."""
    network, parts = bundle.network(), []
    for first in range(0, len(pixels), 128):
        batch = torch.from_numpy(np.array(pixels[first : first + 128]))
        pooled = network.pool(network.feature_map(to_input(batch, bundle.mean, bundle.std)))
        parts.append(functional.normalize(pooled.flatten(1).float(), dim=1))
    features: FloatArray = torch.cat(parts).numpy()
    return features


def nearest(features: FloatArray, groups: list[str], count: int = NEIGHBOURS) -> npt.NDArray[np.int64]:
    """Indices of each row's nearest neighbours, N x count, unsorted; -1 fills up if there are fewer.

    Rows of the same product group are excluded, because they share its labelling mistakes.
    """
    count = min(count, len(features))
    known = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    numbers = np.array([known[group] for group in groups])
    found = np.empty((len(features), count), dtype=np.int64)
    for first in range(0, len(features), CHUNK):
        similarity = features[first : first + CHUNK] @ features.T
        similarity[numbers[first : first + CHUNK, None] == numbers[None, :]] = -np.inf
        best = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        is_other = np.isfinite(np.take_along_axis(similarity, best, axis=1))
        found[first : first + CHUNK] = np.where(is_other, best, -1)
    return found


def summary(suspects: list[Suspect], items: list[Item], shown: int = 30) -> str:
    """Two tables: labels in doubt per attribute, and the first `shown` of them."""
    attributes = list(dict.fromkeys(each.attribute for each in suspects))
    labelled = {name: sum(name in item.labels for item in items) for name in attributes}
    counts = {name: sum(each.attribute == name for each in suspects) for name in attributes}
    totals = [
        (name, str(labelled[name]), str(counts[name]), f"{counts[name] / labelled[name]:.4f}") for name in attributes
    ]
    rows = [
        (
            each.image,
            each.attribute,
            each.label,
            each.guess,
            f"{each.score:.2f}",
            f"{each.neighbours:.1f}",
            each.name[:50],
        )
        for each in suspects[:shown]
    ]
    header = ("image", "attribute", "label", "guess", "score", "neighbours", "name")
    return "\n\n".join([table(("attribute", "labels", "in doubt", "share"), totals), table(header, rows)])


def write_csv(file: Path, suspects: list[Suspect]) -> None:
    """Write the complete list as a CSV file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("image", "name", "attribute", "label", "guess", "score", "twins"))
        for each in suspects:
            numbers = (f"{each.score:.4f}", f"{each.neighbours:.2f}")
            writer.writerow((each.image, each.name, each.attribute, each.label, each.guess, *numbers))
