"""The words of product names as one more thing to learn from: a checked shirt is called checked.

The labels say nothing of pattern, collar, sleeve or heel; names do, noisily. Predicting which words a product's name
has is an auxiliary task that pushes the features towards what can be seen, and it is dropped at the end.
Joulin et al., "Learning Visual Features from Large Weakly Supervised Data" (2016).
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
"""A word of one product line alone would be learnt as that line's picture."""


def words_of(name: str) -> set[str]:
    """A name's words in lower case; numbers and single letters say nothing."""
    return set(re.findall(r"[a-z]{2,}", name.lower()))


def count_words(items: Sequence[Item]) -> tuple[str, ...]:
    """The words in enough rows and groups of the given (training) rows, in alphabetical order."""
    groups: dict[str, list[str]] = defaultdict(list)
    for item in items:
        for word in words_of(item.name):
            groups[word].append(item.group)
    return tuple(
        sorted(word for word, seen in groups.items() if len(seen) >= MIN_ROWS and len(set(seen)) >= MIN_GROUPS)
    )


def word_targets(items: Sequence[Item], words: Sequence[str]) -> npt.NDArray[np.bool_]:
    """N x words: which of them each row's name has."""
    place = {word: index for index, word in enumerate(words)}
    targets = np.zeros((len(items), len(words)), dtype=bool)
    for row, item in enumerate(items):
        targets[row, [place[word] for word in words_of(item.name) if word in place]] = True
    return targets
