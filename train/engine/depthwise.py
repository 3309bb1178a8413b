"""A depthwise convolution whose weight gradient is quick on CPUs.

oneDNN's weight gradient of a 7x7 depthwise convolution takes a third to a half of a ConvNeXt's whole training step on
a CPU. The same sums as matrix products per channel (every output place against every input place, then the diagonals
that belong to one tap added up) take 5 to 40 times less on the small maps trained here
(`python -m train.depthwise`).
The matrices grow with the square of the map's area, so large maps keep the library's own gradient, and so do small
kernels, whose gradient the library has in less time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

MAX_PLACES = 1024
"""The largest map (height x width) worth the matrices."""

MIN_KERNEL = 7
"""The smallest kernel worth them."""


class DepthwiseConv(nn.Conv2d):
    """An `nn.Conv2d` of stride 1, odd square kernel and one channel a group; same parameters, same result."""

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
        of_x = functional.conv2d(gradient, weight.flip(2, 3), padding=kernel // 2, groups=len(weight))
        of_bias = gradient.sum((0, 2, 3)) if ctx.has_bias else None
        return of_x, weight_gradient(x, gradient, kernel).to(weight.dtype), of_bias


def weight_gradient(x: torch.Tensor, gradient: torch.Tensor, kernel: int) -> torch.Tensor:
    """Gradient of a depthwise kernel, channels x 1 x kernel x kernel in float32.

    `x` and `gradient` are N x channels x H x W. Every output place meets every input place in one matrix product per
    channel; tap (i, j) is the sum where the input lies (i, j) less half a kernel away from the output.
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
    """Replace the network's large depthwise convolutions in place; parameters keep their names and values."""
    for parent in list(network.modules()):
        for name, module in parent.named_children():
            if type(module) is nn.Conv2d and _is_large_depthwise(module):
                quick = DepthwiseConv(
                    module.in_channels,
                    module.out_channels,
                    module.kernel_size[0],
                    padding=module.padding,
                    groups=module.groups,
                    bias=module.bias is not None,
                )
                quick.load_state_dict(module.state_dict())
                setattr(parent, name, quick)


def _is_large_depthwise(module: nn.Conv2d) -> bool:
    side = module.kernel_size[0]
    plain = module.stride == module.dilation == (1, 1) and module.padding == (side // 2, side // 2)
    square = module.kernel_size == (side, side) and side % 2 == 1 and side >= MIN_KERNEL
    return plain and square and module.groups == module.in_channels == module.out_channels
