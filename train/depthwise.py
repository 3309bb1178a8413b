"""`python -m train.depthwise`: the time of our depthwise weight gradient beside the library's."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from train.engine.depthwise import weight_gradient


def main() -> None:
    """Print both gradients' times at the maps of a 96x72 and a 128x96 input."""
    for channels, height, width in ((40, 24, 18), (80, 12, 9), (160, 6, 4), (320, 3, 2), (40, 32, 24), (80, 16, 12)):
        x, gradient = (
            torch.randn(152, channels, height, width, dtype=torch.bfloat16).contiguous(
                memory_format=torch.channels_last
            )
            for _ in range(2)
        )
        weight = torch.randn(channels, 1, 7, 7, dtype=torch.bfloat16)

        def library() -> torch.Tensor:
            return torch.nn.grad.conv2d_weight(x, weight.shape, gradient, padding=3, groups=channels)  # noqa: B023

        def ours() -> torch.Tensor:
            return weight_gradient(x, gradient, 7)  # noqa: B023

        print(f"{channels} x {height} x {width}: {_seconds(library) / _seconds(ours):.1f} times faster")


def _seconds(function: Callable[[], torch.Tensor]) -> float:
    function()
    began = time.perf_counter()
    for _ in range(5):
        function()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
