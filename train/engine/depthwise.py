"""A depthwise convolution with a faster weight gradient on CPUs.

oneDNN's weight gradient of a 7x7 depthwise convolution takes a third to a half of a ConvNeXt's training step on a CPU.
Computed as one matrix product per channel (every output position with every input position) followed by a sum over the
diagonals of each kernel tap, it is 5 to 40 times faster on the small feature maps used here (`python -m
train.depthwise`).

The matrices grow with the square of the map's area, so large maps keep the library's gradient. So do small kernels,
for which the library is faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

MAX_PLACES = 1024
"""Largest map area (height x width) for which the matrix products are faster."""

MIN_KERNEL = 7
"""Smallest kernel for which they are."""


class DepthwiseConv(nn.Conv2d):
    """An `nn.Conv2d` with stride 1, an odd square kernel and one channel per group; same parameters and result."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] * x.shape[3] > MAX_PLACES or not torch.is_grad_enabled():
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        weight = self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        result: torch.Tensor = _Depthwise.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return result


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        kernel = weight.shape[-1]
        x_gradient = functional.conv2d(gradient, weight.flip(2, 3), padding=kernel // 2, groups=len(weight))
        bias_gradient = gradient.sum((0, 2, 3)) if ctx.has_bias else None
        return x_gradient, weight_gradient(x, gradient, kernel).to(weight.dtype), bias_gradient


def weight_gradient(x: torch.Tensor, gradient: torch.Tensor, kernel: int) -> torch.Tensor:
    """Gradient of the depthwise kernel, channels x 1 x kernel x kernel, float32.

    `x` and `gradient` are N x channels x H x W. One matrix product per channel pairs every output position with every
    input position; tap (i, j) is the sum over the pairs with offset (i, j) - kernel // 2.
    """
    count, channels, height, width = x.shape
    half = kernel // 2
    inputs = x.permute(1, 0, 2, 3).reshape(channels, count, height * width)
    outputs = gradient.permute(1, 0, 2, 3).reshape(channels, count, height * width)
    pairs = torch.bmm(outputs.transpose(1, 2), inputs).view(channels, height, width, height, width)
    taps = torch.zeros(channels, 1, kernel, kernel)
    for i in range(max(0, half - height + 1), min(kernel, half + height)):
        rows = pairs.diagonal(i - half, 1, 3).sum(dim=-1, dtype=torch.float32)  # channels x width x width
        for j in range(max(0, half - width + 1), min(kernel, half + width)):
            taps[:, 0, i, j] = rows.diagonal(j - half, 1, 2).sum(dim=-1)
    return taps


def replace_large_depthwise(network: nn.Module) -> None:
    """Replace large depthwise convolutions by `DepthwiseConv` in place; parameters keep their names and values."""
    for parent in list(network.modules()):
        for name, module in parent.named_children():
            if type(module) is nn.Conv2d and _is_large_depthwise(module):
                replacement = DepthwiseConv(
                    module.in_channels,
                    module.out_channels,
                    module.kernel_size[0],
                    padding=module.padding,
                    groups=module.groups,
                    bias=module.bias is not None,
                )
                replacement.load_state_dict(module.state_dict())
                setattr(parent, name, replacement)


def gradient_speedup(channels: int, height: int, width: int) -> float:
    """Time of the library's 7x7 weight gradient over ours, for 152 bfloat16 maps in channels-last memory."""
    x, gradient = (
        torch.randn(152, channels, height, width, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    weight = torch.randn(channels, 1, 7, 7, dtype=torch.bfloat16)
    library = _seconds(
        lambda: torch.nn.grad.conv2d_weight(x, weight.shape, gradient, padding=3, groups=channels)  # type: ignore[no-untyped-call]
    )
    return library / _seconds(lambda: weight_gradient(x, gradient, 7))


def _seconds(function: Callable[[], torch.Tensor]) -> float:
    """Seconds of five calls, after one that is not counted."""
    function()
    began = time.perf_counter()
    for _ in range(5):
        function()
    return time.perf_counter() - began


def _is_large_depthwise(module: nn.Conv2d) -> bool:
    side = module.kernel_size[0]
    is_plain = module.stride == module.dilation == (1, 1) and module.padding == (side // 2, side // 2)
    is_large = module.kernel_size == (side, side) and side % 2 == 1 and side >= MIN_KERNEL
    return is_plain and is_large and module.groups == module.in_channels == module.out_channels
