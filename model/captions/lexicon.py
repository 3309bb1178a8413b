"""What each word of a name says about the attributes, so that a name can be kept in agreement with the answers.

A word *fits* some values of an attribute: beside any other answer it would be a contradiction ("shirt" beside
Trousers). A word that *needs* an attribute tells its value, and is left out where that is not answered ("women" where
the gender is not sure). Everything is data, counted when a captioner is trained, and travels in its bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from model.captions.wording import (
    CATEGORY,
    phrases_of,
    value_word,
    words_of_name,
)
from model.taxonomy import Taxonomy

UNANSWERED = -1


@dataclass(frozen=True)
class Lexicon:
    """The words a name may have, in the tokens' order. `fits[attribute][word]` lists values, without an entry all fit.

    `needs[attribute]` are words that want an answer; `nouns` are those that name an article, CATEGORY among them;
    `apart` are pairs that no name has both of ("striped" and "checked").
    """

    words: tuple[str, ...]
    fits: dict[str, dict[str, tuple[str, ...]]]
    needs: dict[str, frozenset[str]]
    nouns: frozenset[str]
    apart: tuple[tuple[str, str], ...] = ()

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        return tuple(self.needs)

    def conflicts(self, word: str, answers: Mapping[str, str | None]) -> list[str]:
        """The attributes whose answer the word contradicts, or tells although there is none."""
        return [name for name in self.attributes if not self.agrees(word, name, answers.get(name))]

    def agrees(self, word: str, attribute: str, value: str | None) -> bool:
        """Whether the word may stand beside this answer (None: not answered)."""
        if value is None:
            return word not in self.needs[attribute]
        fitting = self.fits[attribute].get(word)
        return fitting is None or value in fitting

    def to_json(self) -> dict[str, Any]:
        return {
            "words": list(self.words),
            "fits": {
                name: {word: list(values) for word, values in sorted(rows.items())} for name, rows in self.fits.items()
            },
            "needs": {name: sorted(words) for name, words in self.needs.items()},
            "nouns": sorted(self.nouns),
            "apart": [list(pair) for pair in self.apart],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Lexicon:
        """Raises KeyError, TypeError or AttributeError where the data is no lexicon."""
        return cls(
            words=tuple(data["words"]),
            fits={name: {word: tuple(values) for word, values in rows.items()} for name, rows in data["fits"].items()},
            needs={name: frozenset(words) for name, words in data["needs"].items()},
            nouns=frozenset(data["nouns"]),
            apart=tuple((first, second) for first, second in data["apart"]),
        )


class Agreement:
    """Reads written names against answers, from the text alone."""

    def __init__(self, lexicon: Lexicon, taxonomy: Taxonomy) -> None:
        self._lexicon = lexicon
        self._phrases = phrases_of(value for values in taxonomy.values.values() for value in values)
        self._values = {name: {value_word(v): v for v in taxonomy.values[name]} for name in lexicon.attributes}

    def contradictions(self, text: str, answers: Mapping[str, str | None]) -> list[str]:
        """What a name says against the answers, as "attribute: word".

        A word contradicts an answer it does not fit, and so does the full name of any other value of that attribute.
        The name of an answered value, a category's for one, is no contradiction.
        """
        found = set()
        answered = {value_word(value) for value in answers.values() if value}
        for word in words_of_name(text, self._phrases):
            if word in answered:
                continue
            for name, values in self._values.items():
                answer = answers.get(name)
                is_other = word in values and values[word] != answer
                if answer is not None and (is_other or not self._lexicon.agrees(word, name, answer)):
                    found.add(f"{name}: {word}")
        return sorted(found)


class WordMasks:
    """The lexicon as tensors over the tokens, for a whole batch at once.

    `ids` gives each word's token. Tokens that are no word of the lexicon (pieces, control tokens) are never allowed.
    """

    def __init__(self, lexicon: Lexicon, taxonomy: Taxonomy, ids: Mapping[str, int], size: int) -> None:
        self._places = {
            name: {value: at for at, value in enumerate(taxonomy.values[name])} for name in lexicon.attributes
        }
        self._size = size
        known = [word for word in lexicon.words if word in ids]
        self._allowed = {name: self._table(lexicon, taxonomy, name, ids, known) for name in lexicon.attributes}
        self.nouns = _marked([ids[word] for word in lexicon.nouns if word in ids], size)
        self.category = ids[CATEGORY]
        self.forbidden_after = self._forbidden_table(taxonomy, ids)
        self.excludes = torch.zeros(size, size, dtype=torch.bool)
        for first, second in lexicon.apart:
            self.excludes[ids[first], ids[second]] = self.excludes[ids[second], ids[first]] = True

    def to(self, device: torch.device) -> WordMasks:
        self._allowed = {name: table.to(device) for name, table in self._allowed.items()}
        self.nouns, self.forbidden_after, self.excludes = (
            table.to(device) for table in (self.nouns, self.forbidden_after, self.excludes)
        )
        return self

    def places(self, answers: Sequence[Mapping[str, str | None]]) -> torch.Tensor:
        """N x attributes: each answer's index in the taxonomy, UNANSWERED where there is none."""
        rows = [[self._places[name].get(row.get(name) or "", UNANSWERED) for name in self._places] for row in answers]
        return torch.tensor(rows, dtype=torch.long).view(len(answers), len(self._places))

    def allowed(self, places: torch.Tensor) -> torch.Tensor:
        """N x tokens: which words agree with the answers of each row."""
        tables = [self._allowed[name][places[:, at]] for at, name in enumerate(self._allowed)]
        return torch.stack(tables).all(dim=0)

    def _table(
        self, lexicon: Lexicon, taxonomy: Taxonomy, name: str, ids: Mapping[str, int], known: Iterable[str]
    ) -> torch.Tensor:
        """(values + 1) x tokens; the last row is for no answer, so that UNANSWERED points at it."""
        values = taxonomy.values[name]
        table = torch.zeros(len(values) + 1, self._size, dtype=torch.bool)
        for word in known:
            table[:, ids[word]] = torch.tensor([lexicon.agrees(word, name, value) for value in (*values, None)])
        return table

    def _forbidden_table(self, taxonomy: Taxonomy, ids: Mapping[str, int]) -> torch.Tensor:
        """tokens x tokens: True where the second may not follow the first, because they would read as a value."""
        table = torch.zeros(self._size, self._size, dtype=torch.bool)
        for parts in phrases_of(value for rows in taxonomy.values.values() for value in rows):
            if parts[-2] in ids and parts[-1] in ids:
                table[ids[parts[-2]], ids[parts[-1]]] = True
        return table


def _marked(ids: Sequence[int], size: int) -> torch.Tensor:
    marks = torch.zeros(size, dtype=torch.bool)
    marks[list(ids)] = True
    return marks
