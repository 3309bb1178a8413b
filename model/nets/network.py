"""The network: a timm backbone and one linear head per attribute, and perhaps a companion that answers with it.

The heads come from the taxonomy. Training adds auxiliary heads for the derived levels (they help the features);
a bundle does not hold those, because subCategory and masterCategory are summed up from articleType when answering.

Networks that learnt from different beginnings are wrong about different pictures. So a second, the companion, may look
at the same input with a backbone of its own, and what is answered is the weighted mean of both's probabilities.
Everything else, the feature map, the photo head and the domain head, is the first one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import timm
import torch
from torch import nn

from model.nets.domain import DomainHead, domain_features

DOMAIN = "in_domain"
"""The logit that says whether a picture shows a product at all, N; above 0 it does."""

PHOTO_HEAD = "is_photo"
"""One more served head, one logit: whether a picture looks like a person's own photo rather than a catalogue's."""


class AttributeNetwork(nn.Module):
    """Pictures in, one row of logits per attribute out.

    `outputs` maps an attribute to its number of values. The backbone's pooled features are N x `features`.
    `domain_inputs` is the width of the domain head's input; 0: there is none, and every picture counts as a product.
    `companion` is timm's name of the second backbone ("": none), `companion_share` its part of the mean, 0 to 1.
    """

    def __init__(
        self,
        architecture: str,
        outputs: Mapping[str, int],
        *,
        drop_path: float = 0.0,
        is_pretrained: bool = False,
        domain_inputs: int = 0,
        companion: str = "",
        companion_share: float = 0.5,
    ) -> None:
        super().__init__()
        self.backbone: Any = timm.create_model(
            architecture, num_classes=0, pretrained=is_pretrained, drop_path_rate=drop_path
        )
        self.features = int(cast(Any, self.backbone).num_features)
        self.heads = nn.ModuleDict({name: nn.Linear(self.features, count) for name, count in outputs.items()})
        self.domain = DomainHead(domain_inputs) if domain_inputs else None
        asked = {name: count for name, count in outputs.items() if name != PHOTO_HEAD}
        self.companion = AttributeNetwork(companion, asked) if companion else None
        self.companion_share = companion_share

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        """The last feature map, N x features x h x w: what a captioner attends to."""
        return cast(torch.Tensor, self.backbone.forward_features(images))

    def pool(self, feature_map: torch.Tensor) -> torch.Tensor:
        """Pooled and normalised features, N x features."""
        return cast(torch.Tensor, self.backbone.forward_head(feature_map))

    def encode(self, images: torch.Tensor, *, has_maps: bool = False) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The last feature map, and every stage's where the domain head (or the caller) needs them."""
        if self.domain is None and not has_maps:
            return self.feature_map(images), []
        return cast(tuple[torch.Tensor, list[torch.Tensor]], self.backbone.forward_intermediates(images))

    def head_logits(self, feature_map: torch.Tensor, maps: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """This backbone's logits per attribute, each N x values, and the domain's, N, where there is such a head."""
        pooled = self.pool(feature_map)
        logits: dict[str, torch.Tensor] = {name: head(pooled) for name, head in self.heads.items()}
        if self.domain is not None:
            logits[DOMAIN] = self.domain(domain_features(pooled, maps))
        return logits

    def forward_with_features(self, images: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """N x 3 x H x W (normalised) to logits as `read` gives them, with the companion's word, and the feature map."""
        feature_map, maps = self.encode(images)
        logits = self.head_logits(feature_map, maps)
        if self.companion is not None:
            for name, others in self.companion(images).items():
                logits[name] = mix_logits(logits[name], others, self.companion_share)
        return logits, feature_map

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """The logits alone."""
        return self.forward_with_features(images)[0]


def mix_logits(logits: torch.Tensor, others: torch.Tensor, share: float) -> torch.Tensor:
    """Logits whose softmax is the mean of both's, N x values each; `share` is the others' part of it."""
    mean = (1 - share) * logits.float().softmax(dim=1) + share * others.float().softmax(dim=1)
    return mean.clamp(min=1e-12).log()
