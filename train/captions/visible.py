"""Empirical selection of the words that an image can show.

For each word, a logistic regression on the backbone's pooled features predicts whether an image's name contains it. The
word is visible if the prediction separates rows with the word from other rows *of the same article type*, measured by
the area under the ROC curve over such pairs. So "watch" gets no credit for recognising watches, and "classic" is not
visible anywhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from train.data.catalogue import Item

MIN_ROWS = 20
VISIBLE_AUC = 0.65
MIN_CHECKED, WELL_CHECKED = 3, 6
BARELY_CHECKED_AUC = 0.8
"""Unseen rows needed for an AUC at all, and for the lower of the two AUC limits."""

TYPICAL_SHARE, MIN_TYPICAL = 0.25, 30
"""Share of an article type's rows that makes a word typical of it, and rows that such a type has to have."""

STEPS = 400


@dataclass(frozen=True)
class WordRow:
    """Statistics of one word; `rows` is the number of training rows that have it.

    `auc` is measured on unseen rows, of which `checked` have the word; None if those are too few. `typical` is the
    largest share, over article types, of training rows that have the word: every watch has a "dial".
    """

    word: str
    rows: int
    auc: float | None
    checked: int
    typical: float

    @property
    def is_visible(self) -> bool:
        """Whether the word is typical of a type or has a high AUC; the limit is higher with few checked rows."""
        if self.typical >= TYPICAL_SHARE:
            return True
        return self.auc is not None and self.auc >= (
            VISIBLE_AUC if self.checked >= WELL_CHECKED else BARELY_CHECKED_AUC
        )


@dataclass(frozen=True)
class NamedFeatures:
    """Rows with their cleaned names and pooled features, N x features."""

    items: Sequence[Item]
    names: Sequence[Sequence[str]]
    features: npt.NDArray[np.float32]


def find_visible_words(train: NamedFeatures, unseen: NamedFeatures) -> list[WordRow]:
    """Statistics of every word that occurs in at least 20 training rows, highest AUC first."""
    counts = Counter(word for name in train.names for word in set(name))
    words = sorted(word for word, count in counts.items() if count >= MIN_ROWS)
    if not words:
        return []
    scores = _fit(train, words)
    checked, typical = _aucs(unseen, words, scores(unseen.features)), _typical(train)
    rows = [WordRow(word, counts[word], *checked.get(word, (None, 0)), typical[word]) for word in words]
    return sorted(rows, key=lambda row: (-(row.auc if row.auc is not None else 0.0), row.word))


class _WordClassifier:
    """Standardised features to word logits, N x features to N x words."""

    def __init__(self, mean: torch.Tensor, std: torch.Tensor, layer: torch.nn.Linear) -> None:
        self._mean, self._std, self._layer = mean, std, layer

    @torch.no_grad()
    def __call__(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self._layer((torch.from_numpy(features) - self._mean) / self._std).numpy()
        return scores


def _fit(train: NamedFeatures, words: Sequence[str]) -> _WordClassifier:
    """One logistic regression per word, fitted together by AdamW."""
    features = torch.from_numpy(train.features)
    mean, std = features.mean(0), features.std(0) + 1e-6
    targets = torch.from_numpy(_has(train.names, words)).float()
    layer = torch.nn.Linear(features.shape[1], len(words))
    torch.nn.init.zeros_(layer.weight)
    share = targets.mean(0).clamp(1e-5, 1 - 1e-5)
    layer.bias.data = torch.log(share / (1 - share))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=3e-3, weight_decay=1e-2)
    random = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        rows = torch.randint(len(features), (1024,), generator=random)
        loss = functional.binary_cross_entropy_with_logits(
            layer((features[rows] - mean) / std), targets[rows], reduction="none"
        )
        optimizer.zero_grad()
        loss.sum(1).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return _WordClassifier(mean, std, layer.requires_grad_(False))


def _aucs(named: NamedFeatures, words: Sequence[str], scores: npt.NDArray[np.float32]) -> dict[str, tuple[float, int]]:
    """Per word with at least 3 rows: the AUC over pairs of rows of one article type, and the number of its rows."""
    has = _has(named.names, words)
    types: dict[str, list[int]] = defaultdict(list)
    for row, item in enumerate(named.items):
        types[item.labels.get("articleType", "")].append(row)
    hits, pairs, positives = np.zeros(len(words)), np.zeros(len(words)), np.zeros(len(words), dtype=int)
    for rows in types.values():
        mine = has[rows]
        for column in np.flatnonzero(mine.any(axis=0) & ~mine.all(axis=0)):
            won, of = _pairs_won(scores[rows, column], mine[:, column])
            hits[column] += won
            pairs[column] += of
            positives[column] += int(mine[:, column].sum())
    return {
        word: (float(hits[at] / pairs[at]), int(positives[at]))
        for at, word in enumerate(words)
        if positives[at] >= MIN_CHECKED
    }


def _typical(named: NamedFeatures) -> dict[str, float]:
    """Per word, its largest share of an article type's rows; types with few rows do not count."""
    types: Counter[str] = Counter()
    having: dict[str, Counter[str]] = defaultdict(Counter)
    for item, name in zip(named.items, named.names, strict=True):
        kind = item.labels.get("articleType", "")
        types[kind] += 1
        for word in set(name):
            having[word][kind] += 1
    return {
        word: max((count / types[kind] for kind, count in kinds.items() if types[kind] >= MIN_TYPICAL), default=0.0)
        for word, kinds in having.items()
    }


def _pairs_won(scores: npt.NDArray[np.float32], has: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Mann-Whitney's U of the rows with the word, and the number of pairs; ties count half."""
    _, ranks, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = (np.cumsum(counts) - (counts - 1) / 2)[ranks]
    positives = int(has.sum())
    won = float(mean_rank[has].sum()) - positives * (positives + 1) / 2
    return won, float(positives * (len(has) - positives))


def _has(names: Sequence[Sequence[str]], words: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which of the words each name has, N x words."""
    place = {word: at for at, word in enumerate(words)}
    has = np.zeros((len(names), len(words)), dtype=bool)
    for row, name in enumerate(names):
        has[row, [place[word] for word in name if word in place]] = True
    return has
