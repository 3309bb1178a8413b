"""Training targets of the captioner: names reduced to visible words that agree with the labels.

In serving, attributes may be unanswered, and the name must not reveal their values. So in training, random labels are
hidden together with the words that reveal them; a hidden article type is replaced by CATEGORY.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import BpeTrainer

from model.captions.caption_parts import (
    BEGIN,
    END,
    PAD,
    CaptionSizes,
)
from model.captions.lexicon import Lexicon, WordMasks
from model.captions.wording import CATEGORY, value_word
from model.taxonomy import TREE_LEVELS, Taxonomy
from train.data.catalogue import Item

LEAF = TREE_LEVELS[0]
HIDDEN = {"gender": 0.3, "baseColour": 0.45, "usage": 0.3, "season": 0.7, LEAF: 0.3}
"""Probability of hiding an attribute's label, in the rows where labels are hidden."""

DEFAULT_HIDDEN = 0.3
PRIOR_ROWS, MIN_SHARE = 5.0, 1e-4
"""`rarity_of`: pseudo-rows that smooth a type's word shares towards those of all types, and the smallest share."""

UNTOUCHED_SHARE = 0.35
"""Share of the rows of a batch in which no label is hidden."""


@dataclass(frozen=True)
class CaptionRows:
    """Targets of N training rows.

    `tokens`, `attribute_bits` and `is_noun` are N x longest, padded: the target words' tokens, a bit for each attribute
    whose value the word reveals, and whether the word is a noun. `places` are the labels' indices (N x attributes, -1:
    missing). For the contrastive loss, `full` (N x (longest + 2)) are the tokens of the cleaned names with BEGIN and
    END, and `name_ids` (N) are equal for equal names.
    """

    tokens: torch.Tensor
    attribute_bits: torch.Tensor
    is_noun: torch.Tensor
    places: torch.Tensor
    full: torch.Tensor
    name_ids: torch.Tensor


def train_tokenizer(names: Sequence[Sequence[str]], lexicon: Lexicon, size: int) -> Tokenizer:
    """A BPE tokenizer trained on cleaned names, in which every word of the lexicon is one token, so that it can be
    masked.

    Raises ValueError if the vocabulary `size` is too small.
    """
    tokenizer = Tokenizer(BPE(unk_token="<unknown>"))  # noqa: S106 - a token of words
    tokenizer.pre_tokenizer = WhitespaceSplit()  # type: ignore[assignment]
    special = ["<pad>", "<begin>", "<end>", "<unknown>", CATEGORY]
    trainer = BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    lines = [" ".join(name) for name in names] + [word for word in lexicon.words for _ in range(50)]
    tokenizer.train_from_iterator(lines, trainer)
    missing = [word for word in lexicon.words if word not in tokenizer.get_vocab()]
    if missing:
        raise ValueError(
            f"the vocabulary is too small: {len(missing)} words are not single tokens, such as {missing[0]}"
        )
    return tokenizer


def target_words(name: Sequence[str], labels: Mapping[str, str], lexicon: Lexicon, touched: Counter[str]) -> list[str]:
    """A cleaned name reduced to target words; `touched` counts the rules that changed it."""
    known = [
        word for word in name if word in lexicon.fits[LEAF] or any(word in lexicon.needs[a] for a in lexicon.needs)
    ]
    touched["words no picture shows"] += known != list(name)
    answers = {attribute: labels.get(attribute) for attribute in lexicon.attributes}
    agreeing = [word for word in known if not lexicon.conflicts(word, answers)]
    touched["words against the row's labels"] += agreeing != known
    if LEAF in labels and not any(word in lexicon.nouns for word in agreeing):
        touched["article type added"] += 1
        agreeing.append(value_word(labels[LEAF]))
    return agreeing


def make_rows(
    items: Sequence[Item],
    names: Sequence[Sequence[str]],
    tokenizer: Tokenizer,
    masks: WordMasks,
    lexicon: Lexicon,
    longest: int,
) -> tuple[CaptionRows, Counter[str]]:
    """Targets of all rows, of at most `longest` - 1 words, and the number of rows each rule changed."""
    touched: Counter[str] = Counter()
    targets = [target_words(name, item.labels, lexicon, touched) for item, name in zip(items, names, strict=True)]
    targets = [words[: longest - 1] for words in targets]
    vocabulary = tokenizer.get_vocab()
    attribute_bits = [[_bits(word, lexicon) for word in words] for words in targets]
    is_noun = [[word in lexicon.nouns for word in words] for words in targets]
    full = [[BEGIN, *tokenizer.encode(" ".join(name)).ids[: longest - 1], END] for name in names]
    joined = [" ".join(name) for name in names]
    rows = CaptionRows(
        tokens=_padded([[vocabulary[word] for word in words] for words in targets], longest),
        attribute_bits=_padded(attribute_bits, longest),
        is_noun=_padded(is_noun, longest).bool(),
        places=masks.places([item.labels for item in items]),
        full=_padded(full, longest + 2),
        name_ids=torch.from_numpy(np.unique(joined, return_inverse=True)[1]).long(),
    )
    return rows, touched


