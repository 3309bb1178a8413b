"""Words of product names: one spelling for each, and back to a name that reads well.

A name is handled as a list of lower-case words. A value of several words is one of them ("navy_blue", "t-shirt" is
already one), so that what a word says does not depend on its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from model.captions.captioner import PAIRS, singular

CATEGORY = "<category>"
"""Stands for the deepest sure category where the article type is not sure."""

VARIANTS = {
    "tee": "t-shirt",
    "tshirt": "t-shirt",
    "mens": "men",
    "man": "men",
    "womens": "women",
    "woman": "women",
    "ladies": "women",
    "lady": "women",
    "boy": "boys",
    "girl": "girls",
    "kid": "kids",
    "kidswear": "kids",
    "check": "checked",
    "checks": "checked",
    "gingham": "checked",
    "stripe": "striped",
    "stripes": "striped",
    "striper": "striped",
    "stripped": "striped",
    "print": "printed",
    "prints": "printed",
    "gray": "grey",
    "sliver": "silver",
    "multi": "multicoloured",
    "multicolor": "multicoloured",
    "multicolour": "multicoloured",
    "multicolored": "multicoloured",
    "multi-coloured": "multicoloured",
    "multi-colored": "multicoloured",
    "colored": "coloured",
    "color": "colour",
    "sari": "saree",
    "analog": "analogue",
    "leatherite": "leatherette",
    "duffle": "duffel",
    "deo": "deodorant",
    "sport": "sports",
    "sunglass": "sunglasses",
}
"""Other spellings of one word."""

NORMALIZATIONS = (
    (re.compile(r"[’`´]"), "'"),
    (re.compile(r"'s\b|s'(?=\s|$)|'"), " "),
    (re.compile(r"\bt[ -]?shirt(s?)\b"), r" t-shirt\1 "),
    (re.compile(r"\b(polo|v|crew|round|high|boat|turtle)[ -]neck(?:ed)?\b"), r" \1 neck "),
    (re.compile(r"\bmulti[ -]?colou?r(?:ed)?\b"), " multicoloured "),
    (re.compile(r"\b(\w+)-(colou?red|toned)\b"), r" \1 \2 "),
    (re.compile(r"\boff[ -]white\b"), " off white "),
    (re.compile(r"\bnavy\b(?! blue)"), " navy blue "),
)
"""Rewritten before a name is cut into words."""

_WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def words_of_name(name: str, phrases: Mapping[tuple[str, ...], str] | None = None) -> list[str]:
    """A name's words in order, in one spelling and number; `phrases` (see `phrases_of`) are joined into one word."""
    text = name.lower()
    for pattern, replacement in NORMALIZATIONS:
        text = pattern.sub(replacement, text)
    words = [normalize_word(word) for word in _WORD.findall(text)]
    return join_phrases(words, phrases) if phrases else words


def normalize_word(word: str) -> str:
    """The form in which a word is kept: a garment in the singular, a pair in the plural."""
    word = VARIANTS.get(word, word)
    if word.isdigit() or len(word) < 4 or word in INVARIANT:
        return word
    if (plural := f"{word}s") in _PAIRS_LOWER:
        return plural
    if word in _PAIRS_LOWER:
        return word
    single = singular(word.capitalize()).lower()
    return VARIANTS.get(single, single)


def value_word(value: str) -> str:
    """A value of the taxonomy as one word: "Navy Blue" to navy_blue, "Tshirts" to t-shirt."""
    return "_".join(words_of_name(singular(value) if value != "Multi" else "Multicoloured"))


def phrases_of(values: Iterable[str]) -> dict[tuple[str, ...], str]:
    """The values of several words, each with the one word that stands for it."""
    found = {tuple(value_word(value).split("_")): value_word(value) for value in values}
    return {parts: word for parts, word in found.items() if len(parts) > 1}


def join_phrases(words: Sequence[str], phrases: Mapping[tuple[str, ...], str]) -> list[str]:
    """Each phrase replaced by its word, the longest first."""
    longest = max((len(parts) for parts in phrases), default=1)
    joined: list[str] = []
    at = 0
    while at < len(words):
        sizes = range(min(longest, len(words) - at), 1, -1)
        size = next((size for size in sizes if tuple(words[at : at + size]) in phrases), 1)
        joined.append(phrases[tuple(words[at : at + size])] if size > 1 else words[at])
        at += size
    return joined


def text_of(words: Sequence[str], category: str | None = None) -> str:
    """A name as a person reads it: "Men Navy Blue T-shirt". `category` is put in place of CATEGORY."""
    written = [category or "" if word == CATEGORY else word.replace("_", " ").title() for word in words]
    text = " ".join(part for part in written if part)
    return text.replace("T-Shirt", "T-shirt").replace(" And ", " and ")


_PAIRS_LOWER = frozenset(word.lower() for word in PAIRS)
INVARIANT = frozenset(
    {"men", "women", "boys", "girls", "kids", "sports", "lotus", "canvas", "mens", "stripes", "series", "sneakers"}
    | {"ballerinas", "wedges", "pumps", "loafers", "boots", "slippers", "floaters", "toes", "capris"}
)
"""Words that end in s without being one of many."""
