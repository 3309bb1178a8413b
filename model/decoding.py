"""From visual tokens to words, one step at a time, with a KV cache and never a word that contradicts an answer.

Greedy is what is served; beam search is for measuring what greedy leaves behind. A name ends only after a noun, says
no word twice, and has at most the network's `max_tokens` words.
"""

from __future__ import annotations

import time

import torch

from model.caption_network import CaptionNetwork, keep_rows, new_cache, unpadded
from model.caption_parts import BEGIN, END, PAD
from model.lexicon import WordMasks

Words = list[list[int]]


class OutOfTime(RuntimeError):
    """The names were not finished within the time given."""


class _Rules:
    """Which token each row may say next, and what it has said. One row per name in progress."""

    def __init__(self, masks: WordMasks | None, places: torch.Tensor, network: CaptionNetwork) -> None:
        size = network.sizes.vocabulary
        self._masks, self._last = masks, network.sizes.max_tokens - 1
        self._said = torch.zeros(len(places), size, dtype=torch.bool, device=places.device)
        self._has_noun = torch.zeros(len(places), dtype=torch.bool, device=places.device)
        self._allowed = masks.allowed(places) if masks else torch.ones_like(self._said)
        self._allowed[:, [PAD, BEGIN]] = False

    def open_to(self, previous: torch.Tensor, step: int) -> torch.Tensor:
        """N x tokens: what may be said after `previous` (N). Some token always may: the answered type's own name."""
        if self._masks is None:
            return self._allowed
        open_to = self._allowed & ~self._said & ~self._masks.follows[previous]
        if step == self._last:
            open_to &= self._masks.nouns | self._has_noun[:, None]
        open_to[:, END] = self._has_noun
        return open_to

    def say(self, tokens: torch.Tensor) -> None:
        self._said.scatter_(1, tokens[:, None], True)
        if self._masks is not None:
            self._has_noun |= self._masks.nouns[tokens]

    def keep(self, rows: torch.Tensor) -> None:
        self._said, self._has_noun, self._allowed = self._said[rows], self._has_noun[rows], self._allowed[rows]


@torch.inference_mode()
def greedy(
    network: CaptionNetwork,
    visual: torch.Tensor,
    places: torch.Tensor,
    masks: WordMasks | None,
    ends_at: float | None = None,
) -> Words:
    """Each row's likeliest next word, until all have ended. Without `masks` nothing is forbidden.

    ends_at: by time.monotonic(); raises OutOfTime when it has passed and some names are unfinished.
    """
    memory, cache, rules = network.memory(visual, places), new_cache(), _Rules(masks, places, network)
    previous = torch.full((len(visual),), BEGIN, device=visual.device)
    has_ended = torch.zeros_like(previous, dtype=torch.bool)
    written = []
    for step in range(network.sizes.max_tokens):
        if ends_at is not None and time.monotonic() > ends_at:
            raise OutOfTime(f"only {step} words in the time given")
        logits = network.tell(network.read(previous[:, None], cache, step), memory, cache)[:, 0]
        chosen = logits.masked_fill_(~rules.open_to(previous, step), -torch.inf).argmax(dim=1)
        previous = torch.where(has_ended, PAD, chosen)
        rules.say(previous)
        written.append(previous)
        has_ended |= previous == END
        if bool(has_ended.all()):
            break
    return [unpadded(row) for row in torch.stack(written, dim=1).tolist()]


@torch.inference_mode()
def beam(
    network: CaptionNetwork,
    visual: torch.Tensor,
    places: torch.Tensor,
    masks: WordMasks | None,
    width: int = 4,
    length_power: float = 0.7,
) -> Words:
    """The best of `width` names per row by log-likelihood over length ** `length_power`."""
    count, size = len(visual), network.sizes.vocabulary
    rows = torch.arange(count, device=visual.device).repeat_interleave(width)
    memory, cache, rules = network.memory(visual, places)[rows], new_cache(), _Rules(masks, places[rows], network)
    tokens = torch.full((count * width, 1), BEGIN, device=visual.device)
    scores = torch.full((count, width), -torch.inf, device=visual.device)
    scores[:, 0] = 0.0  # all beams begin alike: only one of them may go on
    has_ended = torch.zeros(count * width, dtype=torch.bool, device=visual.device)
    for step in range(network.sizes.max_tokens):
        logits = network.tell(network.read(tokens[:, -1:], cache, step), memory, cache)[:, 0]
        open_to = rules.open_to(tokens[:, -1], step)
        open_to[has_ended] = False
        open_to[has_ended, PAD] = True  # an ended name goes on as it is, at no cost
        gains = torch.log_softmax(logits.masked_fill(~open_to, -torch.inf), dim=1).view(count, width, size)
        best = (scores[:, :, None] + gains).view(count, -1).topk(width, dim=1)
        scores, parents = best.values, best.indices // size
        kept = (parents + torch.arange(count, device=visual.device)[:, None] * width).flatten()
        said = (best.indices % size).flatten()
        keep_rows(cache, kept)
        rules.keep(kept)
        rules.say(said)
        tokens = torch.cat([tokens[kept], said[:, None]], dim=1)
        has_ended = has_ended[kept] | (said == END)
        if bool(has_ended.all()):
            break
    lengths = (tokens > END).sum(dim=1).clamp(min=1).view(count, width)
    winners = (scores / lengths**length_power).argmax(dim=1)
    return [unpadded(row[winner]) for row, winner in zip(tokens.view(count, width, -1).tolist(), winners, strict=True)]
