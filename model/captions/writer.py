"""The neural captioner of a bundle: names with details from the image, and image and text embeddings."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer

from model.answer import Embedding, Prediction
from model.captions.caption_network import load_network
from model.captions.caption_parts import (
    BEGIN,
    END,
    PAD,
    CaptionerParts,
)
from model.captions.captioner import Caption, StructuredCaptioner, answers_beside, likely_article
from model.captions.decoding import CaptionTimeout, greedy
from model.captions.lexicon import WordMasks
from model.captions.phrasing import Phrasing
from model.captions.wording import phrases_of, text_of, words_of_name
from model.taxonomy import TREE_LEVELS, Taxonomy


class DecoderCaptioner:
    """Writes names with the bundle's decoder; falls back to structured text, marked as degraded, after `budget_s`."""

    source = "decoder"

    def __init__(self, parts: CaptionerParts, taxonomy: Taxonomy, device: torch.device, budget_s: float) -> None:
        self.parts, self.taxonomy, self.device, self.budget_s = parts, taxonomy, device, budget_s
        self._fallback = StructuredCaptioner(taxonomy)
        self._phrasing = Phrasing(parts.lexicon, taxonomy)
        self._tokenizer = Tokenizer.from_str(parts.tokenizer)
        self._ids = {word: at for word, at in self._tokenizer.get_vocab().items() if word in set(parts.lexicon.words)}
        self._words = {at: word for word, at in self._ids.items()}
        self._phrases = phrases_of(value for values in taxonomy.values.values() for value in values)
        self.network = load_network(parts).to(device)
        self.masks = WordMasks(parts.lexicon, taxonomy, self._ids, parts.sizes.vocabulary).to(device)

    def caption(self, predictions: Sequence[Mapping[str, Prediction]], features: torch.Tensor) -> list[Caption]:
        """See `Captioner`. Structured text replaces names of nothing but the article."""
        deadline = time.monotonic() + self.budget_s
        structured = self._fallback.caption(predictions, features)
        try:
            visual = self.network.encode_image(features.float())
            embeddings = self.network.embed_image(visual).cpu().numpy().astype(np.float16)
            names = self.write(visual, [self.naming_answers(row) for row in predictions], deadline)
        except CaptionTimeout:
            return [Caption(caption.text, caption.source, is_degraded=True) for caption in structured]
        except RuntimeError:  # from torch, e.g. out of memory: the attributes are still valid
            return [Caption(caption.text, caption.source, is_degraded=True) for caption in structured]
        return [
            Caption(name, self.source, embedding) if name else Caption(caption.text, caption.source, embedding)
            for caption, name, embedding in zip(structured, names, embeddings, strict=True)
        ]

    def naming_answers(self, predictions: Mapping[str, Prediction]) -> dict[str, str | None]:
        """The answers that a name follows: the likely article stands for an unanswered article type."""
        answers = {name: row.value for name, row in predictions.items()}
        article = likely_article(predictions, self.taxonomy)
        return answers_beside(article, answers, self.taxonomy) | {TREE_LEVELS[0]: article} if article else answers

    def write(
        self,
        visual: torch.Tensor,
        answers: Sequence[Mapping[str, str | None]],
        deadline: float | None = None,
        *,
        is_unconstrained: bool = False,
    ) -> list[str]:
        """Writes names that agree with the answers; "" where `text` leaves none.

        `is_unconstrained` forbids no word and changes none, for comparison.
        """
        places = self.masks.places(answers).to(self.device)
        rows = greedy(self.network, visual, places, None if is_unconstrained else self.masks, deadline)
        if is_unconstrained:
            return [text_of(self.words(row)) for row in rows]
        return [self.text(row, answer) for row, answer in zip(rows, answers, strict=True)]

    def text(self, tokens: Sequence[int], answers: Mapping[str, str | None]) -> str:
        """Tokens as a name that a shop would print; "" without an article type, or if nothing but it is left."""
        article = answers.get(TREE_LEVELS[0])
        words = self._phrasing.phrase(self.words(tokens), article) if article else []
        return text_of(words) if len(words) > 1 else ""

    def words(self, tokens: Sequence[int]) -> list[str]:
        """The words of the tokens; "" for tokens that are not words."""
        return [self._words.get(token, "") for token in tokens]

    def embed_texts(self, texts: Sequence[str]) -> Embedding:
        """Text embeddings in the space of image embeddings, N x embedding, float16, for text-to-image search."""
        rows = [self.tokens_of(words_of_name(text, self._phrases)) for text in texts]
        longest = max((len(row) for row in rows), default=0)
        padded = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows], device=self.device)
        with torch.inference_mode():
            embedded = self.network.embed_text(self.network.encode_text(padded), padded)
        return embedded.cpu().numpy().astype(np.float16)

    def tokens_of(self, words: Sequence[str]) -> list[int]:
        """The tokens of the words, cut to the network's maximum, between BEGIN and END."""
        found = self._tokenizer.encode(" ".join(words), add_special_tokens=False).ids
        return [BEGIN, *found[: self.parts.sizes.max_tokens], END]
