"""Constrained decoding of names from visual tokens, step by step with a key-value cache.

Words that contradict an answer are masked. A name ends only after a noun, contains no word twice and no two words that
exclude each other, and has at most the network's `max_tokens` words.

Unadjusted, a decoder prefers words that suit every image over details of this one. So a sufficiently likely detail
("striped", "graphic", "chronograph") is scored relative to its frequency among names of its article type:
log p(word | image) - detail * log p(word | type). This is the logit adjustment of Menon et al. (ICLR 2021), similar to
the mutual information objective of Li et al. (NAACL 2016).

Serving uses greedy search; beam search serves as a comparison.
"""

from __future__ import annotations

import math
import time

import torch

from model.captions.caption_network import (
    CaptionNetwork,
    new_cache,
    select_rows,
    strip_control_tokens,
)
from model.captions.caption_parts import BEGIN, END, PAD
from model.captions.lexicon import WordMasks

Words = list[list[int]]


class CaptionTimeout(RuntimeError):
    """Raised if the names are not complete at the deadline."""


class _DecodingState:
    """Constraints on the next token, with one row per name in progress: words used so far, nouns and details."""

    def __init__(self, masks: WordMasks | None, places: torch.Tensor, network: CaptionNetwork) -> None:
        size = network.sizes.vocabulary
        self._masks, self._last = masks, network.sizes.max_tokens - 1
        self._said = torch.zeros(len(places), size, dtype=torch.bool, device=places.device)
        self._has_noun = torch.zeros(len(places), dtype=torch.bool, device=places.device)
        self._allowed = masks.allowed(places) if masks else torch.ones_like(self._said)
        self._allowed[:, [PAD, BEGIN]] = False
        self._sizes = network.sizes
        self._rarity = network.rarity[places[:, -1]] if masks else torch.zeros(len(places), size, device=places.device)
        self._details = torch.zeros(len(places), dtype=torch.long, device=places.device)

    def allowed_tokens(self, previous: torch.Tensor, step: int) -> torch.Tensor:
        """Which tokens may follow `previous` (N), N x tokens. There is always one: the name of the answered type."""
        if self._masks is None:
            return self._allowed
        allowed = self._allowed & ~self._said & ~self._masks.forbidden_after[previous]
        if step == self._last:
            allowed &= self._masks.nouns | self._has_noun[:, None]
        allowed[:, END] = self._has_noun
        return allowed

    def token_scores(self, logits: torch.Tensor, previous: torch.Tensor, step: int) -> torch.Tensor:
        """Score of each next token, N x tokens: log probability plus bonus for details; -inf if it is not allowed."""
        log_probabilities = torch.log_softmax(logits, dim=1)
        is_likely = log_probabilities > math.log(self._sizes.detail_chance)
        has_bonus = is_likely & (self._details < self._sizes.details)[:, None]
        scores = torch.where(has_bonus, log_probabilities + self._sizes.detail * self._rarity, log_probabilities)
        return scores.masked_fill_(~self.allowed_tokens(previous, step), -torch.inf)

    def append(self, tokens: torch.Tensor) -> None:
        """Record each row's next token (N)."""
        self._details += self._rarity.gather(1, tokens[:, None])[:, 0] > 0
        self._said.scatter_(1, tokens[:, None], True)
        if self._masks is not None:
            self._said |= self._masks.excludes[tokens]
            self._has_noun |= self._masks.nouns[tokens]

    def select_rows(self, rows: torch.Tensor) -> None:
        """Keep only the given rows, in the given order."""
        self._said, self._has_noun, self._allowed = self._said[rows], self._has_noun[rows], self._allowed[rows]
        self._rarity, self._details = self._rarity[rows], self._details[rows]


@torch.inference_mode()
def greedy(
    network: CaptionNetwork,
    visual: torch.Tensor,
    places: torch.Tensor,
    masks: WordMasks | None,
    deadline: float | None = None,
) -> Words:
    """Greedy search: each row's highest-scoring next token, until all rows have ended.

    `visual` are visual tokens (N x queries x width), `places` the answers' indices (N x attributes). Without `masks`,
    decoding is unconstrained. Raises CaptionTimeout if names are incomplete at the `deadline` (of time.monotonic()).
    """
    memory, cache, state = network.memory(visual, places), new_cache(), _DecodingState(masks, places, network)
    previous = torch.full((len(visual),), BEGIN, device=visual.device)
    has_ended = torch.zeros_like(previous, dtype=torch.bool)
    written = []
    for step in range(network.sizes.max_tokens):
        if deadline is not None and time.monotonic() > deadline:
            raise CaptionTimeout(f"only {step} words before the deadline")
        logits = network.decode(network.encode_text(previous[:, None], cache, step), memory, cache)[:, 0]
        chosen = state.token_scores(logits, previous, step).argmax(dim=1)
        previous = torch.where(has_ended, PAD, chosen)
        state.append(previous)
        written.append(previous)
        has_ended |= previous == END
        if bool(has_ended.all()):
            break
    return [strip_control_tokens(row) for row in torch.stack(written, dim=1).tolist()]


@torch.inference_mode()
def beam(
    network: CaptionNetwork,
    visual: torch.Tensor,
    places: torch.Tensor,
    masks: WordMasks | None,
    width: int = 4,
    length_power: float = 0.7,
) -> Words:
    """Beam search: the best of `width` names per row by score / length ** `length_power`."""
    count, size = len(visual), network.sizes.vocabulary
    rows = torch.arange(count, device=visual.device).repeat_interleave(width)
    memory, cache, state = (
        network.memory(visual, places)[rows],
        new_cache(),
        _DecodingState(masks, places[rows], network),
    )
    tokens = torch.full((count * width, 1), BEGIN, device=visual.device)
    scores = torch.full((count, width), -torch.inf, device=visual.device)
    scores[:, 0] = 0.0  # all beams start equal, so only the first may branch
    has_ended = torch.zeros(count * width, dtype=torch.bool, device=visual.device)
    for step in range(network.sizes.max_tokens):
        logits = network.decode(network.encode_text(tokens[:, -1:], cache, step), memory, cache)[:, 0]
        scored = state.token_scores(logits, tokens[:, -1], step)
        scored[has_ended] = -torch.inf
        scored[has_ended, PAD] = 0.0  # a complete name is kept at no cost
        best = (scores[:, :, None] + scored.view(count, width, size)).view(count, -1).topk(width, dim=1)
        scores, parents = best.values, best.indices // size
        kept = (parents + torch.arange(count, device=visual.device)[:, None] * width).flatten()
        said = (best.indices % size).flatten()
        select_rows(cache, kept)
        state.select_rows(kept)
        state.append(said)
        tokens = torch.cat([tokens[kept], said[:, None]], dim=1)
        has_ended = has_ended[kept] | (said == END)
        if bool(has_ended.all()):
            break
    lengths = (tokens > END).sum(dim=1).clamp(min=1).view(count, width)
    winners = (scores / lengths**length_power).argmax(dim=1)
    return [
        strip_control_tokens(row[winner])
        for row, winner in zip(tokens.view(count, width, -1).tolist(), winners, strict=True)
    ]
