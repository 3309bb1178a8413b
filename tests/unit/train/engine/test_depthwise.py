"""The depthwise convolution compared with PyTorch's: same result, gradients and parameter names."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from train.engine.depthwise import MAX_PLACES, DepthwiseConv, replace_large_depthwise


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (4, 9), (12, 9)])
@pytest.mark.parametrize("kernel", [3, 7])
def test_result_and_gradients_are_the_librarys(height: int, width: int, kernel: int) -> None:
    library = nn.Conv2d(6, 6, kernel, padding=kernel // 2, groups=6)
    ours = DepthwiseConv(6, 6, kernel, padding=kernel // 2, groups=6)
    ours.load_state_dict(library.state_dict())
    pictures = torch.randn(5, 6, height, width)
    gradients = []
    for module in (library, ours):
        x = pictures.clone().requires_grad_()
        result = module(x)
        (result * torch.arange(result.numel()).view_as(result)).sum().backward()
        gradients.append([result.detach(), x.grad, module.weight.grad, module.bias.grad])
    for expected, found in zip(*gradients, strict=True):
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_large_maps_are_left_to_the_library() -> None:
    conv = DepthwiseConv(2, 2, 7, padding=3, groups=2)
    side = int(MAX_PLACES**0.5)
    of_ours = type(conv(torch.randn(1, 2, side, side)).grad_fn).__name__
    of_library = type(conv(torch.randn(1, 2, side + 1, side + 1)).grad_fn).__name__
    assert (of_ours, of_library) == ("_DepthwiseBackward", "ConvolutionBackward0")


def test_replacement_changes_neither_names_nor_outputs() -> None:
    network = timm.create_model("convnext_atto_ols", num_classes=0, pretrained=False).eval()
    quick = copy.deepcopy(network)
    replace_large_depthwise(quick)
    assert list(quick.state_dict()) == list(network.state_dict())
    assert sum(isinstance(module, DepthwiseConv) for module in quick.modules()) == 12
    pictures = torch.randn(2, 3, 48, 36)
    assert torch.allclose(quick(pictures), network(pictures), atol=1e-4)


def test_small_kernels_stay_the_librarys() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 5, padding=2, groups=4))
    replace_large_depthwise(network)
    assert {type(module) for module in network} == {nn.Conv2d}
