"""Words of product names as an auxiliary task.

Labels do not cover pattern, collar, sleeve or heel; names do, noisily. Predicting the words of a product's name makes
the features represent such details; the head is dropped on export. Joulin et al., "Learning Visual Features from Large
Weakly Supervised Data" (2016).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from train.data.catalogue import Item

WORD_HEAD = "words"
MIN_ROWS = 20
MIN_GROUPS = 5
"""Words of fewer product groups are left out: they identify a product line, not a visible detail."""


def words_of(name: str) -> set[str]:
    """A name's words in lower case, without numbers and single letters."""
    return set(re.findall(r"[a-z]{2,}", name.lower()))


def count_words(items: Sequence[Item]) -> tuple[str, ...]:
    """The words that occur in enough rows and groups of the given (training) rows, sorted."""
    groups: dict[str, list[str]] = defaultdict(list)
    for item in items:
        for word in words_of(item.name):
            groups[word].append(item.group)
    return tuple(
        sorted(word for word, seen in groups.items() if len(seen) >= MIN_ROWS and len(set(seen)) >= MIN_GROUPS)
    )


def word_targets(items: Sequence[Item], words: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which of the words each row's name has, N x words."""
    place = {word: index for index, word in enumerate(words)}
    targets = np.zeros((len(items), len(words)), dtype=bool)
    for row, item in enumerate(items):
        targets[row, [place[word] for word in words_of(item.name) if word in place]] = True
    return targets
