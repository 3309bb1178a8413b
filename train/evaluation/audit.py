"""`python -m train.audit`: rows whose label is probably wrong, because the network and the row's twins say otherwise.

A row is suspected when the network's best guess is another value with a high score, and most of the pictures that look
most like it (by the backbone's features, other products only) carry that value, too. The list is for people to look
through: what it finds is a label that is wrong, a value whose meaning is not settled, or a hard picture.
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
from train.data.catalogue import Item
from train.evaluation.inference import compute_scores
from train.evaluation.measure import FloatArray
from train.evaluation.tables import table

TWINS = 10
MIN_SCORE = 0.9
MIN_SHARE = 0.6
CHUNK = 1024


@dataclass(frozen=True)
class Suspect:
    """A label in doubt: the value that stands there, the guess, its score, and the share of twins that carry it."""

    image: str
    name: str
    attribute: str
    label: str
    guess: str
    score: float
    twins: float


def audit(bundle: Bundle, items: list[Item], pixels: Pixels, min_score: float = MIN_SCORE) -> list[Suspect]:
    """All suspects, the surest first."""
    scores = compute_scores(bundle, pixels).scores
    twins = nearest(features_of(bundle, pixels), [item.group for item in items])
    found = []
    for attribute, values in bundle.taxonomy.values.items():
        labels = np.array([item.labels.get(attribute, "") for item in items])
        best = scores[attribute].argmax(axis=1)
        guesses, sure = np.array(values)[best], scores[attribute].max(axis=1)
        agrees = (labels[twins] == guesses[:, None]) & (twins >= 0)
        share = agrees.sum(axis=1) / (twins >= 0).sum(axis=1).clip(min=1)
        is_suspect = (labels != "") & (labels != guesses) & (sure >= min_score) & (share >= MIN_SHARE)
        for row in np.flatnonzero(is_suspect):
            item = items[row]
            words = (item.image, item.name, attribute, str(labels[row]), str(guesses[row]))
            found.append(Suspect(*words, float(sure[row]), float(share[row])))
    return sorted(found, key=lambda each: -each.score * each.twins)


@torch.no_grad()
def features_of(bundle: Bundle, pixels: Pixels) -> FloatArray:
    """The backbone's pooled features of each picture, N x channels, each of length 1."""
    network, parts = bundle.network(), []
    for first in range(0, len(pixels), 128):
        batch = torch.from_numpy(np.array(pixels[first : first + 128]))
        pooled = network.pool(network.feature_map(to_input(batch, bundle.mean, bundle.std)))
        parts.append(functional.normalize(pooled.flatten(1).float(), dim=1))
    features: FloatArray = torch.cat(parts).numpy()
    return features


def nearest(features: FloatArray, groups: list[str], count: int = TWINS) -> npt.NDArray[np.int64]:
    """The rows most like each row, N x count; -1 where there are no more.

    Rows of the same product share its labels' mistakes and are left out.
    """
    count = min(count, len(features))
    known = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    numbers = np.array([known[group] for group in groups])
    found = np.empty((len(features), count), dtype=np.int64)
    for first in range(0, len(features), CHUNK):
        likeness = features[first : first + CHUNK] @ features.T
        likeness[numbers[first : first + CHUNK, None] == numbers[None, :]] = -np.inf
        best = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        is_other = np.isfinite(np.take_along_axis(likeness, best, axis=1))
        found[first : first + CHUNK] = np.where(is_other, best, -1)
    return found


def summary(suspects: list[Suspect], items: list[Item], shown: int = 30) -> str:
    """How many labels of each attribute are in doubt, and the first of them."""
    attributes = list(dict.fromkeys(each.attribute for each in suspects))
    labelled = {name: sum(name in item.labels for item in items) for name in attributes}
    counts = {name: sum(each.attribute == name for each in suspects) for name in attributes}
    totals = [
        (name, str(labelled[name]), str(counts[name]), f"{counts[name] / labelled[name]:.4f}") for name in attributes
    ]
    rows = [
        (each.image, each.attribute, each.label, each.guess, f"{each.score:.2f}", f"{each.twins:.1f}", each.name[:50])
        for each in suspects[:shown]
    ]
    header = ("picture", "attribute", "label", "guess", "score", "twins", "name")
    return "\n\n".join([table(("attribute", "labels", "in doubt", "share"), totals), table(header, rows)])


def write_csv(file: Path, suspects: list[Suspect]) -> None:
    """The whole list as a table that a spreadsheet opens."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("image", "name", "attribute", "label", "guess", "score", "twins"))
        for each in suspects:
            numbers = (f"{each.score:.4f}", f"{each.twins:.2f}")
            writer.writerow((each.image, each.name, each.attribute, each.label, each.guess, *numbers))
