"""The captioner's network: CoCa (Yu et al., arXiv 2205.01917) at the size of a small backbone.

Attentional pooling turns the backbone's last feature map into a few visual tokens. Unimodal layers encode the words;
cross-attention layers attend to visual tokens and predict the next word. The answered attributes are further tokens of
that memory, so that the words match the answers. Image and text embeddings share a space: the image's is pooled from
the visual tokens, the text's is the unimodal state at the end token. The layers are GPT-2 blocks of `transformers`,
with their key-value caches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers import GPT2Config
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from model.captions.caption_parts import (
    BEGIN,
    END,
    PAD,
    CaptionerParts,
    CaptionSizes,
)


class AttentionPool(nn.Module):
    """Attention pooling with learned queries: N x places x width to N x queries x width."""

    def __init__(self, width: int, heads: int, queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        queries = self.queries.expand(len(places), -1, -1)
        attended: torch.Tensor = self.attention(queries, places, places, need_weights=False)[0]
        pooled: torch.Tensor = self.norm(attended)
        return pooled


class CaptionNetwork(nn.Module):
    """Feature maps, answers and words to next-word logits and embeddings."""

    def __init__(self, sizes: CaptionSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.into = nn.Linear(sizes.features, width)
        self.into_norm = nn.LayerNorm(width)
        self.place = nn.Parameter(torch.randn(sizes.places, width) * 0.02)
        self.visual_pool = AttentionPool(width, sizes.heads, sizes.queries)
        self.image_pool = AttentionPool(width, sizes.heads, 1)
        # The last row of each table is for an unanswered attribute (index -1).
        self.answers = nn.ModuleList([nn.Embedding(count + 1, width) for count in sizes.values])
        self.words = nn.Embedding(sizes.vocabulary, width)
        self.positions = nn.Embedding(sizes.max_tokens + 2, width)
        self.unimodal = nn.ModuleList([_block(sizes, layer, False) for layer in range(sizes.unimodal_layers)])
        self.cross = nn.ModuleList(
            [_block(sizes, sizes.unimodal_layers + layer, True) for layer in range(sizes.cross_layers)]
        )
        self.text_norm, self.last_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.image_out = nn.Linear(width, sizes.embedding, bias=False)
        self.text_out = nn.Linear(width, sizes.embedding, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.66))  # exp(2.66) = 1 / .07, as in CLIP
        self.dropout = nn.Dropout(sizes.dropout)
        # Negative log share of each detail among an article type's names; see `train.captions.caption_rows.rarity_of`.
        self.rarity: torch.Tensor
        self.register_buffer("rarity", torch.zeros(sizes.values[-1] + 1, sizes.vocabulary))
        for table in (self.words, self.positions, *self.answers):
            nn.init.normal_(table.weight, std=0.02)

    def encode_image(self, feature_map: torch.Tensor) -> torch.Tensor:
        """Feature maps, N x features x h x w, to visual tokens, N x queries x width."""
        rows = feature_map.flatten(2).transpose(1, 2)
        normed: torch.Tensor = self.into_norm(self.into(rows)) + self.place
        visual: torch.Tensor = self.visual_pool(self.dropout(normed))
        return visual

    def memory(self, visual: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Keys and values of cross-attention: visual tokens, and one token per attribute.

        `places` are the answers' indices, N x attributes, -1 if unanswered; returns N x (queries + attributes) x width.
        """
        answers = [
            table(torch.where(places[:, at] < 0, count, places[:, at]))
            for at, (table, count) in enumerate(zip(self.answers, self.sizes.values, strict=True))
        ]
        return torch.cat([visual, torch.stack(answers, dim=1)], dim=1)

    def embed_image(self, visual: torch.Tensor) -> torch.Tensor:
        """Image embeddings, N x embedding, of L2 norm 1."""
        return functional.normalize(self.image_out(self.image_pool(visual)[:, 0]).float(), dim=-1)

    def encode_text(self, words: torch.Tensor, cache: EncoderDecoderCache | None = None, seen: int = 0) -> torch.Tensor:
        """Unimodal states, N x words x width, of N x words tokens that follow `seen` tokens in the cache."""
        at = torch.arange(seen, seen + words.shape[1], device=words.device)
        states: torch.Tensor = self.dropout(self.words(words) + self.positions(at))
        for block in self.unimodal:
            states = block(states, past_key_values=cache, use_cache=cache is not None)
        return states

    def embed_text(self, states: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Text embeddings, N x embedding, of L2 norm 1, from the state at each row's END; later tokens are ignored."""
        ends = (words == END).int().argmax(dim=1)
        picked = self.text_norm(states[torch.arange(len(words), device=words.device), ends])
        return functional.normalize(self.text_out(picked).float(), dim=-1)

    def decode(
        self, states: torch.Tensor, memory: torch.Tensor, cache: EncoderDecoderCache | None = None
    ) -> torch.Tensor:
        """Logits of the next word after each unimodal state, N x words x vocabulary."""
        for block in self.cross:
            states = block(states, past_key_values=cache, encoder_hidden_states=memory, use_cache=cache is not None)
        logits: torch.Tensor = functional.linear(self.last_norm(states), self.words.weight)
        return logits


def load_network(parts: CaptionerParts) -> CaptionNetwork:
    """A bundle's caption network in evaluation mode. Raises RuntimeError if the weights do not fit the sizes."""
    network = CaptionNetwork(parts.sizes)
    network.load_state_dict(parts.weights)
    return network.eval().requires_grad_(False)


def new_cache() -> EncoderDecoderCache:
    """An empty cache of one batch's keys and values, of the words so far and of the memory."""
    return EncoderDecoderCache(DynamicCache(), DynamicCache())


def select_rows(cache: EncoderDecoderCache, rows: torch.Tensor) -> None:
    """Keep only the given rows of the cache's batch, in the given order."""
    cache.batch_select_indices(rows)


def strip_control_tokens(tokens: Sequence[int]) -> list[int]:
    """A row's tokens without PAD, BEGIN and END."""
    return [token for token in tokens if token not in (PAD, BEGIN, END)]


def _block(sizes: CaptionSizes, layer: int, is_cross: bool) -> GPT2Block:
    config = GPT2Config(
        n_embd=sizes.width,
        n_head=sizes.heads,
        n_layer=sizes.unimodal_layers + sizes.cross_layers,
        add_cross_attention=is_cross,
        activation_function="gelu",
        resid_pdrop=sizes.dropout,
        attn_pdrop=sizes.dropout,
    )
    config._attn_implementation = "sdpa"
    block = GPT2Block(config, layer)  # type: ignore[no-untyped-call]
    for name, weight in block.named_parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.02 if "c_proj" not in name else 0.02 / (2 * config.n_layer) ** 0.5)
    return block
