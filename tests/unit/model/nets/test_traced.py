"""Tracing: same outputs for any batch size, and no trace if the outputs would differ."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.nets.network import AttributeNetwork
from model.nets.traced import (
    FeatureNetwork,
    NetworkOutput,
    TracedNetwork,
    trace_network,
)

SIZE = (64, 48)
CPU = torch.device("cpu")


def pictures(count: int) -> torch.Tensor:
    drawn = torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(count))
    return drawn.contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def network() -> AttributeNetwork:
    torch.manual_seed(0)
    made = AttributeNetwork(
        "convnext_atto_ols", {"gender": 3, "is_photo": 1}, domain_inputs=1520, companion="tf_efficientnet_lite0"
    )
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_a_trace_has_the_same_outputs_for_any_batch_size(network: AttributeNetwork, count: int) -> None:
    found = trace_network(network, SIZE, CPU)
    assert isinstance(found, TracedNetwork)
    with torch.inference_mode():
        logits, feature_map = found.forward_with_features(pictures(count))
        expected, expected_map = network.forward_with_features(pictures(count))
    assert list(logits) == list(expected)
    assert torch.allclose(feature_map, expected_map, atol=1e-5)
    for name, rows in expected.items():
        assert torch.allclose(logits[name], rows, atol=1e-5), name


class Counting(nn.Module):
    """Its output depends on the batch size, which a trace fixes."""

    def forward_with_features(self, images: torch.Tensor) -> NetworkOutput:
        return {"gender": images.mean(dim=(2, 3)) + len(images)}, images


class Rigid(nn.Module):
    """Once traced, it accepts no other batch size."""

    def forward_with_features(self, images: torch.Tensor) -> NetworkOutput:
        return {"gender": images.reshape(len(images), -1)}, images


class Choosing(nn.Module):
    """Its output has a type that cannot be traced."""

    def forward_with_features(self, images: torch.Tensor) -> NetworkOutput:
        return {"gender": images, "name": "a text"}, images  # type: ignore[dict-item]


@pytest.mark.parametrize("network", [Counting(), Rigid(), Choosing()])
def test_a_network_that_a_trace_would_change_stays_as_it_is(network: FeatureNetwork) -> None:
    assert trace_network(network, SIZE, CPU) is network
