"""The network: a timm backbone and one linear head per attribute.

The heads come from the taxonomy. Training adds auxiliary heads for the derived levels (they help the features);
a bundle does not hold those, because subCategory and masterCategory are summed up from articleType when answering.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import timm
import torch
from torch import nn

PHOTO_HEAD = "is_photo"
"""One more served head, one logit: whether a picture looks like a person's own photo rather than a catalogue's."""


class AttributeNetwork(nn.Module):
    """Pictures in, one row of logits per attribute out.

    `outputs` maps an attribute to its number of values. The backbone's pooled features are N x `features`.
    """

    def __init__(
        self, architecture: str, outputs: Mapping[str, int], *, drop_path: float = 0.0, is_pretrained: bool = False
    ) -> None:
        super().__init__()
        self.backbone: Any = timm.create_model(
            architecture, num_classes=0, pretrained=is_pretrained, drop_path_rate=drop_path
        )
        self.features = int(cast(Any, self.backbone).num_features)
        self.heads = nn.ModuleDict({name: nn.Linear(self.features, count) for name, count in outputs.items()})

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        """The last feature map, N x features x h x w: what a captioner attends to."""
        return cast(torch.Tensor, self.backbone.forward_features(images))

    def pool(self, feature_map: torch.Tensor) -> torch.Tensor:
        """Pooled and normalised features, N x features."""
        return cast(torch.Tensor, self.backbone.forward_head(feature_map))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """N x 3 x H x W (normalised) to logits per attribute, each N x values."""
        pooled = self.pool(self.feature_map(images))
        return {name: head(pooled) for name, head in self.heads.items()}
