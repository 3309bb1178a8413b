"""The attribute network: a timm backbone with one linear head per attribute, and an optional companion network.

Training adds auxiliary heads for the derived levels, which improve the features. Bundles do not contain them, because
scores of subCategory and masterCategory are sums over articleType.

Networks trained from different initial weights make different errors. So a companion with a backbone of its own may get
the same input; the answer is the weighted average of both networks' probabilities. Feature map, photo head and
in_domain head are the first network's.

Attributes may have a second head for customer photos, whose light and backgrounds differ. It answers images that are
more likely a photo than not, by the photo head's estimate, and catalogue images keep the answers of the first head.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import timm
import torch
from torch import nn

from model.nets.domain import DomainHead, domain_features

DOMAIN = "in_domain"
"""Key of the in_domain logits, N; an image shows a product if its logit is at least 0."""

PHOTO_HEAD = "is_photo"
"""Name of the photo head, with one logit: customer photo (positive) or catalogue image."""


PHOTO_PREFIX = "photo_heads."
"""Prefix of the weights of heads for customer photos, and of their logits before the average."""


class AttributeNetwork(nn.Module):
    """Images to logits per attribute.

    `outputs` maps each head to its number of values. `features` is the width of the backbone's pooled features.
    `domain_inputs` is the number of inputs of the in_domain head; with 0 there is none. `companion` is the timm model
    name of the second backbone ("" for none), `companion_share` its weight in the average, 0 to 1. `photo_heads` are
    the attributes with a second head for customer photos.
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
        photo_heads: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.backbone: Any = timm.create_model(
            architecture, num_classes=0, pretrained=is_pretrained, drop_path_rate=drop_path
        )
        self.features = int(cast(Any, self.backbone).num_features)
        self.heads = nn.ModuleDict({name: nn.Linear(self.features, count) for name, count in outputs.items()})
        self.photo_heads = nn.ModuleDict({name: nn.Linear(self.features, outputs[name]) for name in photo_heads})
        self.domain = DomainHead(domain_inputs) if domain_inputs else None
        attributes = {name: count for name, count in outputs.items() if name != PHOTO_HEAD}
        self.companion = AttributeNetwork(companion, attributes, photo_heads=photo_heads) if companion else None
        self.companion_share = companion_share

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        """The backbone's last feature map, N x features x h x w; the captioner's input."""
        return cast(torch.Tensor, self.backbone.forward_features(images))

    def pool(self, feature_map: torch.Tensor) -> torch.Tensor:
        """Pooled and normalised features, N x features."""
        return cast(torch.Tensor, self.backbone.forward_head(feature_map))

    def encode(self, images: torch.Tensor, *, has_maps: bool = False) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The last feature map, and the feature maps of all stages if there is an in_domain head or `has_maps`."""
        if self.domain is None and not has_maps:
            return self.feature_map(images), []
        return cast(tuple[torch.Tensor, list[torch.Tensor]], self.backbone.forward_intermediates(images))

    def head_logits(self, feature_map: torch.Tensor, maps: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """This backbone's logits per head, N x values each, and the in_domain logits, N, if there is such a head.

        Those of the heads for photos are separate; their names have the prefix `photo_heads.`.
        """
        pooled = self.pool(feature_map)
        logits: dict[str, torch.Tensor] = {name: head(pooled) for name, head in self.heads.items()}
        logits |= {PHOTO_PREFIX + name: head(pooled) for name, head in self.photo_heads.items()}
        if self.domain is not None:
            logits[DOMAIN] = self.domain(domain_features(pooled, maps))
        return logits

    def forward_with_features(self, images: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Logits per head, averaged with the companion's, and the last feature map.

        Where the image is a photo, attributes with a head for photos have its logits.

        `images` is N x 3 x H x W, normalised.
        """
        feature_map, maps = self.encode(images)
        logits = self.head_logits(feature_map, maps)
        if self.companion is not None:
            for name, others in self.companion.head_logits(*self.companion.encode(images)).items():
                logits[name] = mix_logits(logits[name], others, self.companion_share)
        for name in self.photo_heads:
            logits[name] = torch.where(logits[PHOTO_HEAD] > 0, logits.pop(PHOTO_PREFIX + name), logits[name])
        return logits, feature_map

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """The logits of `forward_with_features`."""
        return self.forward_with_features(images)[0]


def mix_logits(logits: torch.Tensor, others: torch.Tensor, share: float) -> torch.Tensor:
    """Logits whose softmax is the weighted average of both softmaxes, N x values; `share` is the weight of `others`."""
    mean = (1 - share) * logits.float().softmax(dim=1) + share * others.float().softmax(dim=1)
    return mean.clamp(min=1e-12).log()
