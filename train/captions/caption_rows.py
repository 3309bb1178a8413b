"""Names as training targets: only words that can be seen, in agreement with the labels, some answers left out.

An answer that is not sure is left out of a name when serving. So in training a part of the labels is hidden, and with
them the words that tell them; a hidden article type leaves CATEGORY in the noun's place.
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
DEFAULT_HIDDEN = 0.3
PRIOR_ROWS, MIN_SHARE = 5.0, 1e-4
UNTOUCHED_SHARE = 0.35
"""Share of the rows of a batch in which nothing is hidden."""


@dataclass(frozen=True)
class CaptionRows:
    """Targets, each N x longest and padded: tokens, the attributes a token names (bits), whether it is the noun.

    `places` are the labels (N x attributes, -1: missing); `full` are the cleaned names' tokens, begin and end included,
    for the contrastive half, and `name_ids` numbers equal ones.
    """

    tokens: torch.Tensor
    attribute_bits: torch.Tensor
    is_noun: torch.Tensor
    places: torch.Tensor
    full: torch.Tensor
    name_ids: torch.Tensor


def train_tokenizer(names: Sequence[Sequence[str]], lexicon: Lexicon, size: int) -> Tokenizer:
    """BPE over the cleaned names. Every word of the lexicon is one token, so that it can be allowed or forbidden.

    Raises ValueError where `size` is too small for that.
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
            f"{len(missing)} words are no single token, such as {missing[0]}; a larger vocabulary is needed"
        )
    return tokenizer


def target_words(name: Sequence[str], labels: Mapping[str, str], lexicon: Lexicon, touched: Counter[str]) -> list[str]:
    """A cleaned name cut down to a target; `touched` counts the rules that changed it."""
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
    """All rows' targets, and how many rows each rule touched."""
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
    """A batch's answers (N x attributes) and target tokens (N x longest), some answers hidden from both."""
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
    """Padded targets to what the network reads and what it should say next: N x longest + 1 each (PAD: nothing)."""
    count = len(tokens)
    lengths = (tokens != PAD).sum(dim=1)
    read = torch.cat([torch.full((count, 1), BEGIN), tokens], dim=1)
    said = torch.cat([tokens, torch.full((count, 1), PAD)], dim=1)
    said[torch.arange(count), lengths] = END
    most = int(lengths.max()) + 1
    return read[:, :most], said[:, :most]


def label_sizes(lexicon: Lexicon, taxonomy: Taxonomy) -> tuple[int, ...]:
    return tuple(len(taxonomy.values[name]) for name in lexicon.attributes)


def rarity_of(rows: CaptionRows, lexicon: Lexicon, vocabulary: Mapping[str, int], sizes: CaptionSizes) -> torch.Tensor:
    """(article types + 1) x vocabulary: minus the log of a detail's share of a type's targets, 0 for other words.

    Shares of small types lean on those of all; the last row, for no answer, is of all. A detail is a word that names no
    value and no article.
    """
    told = {word for name in lexicon.attributes for word, fitting in lexicon.fits[name].items() if len(fitting) == 1}
    details = [vocabulary[w] for w in lexicon.words if w not in lexicon.nouns and not (w in told and _bits(w, lexicon))]
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
    return sum(1 << at for at, name in enumerate(lexicon.attributes) if word in lexicon.needs[name])


def _padded(rows: Sequence[Sequence[int]], longest: int) -> torch.Tensor:
    padded: npt.NDArray[np.int64] = np.full((len(rows), longest), PAD, dtype=np.int64)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = row
    return torch.from_numpy(padded)
