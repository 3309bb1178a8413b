"""Phrasing of names as a catalogue prints them: audience, details, colour, article ("Men Checked Navy Blue Shirt").

A name loses words to the answers: "Light Blue T-shirt" without a colour would be "Light T-shirt". Words that need a
partner therefore go with it. Which words do, and which follow the colour ("Black Dial Watch"), is counted in the
catalogue's names when a captioner is trained (`Lexicon.uses`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from model.captions.lexicon import ANY_COLOUR, Lexicon, WordUse
from model.captions.wording import CATEGORY, value_word
from model.taxonomy import Taxonomy

GENDER, COLOUR = "gender", "baseColour"
AUDIENCE_RANK, DETAIL_RANK, COLOUR_RANK, LATE_RANK, NOUN_RANK = range(5)
FREE = WordUse()


class Phrasing:
    """Arranges the words of names, and drops those that cannot stand where they are.

    Words are those of `model.captions.wording`: lower case, multi-word values joined ("navy_blue").
    """

    def __init__(self, lexicon: Lexicon, taxonomy: Taxonomy) -> None:
        self._uses: Mapping[str, WordUse] = lexicon.uses
        self._audience = lexicon.needs.get(GENDER, frozenset())
        self._colours = {value_word(value) for value in taxonomy.values.get(COLOUR, ())}
        articles = taxonomy.values[taxonomy.leaf] if taxonomy.leaf else ()
        self._nouns = frozenset({CATEGORY, *lexicon.nouns, *map(value_word, articles)})

    def phrase(self, words: Sequence[str], article: str | None) -> list[str]:
        """The words as a name is printed; without a noun among them, the `article` ends it. Empty if there is neither.

        Words that are part of another one go ("lip" beside "lip_care"), and so do words without their partner, until
        every word has its own.
        """
        noun = value_word(article) if article else None
        written = [noun or "" if word == CATEGORY else word for word in words]
        while True:
            ordered = self.in_order(without_repetition([word for word in written if word]))
            stranded = self.stranded(ordered)
            if not any(word in self._nouns for word in ordered if word != stranded):
                if noun is None:
                    return []
                ordered.append(noun)
            elif stranded is None:
                return ordered
            written = [word for word in ordered if word != stranded]

    def in_order(self, words: Iterable[str]) -> list[str]:
        """Audience, details, colour, details that follow it, article; the order within each stays.

        Without counted uses it is unknown which details follow the colour, so the order stays.
        """
        return sorted(words, key=self.rank) if self._uses else list(words)

    def rank(self, word: str) -> int:
        """The word's place in a name, one of the *_RANK constants."""
        if word in self._nouns:
            return NOUN_RANK
        if word in self._audience:
            return AUDIENCE_RANK
        if word in self._colours:
            return COLOUR_RANK
        return LATE_RANK if self._uses.get(word, FREE).is_late else DETAIL_RANK

    def stranded(self, words: Sequence[str]) -> str | None:
        """The first word whose partner is not beside it; None if there is no such word."""
        for at, word in enumerate(words):
            use = self._uses.get(word, FREE)
            before, after = words[at - 1] if at else None, words[at + 1] if at + 1 < len(words) else None
            if not (self._has_partner(use.before, before) and self._has_partner(use.after, after)):
                return word
        return None

    def _has_partner(self, partners: tuple[str, ...] | None, neighbour: str | None) -> bool:
        if partners is None:
            return True
        return neighbour in partners or (ANY_COLOUR in partners and neighbour in self._colours)


def without_repetition(words: Sequence[str]) -> list[str]:
    """The words without repeated ones, and without those that are part of another: "casual" beside "casual_shoes"."""
    unique = list(dict.fromkeys(words))
    parts = {word: set(word.split("_")) for word in unique}
    return [word for word in unique if not any(parts[word] < parts[other] for other in unique)]
