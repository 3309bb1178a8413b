"""Faults that keep a name from being printed by a shop, found in the text alone.

The uses of words are counted anew in the catalogue's training names, so a bundle with old or no counts is noticed. They
are counted the captioner's way: zero stranded words mean that it keeps this rule, not that every name reads well.
A name that is None has no faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model.captions.lexicon import ANY_COLOUR, WordUse
from model.captions.wording import phrases_of, value_word, words_of_name
from model.taxonomy import Taxonomy

RULES = ("stranded", "repeated", "category", "order", "kids", "one_word", "other_article")
CHILDREN = frozenset({"Boys", "Girls"})
CHILDREN_WORDS = frozenset({"kids", "boys", "girls", "baby", "infant", "junior", "toddler", "teen"})
AUDIENCE_WORDS = frozenset({"men", "women", "unisex"}) | CHILDREN_WORDS
AUDIENCE, DETAIL, COLOUR, LATE_DETAIL, ARTICLE = range(5)


@dataclass(frozen=True)
class NameRules:
    """What the rules know: the taxonomy, the words for articles, and how the catalogue's names use words."""

    taxonomy: Taxonomy
    uses: Mapping[str, WordUse]
    nouns: frozenset[str]

    def words(self, name: str) -> list[str]:
        return words_of_name(name, phrases_of(v for values in self.taxonomy.values.values() for v in values))

    def kind(self, word: str) -> int:
        """The place of a word in a name: audience, detail, colour, a detail that follows the colour, article."""
        if word in self.nouns or word in _words(self.taxonomy, self.taxonomy.levels[:1]):
            return ARTICLE
        if word in AUDIENCE_WORDS:
            return AUDIENCE
        if word in _words(self.taxonomy, ["baseColour"]):
            return COLOUR
        # "home" and "skin" are categories, and also a usage and a colour.
        if word in _words(self.taxonomy, self.taxonomy.levels[1:]) - _words(self.taxonomy, [*self.taxonomy.attributes]):
            return ARTICLE
        return LATE_DETAIL if self.uses.get(word, WordUse()).is_late else DETAIL


def find_faults(name: str | None, answers: Mapping[str, str | None], rules: NameRules) -> list[str]:
    """The faults of a name that was given with these answers, each as "rule: word"; see RULES."""
    if not name:
        return []
    words = rules.words(name)
    kinds = [rules.kind(word) for word in words]
    faults = [f"stranded: {word}" for word in stranded_words(words, kinds, rules.uses)]
    faults += [
        f"repeated: {word}"
        for word, count in Counter(part for w in words for part in w.split("_")).items()
        if count > 1
    ]
    if answers.get("articleType") is None:
        faults += [f"category: {word}" for word in words[-1:] if is_category(word, rules.taxonomy)]
        faults += [f"other_article: {word}" for word in words if not is_within(word, answers, rules.taxonomy)]
    faults += [f"order: {word}" for word, kind, after in zip(words, kinds, kinds[1:], strict=False) if kind > after]
    if answers.get("gender") not in CHILDREN:
        faults += [f"kids: {word}" for word in words if word in CHILDREN_WORDS]
    if len(words) == 1:
        faults.append(f"one_word: {words[0]}")
    return faults


def stranded_words(words: Sequence[str], kinds: Sequence[int], uses: Mapping[str, WordUse]) -> list[str]:
    """The words without the partner that the catalogue's names give them."""

    def is_beside(partners: tuple[str, ...] | None, at: int) -> bool:
        if partners is None:
            return True
        if not 0 <= at < len(words):
            return False
        return words[at] in partners or (kinds[at] == COLOUR and ANY_COLOUR in partners)

    return [
        word
        for at, word in enumerate(words)
        if not (
            is_beside(uses.get(word, WordUse()).before, at - 1) and is_beside(uses.get(word, WordUse()).after, at + 1)
        )
    ]


def is_category(word: str, taxonomy: Taxonomy) -> bool:
    """Whether the word names a category and no article type ("topwear", but not "belt")."""
    return word in _words(taxonomy, taxonomy.levels[1:]) - _words(taxonomy, taxonomy.levels[:1])


def is_within(word: str, answers: Mapping[str, str | None], taxonomy: Taxonomy) -> bool:
    """Whether the word names no article type, or one within the deepest answered category."""
    types = [value for value in taxonomy.values[taxonomy.levels[0]] if value_word(value) == word]
    level = next((level for level in taxonomy.levels if answers.get(level)), None)
    if not types or level is None:
        return True
    return any(taxonomy.ancestor(value, level) == answers[level] for value in types)


def count_faults(
    names: Iterable[str | None], answers: Iterable[Mapping[str, str | None]], rules: NameRules
) -> dict[str, float]:
    """Per rule, the share of all rows whose name has the fault; and the share without a name as "unnamed"."""
    counts: Counter[str] = Counter()
    rows = 0
    for name, row in zip(names, answers, strict=True):
        rows += 1
        counts.update(
            {fault.split(":")[0] for fault in find_faults(name, row, rules)} | (set() if name else {"unnamed"})
        )
    return {rule: counts[rule] / max(1, rows) for rule in (*RULES, "unnamed")}


def _words(taxonomy: Taxonomy, attributes: Sequence[str]) -> frozenset[str]:
    return frozenset(value_word(value) for name in attributes for value in taxonomy.values.get(name, ()))
