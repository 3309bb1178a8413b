"""The lexicon's rules on words and attribute values, counted over the cleaned names of training rows.

A value's own word ("navy_blue", "shirt") reveals that value. So does a word that nearly always occurs with one article
type ("loafers"), colour ("golden") or rare gender ("infant"). All other words may occur with the article types and
genders they were seen with, so that no watch gets a collar.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass

from model.captions.lexicon import Lexicon
from model.captions.wording import CATEGORY, value_word
from model.taxonomy import TREE_LEVELS, Taxonomy
from train.data.catalogue import COLOUR_WORDS, Item

LEAF, GENDER, COLOUR = TREE_LEVELS[0], "gender", "baseColour"
INDICATIVE_SHARE, INDICATIVE_LIFT = 0.8, 4.0
"""A word is indicative if at least this share of its groups have values that it makes this many times more likely."""

FITTING_SHARE, FITTING_GROUPS = 0.005, 2
"""Share and number of a word's groups that a value needs to fit the word."""

COLOUR_SHARE = 0.1
"""The same share for colours of words that reveal a colour."""

LAST_SHARE = 0.6
"""A word is a noun candidate if at least this share of its occurrences are at the end of a name."""

EXCLUSIVE_MIN_EXPECTED, EXCLUSIVE_MAX_SHARE = 3.0, 0.25
AGE_WORDS = frozenset({"kids", "infant", "baby"})
"""They reveal a gender, even if names use them loosely: the catalogue's Boys and Girls are sections for children."""


@dataclass(frozen=True)
class _GroupCounts:
    """Number of product groups per word and value of one attribute, and each value's share of all groups."""

    groups: dict[str, Counter[str]]
    share: dict[str, float]

    def fitting(self, word: str, least_share: float = FITTING_SHARE, least_lift: float = 0.0) -> tuple[str, ...]:
        """The values that fit the word, sorted; of an indicative word, only values that it makes more likely."""
        seen = self.groups[word]
        total = sum(seen.values())
        least = min(FITTING_GROUPS, max(seen.values(), default=0))
        lift = max(least_lift, 1.0 if self.is_indicative(word) else 0.0)
        return tuple(
            sorted(
                value
                for value, count in seen.items()
                if count >= least and count / total >= max(least_share, lift * self.share[value])
            )
        )

    def is_indicative(self, word: str) -> bool:
        """Whether most of its product groups have values that it makes at least four times more likely."""
        seen = self.groups[word]
        total = sum(seen.values())
        lifted = sum(count for value, count in seen.items() if count / total >= INDICATIVE_LIFT * self.share[value])
        return total > 0 and lifted / total >= INDICATIVE_SHARE


