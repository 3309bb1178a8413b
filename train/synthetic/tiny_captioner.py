"""A captioner with seeded random weights for the tiny bundle; its names are meaningless but valid."""

from __future__ import annotations

import dataclasses

import torch

from model.bundle import Bundle
from model.captions.caption_network import CaptionNetwork
from model.captions.caption_parts import CaptionerParts, CaptionSizes
from model.captions.lexicon import Lexicon
from model.captions.wording import CATEGORY, value_word
from train.captions.caption_rows import label_sizes, train_tokenizer

PATTERNS = ("checked", "collared", "printed", "striped")


def with_tiny_captioner(bundle: Bundle, seed: int = 0) -> Bundle:
    """The bundle with a captioner whose vocabulary is the taxonomy's values and a few patterns."""
    taxonomy = bundle.taxonomy
    own = {name: {value_word(value): (value,) for value in values} for name, values in taxonomy.attributes.items()}
    leaf = {word: tuple(taxonomy.attributes["articleType"][:2]) for word in PATTERNS[:2]}
    words = sorted({word for rows in own.values() for word in rows} | {*PATTERNS, CATEGORY})
    lexicon = Lexicon(
        words=tuple(words),
        fits=own | {"articleType": own["articleType"] | leaf | {CATEGORY: ()}},
        needs={name: frozenset(rows) for name, rows in own.items()},
        nouns=frozenset({*own["articleType"], CATEGORY}),
    )
    tokenizer = train_tokenizer([[word] for word in words], lexicon, 400)
    with torch.inference_mode():
        features, height, width = bundle.network().feature_map(torch.zeros(1, 3, *bundle.size)).shape[1:]
    sizes = CaptionSizes(
        vocabulary=tokenizer.get_vocab_size(),
        features=features,
        places=height * width,
        values=label_sizes(lexicon, taxonomy),
        width=16,
        heads=2,
        unimodal_layers=1,
        cross_layers=1,
        queries=2,
        embedding=8,
        max_tokens=8,
    )
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    network = CaptionNetwork(sizes)
    for weight in network.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.5)  # large enough for the words to depend on the image
    torch.set_rng_state(state)
    weights = {name: tensor.half().float() for name, tensor in network.state_dict().items()}
    return dataclasses.replace(bundle, captioner=CaptionerParts(sizes, weights, lexicon, tokenizer.to_str()))
