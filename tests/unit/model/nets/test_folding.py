"""Folding batch norms: same logits, fewer layers, and no folding if it would change the logits."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from model.nets.folding import TOLERANCE, fold, prepare_for_serving
from model.nets.network import AttributeNetwork

SIZE = (64, 48)


def network_with_statistics(architecture: str) -> AttributeNetwork:
    """A network with random batch norm statistics, so that folding has an effect."""
    torch.manual_seed(0)
    network = AttributeNetwork(architecture, {"gender": 3})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval().requires_grad_(False)


def test_a_folded_network_answers_the_same_without_its_norms() -> None:
    network = network_with_statistics("tf_efficientnet_lite0")
    folded = prepare_for_serving(network, SIZE)
    pictures = torch.rand(3, 3, *SIZE)
    assert torch.allclose(folded(pictures)["gender"], network(pictures)["gender"], rtol=0, atol=TOLERANCE)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


class Backwards(nn.Module):
    """Defines its convolution before its norm but calls them in reverse order."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        nn.init.normal_(self.norm.bias)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"gender": self.convolution(self.norm(images)).mean(dim=(2, 3))}


def test_a_network_that_folding_would_change_stays_as_it_is() -> None:
    network = cast(AttributeNetwork, Backwards().eval().requires_grad_(False))
    assert prepare_for_serving(network, SIZE) is network
    assert isinstance(network.norm, nn.BatchNorm2d)


def test_a_convnext_has_nothing_to_fold() -> None:
    assert fold(network_with_statistics("convnext_atto_ols")) == 0
