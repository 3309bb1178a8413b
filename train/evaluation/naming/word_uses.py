"""How the catalogue's names use their words: with which partners, and before or after the colour.

Counted over the training rows' raw names, without the brand: cleaned names have already lost partners ("50" of "50 ml",
"wash" of "face wash"), and would show "ml" and "face" as words that stand alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from model.captions.lexicon import ANY_COLOUR, Lexicon, WordUse
from model.captions.phrasing import GENDER
from model.captions.wording import CATEGORY, join_phrases, phrases_of, value_word, words_of_name
from model.taxonomy import Taxonomy
from train.data.catalogue import Item
from train.data.names import without_phrase

FREE_SHARE = 0.1
"""A word needs a partner if a smaller share of its occurrences stand beside the audience, the article or nothing."""

COLOUR_BEFORE_SHARE = 0.9
"""A colour before a word is mostly the article's own, and a partner only if the word has one this often."""

PARTNER_SHARE = 0.1
"""The share of a word's occurrences that makes a neighbour its partner."""

SAYABLE_SHARE = 0.45
"""A word with a smaller share of neighbours that names may have is the rest of a longer expression ("Face Wash")."""

MIN_USES, NEVER = 15, 1.01
EDGE, ARTICLE = "<edge>", "<article>"


@dataclass
class _Neighbours:
    """Counts of a word's neighbours, and of its names with a colour before or after it."""

    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    after_colour: int = 0
    before_colour: int = 0


def count_uses(
    items: Iterable[Item], taxonomy: Taxonomy, lexicon: Lexicon, brands: Set[str] = frozenset()
) -> dict[str, WordUse]:
    """The uses of the lexicon's words that need a partner or follow the colour, but for the values of attributes.

    `brands` are words of brands, which count as absent.
    """
    values = {value_word(value) for rows in taxonomy.attributes.values() for value in rows}
    classes = _classes(taxonomy, lexicon)
    spoken = [word for word in lexicon.words if word not in values | {CATEGORY} | lexicon.needs[GENDER]]
    counts = _count(items, taxonomy, classes, frozenset(spoken), brands)
    sayable = frozenset({EDGE, ANY_COLOUR, ARTICLE, *lexicon.words})
    uses = {word: _use(counts[word], sayable, is_noun=word in lexicon.nouns) for word in spoken if word in counts}
    return {word: use for word, use in uses.items() if use != WordUse()}


def _classes(taxonomy: Taxonomy, lexicon: Lexicon) -> dict[str, str]:
    """What a word counts as beside another: the audience as the name's edge, articles and colours as any of them."""
    audience = dict.fromkeys([*lexicon.needs[GENDER], *(value_word(v) for v in taxonomy.values[GENDER])], EDGE)
    colours = {value_word(value): ANY_COLOUR for value in taxonomy.values["baseColour"]}
    return dict.fromkeys(lexicon.nouns, ARTICLE) | colours | audience


def _count(
    items: Iterable[Item], taxonomy: Taxonomy, classes: Mapping[str, str], counted: Set[str], brands: Set[str]
) -> dict[str, _Neighbours]:
    phrases = phrases_of(value for rows in taxonomy.values.values() for value in rows)
    counts: dict[str, _Neighbours] = defaultdict(_Neighbours)
    for item in items:
        words = join_phrases(without_phrase(words_of_name(item.name), words_of_name(item.brand)), phrases)
        words = [word for word in words if word not in brands]
        kinds = [EDGE, *(classes.get(word, word) for word in words), EDGE]
        for at, word in enumerate(words, start=1):
            if word in counted:
                _add(counts[word], kinds, at)
    return counts


def _add(found: _Neighbours, kinds: Sequence[str], at: int) -> None:
    found.before[kinds[at - 1]] += 1
    found.after[kinds[at + 1]] += 1
    found.after_colour += ANY_COLOUR in kinds[:at]
    found.before_colour += ANY_COLOUR in kinds[at + 1 :]


def _use(found: _Neighbours, sayable: frozenset[str], *, is_noun: bool) -> WordUse:
    if found.before.total() < MIN_USES:
        return WordUse()
    # Any colour and any other word may describe an article: before one, only a partner counts ("Eye Shadow").
    least = (NEVER, 0.0) if is_noun else (COLOUR_BEFORE_SHARE, SAYABLE_SHARE)
    before = _partners(found.before, sayable, *least)
    after = _partners(found.after, sayable, 0.0, SAYABLE_SHARE)
    return WordUse(before, after, is_late=not is_noun and found.after_colour > found.before_colour)


def _partners(
    neighbours: Counter[str], sayable: frozenset[str], colour_share: float, sayable_share: float
) -> tuple[str, ...] | None:
    """The partners on one side; None if the word stands there without one often enough."""
    shares = {word: count / neighbours.total() for word, count in neighbours.items()}
    if sum(share for word, share in shares.items() if word in sayable) < sayable_share:
        return ()
    free = {EDGE, ARTICLE} | ({ANY_COLOUR} if shares.get(ANY_COLOUR, 0.0) < colour_share else set())
    if sum(shares.get(word, 0.0) for word in free) >= FREE_SHARE:
        return None
    return tuple(sorted(w for w, share in shares.items() if share >= PARTNER_SHARE and w in sayable and w not in free))