def hide_answers(
    rows: CaptionRows, chosen: torch.Tensor, attributes: Sequence[str], category: int, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers (N x attributes) and target tokens (N x longest) of the chosen rows, with random answers hidden.

    Words that reveal a hidden answer are removed; the noun of a hidden article type becomes the `category` token.
    """
    count = len(chosen)
    odds = torch.tensor([HIDDEN.get(name, DEFAULT_HIDDEN) for name in attributes])
    touched = torch.rand(count, 1, generator=random) >= UNTOUCHED_SHARE
    hidden = (torch.rand(count, len(attributes), generator=random) < odds) & touched
    places = torch.where(hidden, -1, rows.places[chosen])
    bits = ((places < 0) * (1 << torch.arange(len(attributes)))).sum(dim=1)
    tokens, is_noun = rows.tokens[chosen], rows.is_noun[chosen]
    is_lost = (rows.attribute_bits[chosen] & bits[:, None]) > 0
    if LEAF in attributes:
        is_leaf_hidden = places[:, attributes.index(LEAF)] < 0
        last = is_noun.shape[1] - 1 - is_noun.flip(1).int().argmax(dim=1)
        stands_in = is_leaf_hidden & is_noun.any(dim=1)
        line = torch.arange(count)[stands_in]
        tokens = tokens.clone()
        tokens[line, last[stands_in]] = category
        is_lost[line, last[stands_in]] = False
    gone = is_lost | (tokens == PAD)
    order = gone.int().argsort(dim=1, stable=True)
    return places, tokens.masked_fill(gone, PAD).gather(1, order)


def inputs_and_targets(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and next-token targets of teacher forcing, N x (longest name + 1) each, padded with PAD."""
    count = len(tokens)
    lengths = (tokens != PAD).sum(dim=1)
    inputs = torch.cat([torch.full((count, 1), BEGIN), tokens], dim=1)
    targets = torch.cat([tokens, torch.full((count, 1), PAD)], dim=1)
    targets[torch.arange(count), lengths] = END
    longest = int(lengths.max()) + 1
    return inputs[:, :longest], targets[:, :longest]


def label_sizes(lexicon: Lexicon, taxonomy: Taxonomy) -> tuple[int, ...]:
    """Number of values per attribute, in the lexicon's order."""
    return tuple(len(taxonomy.values[name]) for name in lexicon.attributes)


def rarity_of(rows: CaptionRows, lexicon: Lexicon, vocabulary: Mapping[str, int], sizes: CaptionSizes) -> torch.Tensor:
    """Negative log share of each detail among a type's targets, (article types + 1) x vocabulary; 0 for other words.

    A detail is a word that is neither a value nor a noun. Shares of rare types are smoothed towards those of all types;
    the last row, for an unanswered type, has the shares over all types.
    """
    single = {word for name in lexicon.attributes for word, fitting in lexicon.fits[name].items() if len(fitting) == 1}
    values = {word for word in single if _bits(word, lexicon)}
    details = [vocabulary[word] for word in lexicon.words if word not in lexicon.nouns and word not in values]
    types = rows.places[:, -1]
    has = torch.zeros(len(types), sizes.vocabulary).scatter_(1, rows.tokens, 1.0)
    every = has.mean(dim=0)
    counts = torch.zeros(sizes.values[-1] + 1, sizes.vocabulary).index_add_(0, types % (sizes.values[-1] + 1), has)
    numbers = torch.bincount(types % (sizes.values[-1] + 1), minlength=sizes.values[-1] + 1)[:, None]
    shares = (counts + PRIOR_ROWS * every) / (numbers + PRIOR_ROWS)
    shares[-1] = every
    rarity = torch.zeros_like(shares)
    rarity[:, details] = -shares[:, details].clamp(MIN_SHARE, 1.0).log()
    return rarity


def _bits(word: str, lexicon: Lexicon) -> int:
    """A bit for each attribute that has to be answered for the word to be used."""
    return sum(1 << at for at, name in enumerate(lexicon.attributes) if word in lexicon.needs[name])


def _padded(rows: Sequence[Sequence[int]], longest: int) -> torch.Tensor:
    padded: npt.NDArray[np.int64] = np.full((len(rows), longest), PAD, dtype=np.int64)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = row
    return torch.from_numpy(padded)
