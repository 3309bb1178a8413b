"""Normalisation of product names to lists of words, and the way back to readable names.

Words are lower case. A multi-word value is one word ("navy_blue"), so that the meaning of a word does not depend on its
neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from model.captions.captioner import PAIRS, singular

CATEGORY = "<category>"
"""Placeholder for the deepest answered category if the article type is unanswered."""

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
"""Spelling variants and their normal forms."""

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
"""Patterns and replacements, applied in order to a lower-case name before it is split into words."""

_WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def words_of_name(name: str, phrases: Mapping[tuple[str, ...], str] | None = None) -> list[str]:
    """The normalised words of a name, in order; `phrases` (see `phrases_of`) are joined into one word."""
    text = name.lower()
    for pattern, replacement in NORMALIZATIONS:
        text = pattern.sub(replacement, text)
    words = [normalize_word(word) for word in _WORD.findall(text)]
    return join_phrases(words, phrases) if phrases else words


def normalize_word(word: str) -> str:
    """The normal form of a word: singular, but plural for articles that are pairs."""
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
    """A taxonomy value as one word: "Navy Blue" to navy_blue, "Tshirts" to t-shirt."""
    return "_".join(words_of_name(singular(value) if value != "Multi" else "Multicoloured"))


def phrases_of(values: Iterable[str]) -> dict[tuple[str, ...], str]:
    """Multi-word values, as tuples of words, to the single words of `value_word`."""
    found = {tuple(value_word(value).split("_")): value_word(value) for value in values}
    return {parts: word for parts, word in found.items() if len(parts) > 1}


def join_phrases(words: Sequence[str], phrases: Mapping[tuple[str, ...], str]) -> list[str]:
    """Replace each phrase by its single word; the longest match wins."""
    longest = max((len(parts) for parts in phrases), default=1)
    joined: list[str] = []
    at = 0
    while at < len(words):
        sizes = range(min(longest, len(words) - at), 1, -1)
        size = next((size for size in sizes if tuple(words[at : at + size]) in phrases), 1)
        joined.append(phrases[tuple(words[at : at + size])] if size > 1 else words[at])
        at += size
    return joined


def text_of(words: Sequence[str]) -> str:
    """A readable name: "Men Navy Blue T-shirt". CATEGORY is left out."""
    written = ["" if word == CATEGORY else word.replace("_", " ").title() for word in words]
    text = " ".join(part for part in written if part)
    return text.replace("T-Shirt", "T-shirt").replace(" And ", " and ")


_PAIRS_LOWER = frozenset(word.lower() for word in PAIRS)
INVARIANT = frozenset(
    {"men", "women", "boys", "girls", "kids", "sports", "lotus", "canvas", "mens", "stripes", "series", "sneakers"}
    | {"ballerinas", "wedges", "pumps", "loafers", "boots", "slippers", "floaters", "toes", "capris"}
)
"""Words that end in s but are not reduced to a singular."""
