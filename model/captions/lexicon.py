"""The captioner's vocabulary and its rules, which keep names consistent with the answers.

A word *fits* some values of an attribute and contradicts all others ("shirt" contradicts Trousers). A word that *needs*
an attribute reveals its value, so it is not used if the attribute is unanswered ("women" if the gender is unknown).
The rules are counted when a captioner is trained, and are part of its bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
ANY_COLOUR = "<colour>"
"""Stands for all colours among a word's partners."""


@dataclass(frozen=True)
class WordUse:
    """How the catalogue's names use a word: its partners directly before and after it, and its place.

    None: the word needs no partner on that side. No partners: names do not use it without words that no image shows.
    A word that `is_late` stands after the colour ("Black Dial Watch").
    """

    before: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None
    is_late: bool = False

    def to_json(self) -> dict[str, Any]:
        sides = {"before": self.before, "after": self.after}
        return {side: list(words) for side, words in sides.items() if words is not None} | (
            {"is_late": True} if self.is_late else {}
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WordUse:
        sides = {side: tuple(data[side]) for side in ("before", "after") if side in data}
        return cls(**sides, is_late=bool(data.get("is_late", False)))


@dataclass(frozen=True)
class Lexicon:
    """The words of names, and which of them may be used with which answers.

    `fits[attribute][word]` are the values that the word fits; without an entry it fits all. `needs[attribute]` are the
    words that may be used only if the attribute is answered. `nouns` are the words for articles, including CATEGORY.
    `apart` are pairs of words that exclude each other ("striped" and "checked"). `uses` are the words that need a
    partner or follow the colour; bundles from before they were counted have none.
    """

    words: tuple[str, ...]
    fits: dict[str, dict[str, tuple[str, ...]]]
    needs: dict[str, frozenset[str]]
    nouns: frozenset[str]
    apart: tuple[tuple[str, str], ...] = ()
    uses: Mapping[str, WordUse] = field(default_factory=dict)

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """The attributes with rules, in the order of the network's answers."""
        return tuple(self.needs)

    def conflicts(self, word: str, answers: Mapping[str, str | None]) -> list[str]:
        """The attributes whose answer the word contradicts, or reveals although there is none."""
        return [name for name in self.attributes if not self.agrees(word, name, answers.get(name))]

    def agrees(self, word: str, attribute: str, value: str | None) -> bool:
        """Whether the word may be used with this answer; None is unanswered."""
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
            "uses": {word: use.to_json() for word, use in sorted(self.uses.items())},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Lexicon:
        """Read the data of `to_json`. Raises KeyError, TypeError or AttributeError if it is not a lexicon."""
        return cls(
            words=tuple(data["words"]),
            fits={name: {word: tuple(values) for word, values in rows.items()} for name, rows in data["fits"].items()},
            needs={name: frozenset(words) for name, words in data["needs"].items()},
            nouns=frozenset(data["nouns"]),
            apart=tuple((first, second) for first, second in data["apart"]),
            uses={word: WordUse.from_json(use) for word, use in data.get("uses", {}).items()},
        )


class Agreement:
    """Checks finished names against the answers, from the text alone."""

    def __init__(self, lexicon: Lexicon, taxonomy: Taxonomy) -> None:
        self._lexicon = lexicon
        self._phrases = phrases_of(value for values in taxonomy.values.values() for value in values)
        self._values = {name: {value_word(v): v for v in taxonomy.values[name]} for name in lexicon.attributes}

    def contradictions(self, text: str, answers: Mapping[str, str | None]) -> list[str]:
        """The contradictions of a name with the answers, as "attribute: word".

        A word contradicts an answer that it does not fit, or if it is the name of another value of that attribute. The
        name of any answered value, such as a category's, is never a contradiction.
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
    """The lexicon's rules as boolean tensors over the `size` tokens of the vocabulary.

    `ids` maps words to tokens. Tokens that are not words of the lexicon (word pieces, control tokens) are never
    allowed, nor are words that would be stranded anywhere (see `WordUse`). `nouns` (tokens) marks nouns;
    `forbidden_after` and `excludes` (tokens x tokens) mark pairs of which the second may not directly follow the first,
    or may not be in the same name.
    """

    def __init__(self, lexicon: Lexicon, taxonomy: Taxonomy, ids: Mapping[str, int], size: int) -> None:
        self._places = {
            name: {value: at for at, value in enumerate(taxonomy.values[name])} for name in lexicon.attributes
        }
        self._size = size
        hopeless = {word for word, use in lexicon.uses.items() if () in (use.before, use.after)}
        known = [word for word in lexicon.words if word in ids and word not in hopeless]
        self._allowed = {name: self._table(lexicon, taxonomy, name, ids, known) for name in lexicon.attributes}
        self.nouns = _marked([ids[word] for word in lexicon.nouns if word in ids], size)
        self.category = ids[CATEGORY]
        self.forbidden_after = self._forbidden_table(taxonomy, ids)
        self.excludes = torch.zeros(size, size, dtype=torch.bool)
        for first, second in lexicon.apart:
            self.excludes[ids[first], ids[second]] = self.excludes[ids[second], ids[first]] = True

    def to(self, device: torch.device) -> WordMasks:
        """Move the tensors to a device, in place; returns self."""
        self._allowed = {name: table.to(device) for name, table in self._allowed.items()}
        self.nouns, self.forbidden_after, self.excludes = (
            table.to(device) for table in (self.nouns, self.forbidden_after, self.excludes)
        )
        return self

    def places(self, answers: Sequence[Mapping[str, str | None]]) -> torch.Tensor:
        """The answers' indices in the taxonomy, N x attributes; UNANSWERED if there is none."""
        rows = [[self._places[name].get(row.get(name) or "", UNANSWERED) for name in self._places] for row in answers]
        return torch.tensor(rows, dtype=torch.long).view(len(answers), len(self._places))

    def allowed(self, places: torch.Tensor) -> torch.Tensor:
        """Which tokens agree with all answers of a row, N x tokens."""
        tables = [self._allowed[name][places[:, at]] for at, name in enumerate(self._allowed)]
        return torch.stack(tables).all(dim=0)

    def _table(
        self, lexicon: Lexicon, taxonomy: Taxonomy, name: str, ids: Mapping[str, int], known: Iterable[str]
    ) -> torch.Tensor:
        """Which tokens agree with which answer, (values + 1) x tokens; the last row (index -1) is for UNANSWERED."""
        values = taxonomy.values[name]
        table = torch.zeros(len(values) + 1, self._size, dtype=torch.bool)
        for word in known:
            table[:, ids[word]] = torch.tensor([lexicon.agrees(word, name, value) for value in (*values, None)])
        return table

    def _forbidden_table(self, taxonomy: Taxonomy, ids: Mapping[str, int]) -> torch.Tensor:
        """Pairs of tokens that would read as a multi-word value, tokens x tokens."""
        table = torch.zeros(self._size, self._size, dtype=torch.bool)
        for parts in phrases_of(value for rows in taxonomy.values.values() for value in rows):
            if parts[-2] in ids and parts[-1] in ids:
                table[ids[parts[-2]], ids[parts[-1]]] = True
        return table


def _marked(ids: Sequence[int], size: int) -> torch.Tensor:
    marks = torch.zeros(size, dtype=torch.bool)
    marks[list(ids)] = True
    return marks
