"""Cleaning of product names: rules that remove words an image cannot show, with counts of the rows each rule changed.

Cleaned names, without brands, numbers, filler words and words of a single product line, are the references for
evaluating captions. Training targets are reduced further: see `train/captions/caption_rows.py`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from model.captions.wording import (
    join_phrases,
    phrases_of,
    value_word,
    words_of_name,
)
from model.taxonomy import Taxonomy
from train.data.catalogue import Item

MIN_GROUPS = 5
MIN_BRANDS = 3
MAX_SHARE_OF_ONE_BRAND = 0.6
"""A word with a larger share of its rows from one brand is the name of a product line ("air", "absolute")."""

GENERAL_GROUPS, GENERAL_BRANDS = 20, 10
"""Product groups and other brands in which a brand's word has to occur to count as a general word."""

FILLER_WORDS = frozenset(
    {
        "a",
        "am",
        "an",
        "and",
        "as",
        "at",
        "by",
        "de",
        "for",
        "from",
        "i",
        "ii",
        "iii",
        "in",
        "is",
        "it",
        "me",
        "mr",
        "my",
    }
    | {"no", "of", "on", "or", "out", "pack", "set", "the", "to", "up", "with", "you", "your", "new", "collection"}
    | {
        "edition",
        "series",
        "style",
        "fashion",
        "colour",
        "coloured",
        "pair",
        "combo",
        "assorted",
        "one",
        "two",
        "three",
    }
)
"""Words without information on the article, and words for the number of articles in a pack."""


@dataclass
class NameCleaner:
    """The cleaning rules, with vocabularies from training rows.

    `brands` are words of brand names, `common` the words that are not specific to a product line, `phrases` maps
    multi-word values to single words, `values` are the values' words. `touched` counts the rows each rule changed.
    """

    brands: frozenset[str]
    common: frozenset[str]
    phrases: dict[tuple[str, ...], str]
    values: frozenset[str]
    rows: int = 0
    touched: Counter[str] = field(default_factory=Counter)

    def clean(self, item: Item) -> list[str]:
        """The words of the name that an image can show, in order; multi-word values are joined into one word."""
        self.rows += 1
        raw = re.findall(r"[a-z0-9]+", item.name.lower())
        words = words_of_name(item.name)
        self._count("one spelling and number for each word", raw != words)
        words = self._rule("the row's own brand", words, lambda words: without_phrase(words, words_of_name(item.brand)))
        words = self._rule("numbers and model codes", words, lambda words: [w for w in words if not has_digit(w)])
        words = join_phrases(words, self.phrases)
        words = self._rule("other brands' words", words, lambda words: [w for w in words if w not in self.brands])
        words = self._rule("filling words", words, lambda words: [w for w in words if w not in FILLER_WORDS])
        words = self._rule("words of few products or brands", words, lambda words: [w for w in words if self._known(w)])
        return self._rule("said twice", words, lambda words: list(dict.fromkeys(words)))

    def shares(self) -> dict[str, float]:
        """Per rule, the share of the rows cleaned so far that it changed."""
        return {rule: count / max(1, self.rows) for rule, count in self.touched.items()}

    def _known(self, word: str) -> bool:
        return word in self.common or word in self.values

    def _rule(self, name: str, words: list[str], change: Callable[[list[str]], list[str]]) -> list[str]:
        changed = change(words)
        self._count(name, changed != words)
        return changed

    def _count(self, rule: str, is_touched: bool) -> None:
        self.touched[rule] += is_touched


def learn_cleaner(items: Sequence[Item], taxonomy: Taxonomy, every_brand: Sequence[str] = ()) -> NameCleaner:
    """A cleaner with vocabularies from training rows; `every_brand` adds brands that occur only in other rows."""
    values = [value for rows in taxonomy.values.values() for value in rows]
    phrases = phrases_of(values)
    brands = brand_words([*{item.brand for item in items}, *every_brand], items) - {value_word(v) for v in values}
    groups: dict[str, set[str]] = defaultdict(set)
    makers: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        words = join_phrases(without_phrase(words_of_name(item.name), words_of_name(item.brand)), phrases)
        for word in words:
            groups[word].add(item.group)
            makers[word][item.brand.lower()] += 1
    common = {word for word in groups if len(groups[word]) >= MIN_GROUPS and is_shared(makers[word])}
    kept = frozenset(word for word in common if len(word) > 1 and not has_digit(word)) - FILLER_WORDS - brands
    return NameCleaner(brands, kept, phrases, frozenset(value_word(value) for value in values))


def is_shared(makers: Counter[str]) -> bool:
    """Whether at least three brands use a word, and none of them has more than 60 % of its rows."""
    return len(makers) >= MIN_BRANDS and max(makers.values()) <= MAX_SHARE_OF_ONE_BRAND * makers.total()


def brand_words(brands: Sequence[str], items: Sequence[Item]) -> frozenset[str]:
    """The words of brand names, without general words.

    A word is general if enough products of enough other brands use it ("red" of Red Rose). A word that is a brand's
    whole name is never general.
    """
    names = [words_of_name(brand) for brand in brands if brand]
    whole = {words[0] for words in names if len(words) == 1}
    parts = {word for words in names for word in words}
    groups: dict[str, set[str]] = defaultdict(set)
    makers: dict[str, set[str]] = defaultdict(set)
    for item in items:
        own = set(words_of_name(item.brand))
        for word in set(words_of_name(item.name)) & parts - own:
            groups[word].add(item.group)
            makers[word].add(item.brand.lower())
    general = {w for w in parts if len(groups[w]) >= GENERAL_GROUPS and len(makers[w]) >= GENERAL_BRANDS}
    return frozenset(parts - (general - whole))


def named_brands(
    text: str, brands: frozenset[str], names: Sequence[str], phrases: Mapping[tuple[str, ...], str]
) -> list[str]:
    """Brand words in a text, and multi-word brand names that it contains in full.

    Words of multi-word values (`phrases`) do not count: AND is a brand, "Perfume and Body Mist" an article type.
    """
    words = words_of_name(text, phrases)
    whole = [name for name in names if " " in name.strip() and without_phrase(words, words_of_name(name)) != words]
    return [word for word in words if word in brands] + whole


def without_phrase(words: list[str], phrase: list[str]) -> list[str]:
    """The words without any occurrence of the phrase."""
    size = len(phrase)
    if size == 0:
        return words
    kept: list[str] = []
    at = 0
    while at < len(words):
        if words[at : at + size] == phrase:
            at += size
        else:
            kept.append(words[at])
            at += 1
    return kept


def has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)