def count_lexicon(
    items: Sequence[Item], names: Sequence[Sequence[str]], taxonomy: Taxonomy, words: Sequence[str]
) -> Lexicon:
    """The lexicon of `words` and of all values' own words. `names` are the cleaned names of the items.

    Raises ValueError if the taxonomy lacks gender or baseColour, or if its last attribute is not articleType.
    """
    if not {GENDER, COLOUR} <= set(taxonomy.attributes) or [*taxonomy.attributes][-1] != LEAF:
        raise ValueError(f"captions need a taxonomy with the attributes {GENDER}, {COLOUR} and, as the last, {LEAF}")
    own = {name: {value_word(value): value for value in values} for name, values in taxonomy.attributes.items()}
    counts = {name: _count(items, names, name) for name in (LEAF, GENDER, COLOUR)}
    everything = sorted({*words, *(word for rows in own.values() for word in rows), CATEGORY})
    above = {value_word(value): (level, value) for level in taxonomy.derived for value in taxonomy.values[level]}
    fits: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in taxonomy.attributes}
    needs: dict[str, set[str]] = {name: set(rows) for name, rows in own.items()}
    for name, rows in own.items():
        fits[name] |= {word: (value,) for word, value in rows.items()}
    fits[LEAF][CATEGORY] = ()  # CATEGORY replaces an unanswered article type, and fits no answered one
    values = {word for rows in own.values() for word in rows}
    for word in [word for word in everything if word not in values and word != CATEGORY]:
        fitting = counts[LEAF].fitting(word)
        if word in above:
            fitting = tuple(leaf for leaf in fitting if taxonomy.ancestor(leaf, above[word][0]) == above[word][1])
        fits[LEAF][word] = fitting
        fits[GENDER][word] = counts[GENDER].fitting(word)
        if word in above or counts[LEAF].is_indicative(word):
            needs[LEAF].add(word)
        if word in AGE_WORDS or counts[GENDER].is_indicative(word):
            needs[GENDER].add(word)
            fits[GENDER][word] = counts[GENDER].fitting(word, least_lift=INDICATIVE_LIFT)
        if word in COLOUR_WORDS or counts[COLOUR].is_indicative(word):
            needs[COLOUR].add(word)
            fits[COLOUR][word] = counts[COLOUR].fitting(word, COLOUR_SHARE)
    # "nail" of nail_polish is not a noun; "shoes" of shoes_laces (a category) and "perfume" of perfume_and_… are.
    halves = {part for word in own[LEAF] if "_and_" not in word for part in word.split("_")[:-1]} - set(above)
    nouns = {CATEGORY, *own[LEAF], *((last_words(names) & needs[LEAF] & set(everything)) - halves)}
    needed = {name: frozenset(rows) for name, rows in needs.items()}
    details = set(everything) - nouns - values
    return Lexicon(tuple(everything), fits, needed, frozenset(nouns), exclusive_pairs(items, names, details))


def exclusive_pairs(
    items: Sequence[Item], names: Sequence[Sequence[str]], details: Set[str]
) -> tuple[tuple[str, str], ...]:
    """Pairs of details that occur together far less often than expected by chance within their article types."""
    totals: Counter[str] = Counter()
    alone: dict[str, Counter[str]] = defaultdict(Counter)
    together: Counter[tuple[str, str]] = Counter()
    for item, name in zip(items, names, strict=True):
        leaf, found = item.labels.get(LEAF, ""), sorted(details.intersection(name))
        totals[leaf] += 1
        alone[leaf].update(found)
        together.update(itertools.combinations(found, 2))
    expected: dict[tuple[str, str], float] = defaultdict(float)
    for leaf, counts in alone.items():
        for first, second in itertools.combinations(sorted(counts), 2):
            expected[first, second] += counts[first] * counts[second] / totals[leaf]
    return tuple(
        pair
        for pair, count in sorted(expected.items())
        if count >= EXCLUSIVE_MIN_EXPECTED and together[pair] <= EXCLUSIVE_MAX_SHARE * count
    )


def last_words(names: Sequence[Sequence[str]]) -> set[str]:
    """The words that are at the end of a name in at least 60 % of their occurrences."""
    everywhere, last = Counter(word for name in names for word in name), Counter(name[-1] for name in names if name)
    return {word for word, count in last.items() if count >= LAST_SHARE * everywhere[word]}


def _count(items: Sequence[Item], names: Sequence[Sequence[str]], attribute: str) -> _GroupCounts:
    """Product groups per word and value of an attribute, over the rows with a label."""
    groups: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    seen: dict[str, set[str]] = defaultdict(set)
    for item, name in zip(items, names, strict=True):
        value = item.labels.get(attribute)
        if value is None:
            continue
        seen[value].add(item.group)
        for word in name:
            groups[word][value].add(item.group)
    totals = {value: len(found) for value, found in seen.items()}
    rows = sum(totals.values())
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for word, values in groups.items():
        counted[word] = Counter({value: len(found) for value, found in values.items()})
    return _GroupCounts(counted, {value: count / rows for value, count in totals.items()})
