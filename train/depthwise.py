"""`python -m train.depthwise`: speed of our depthwise weight gradient relative to PyTorch's, on the CPU."""

from __future__ import annotations

import click

from train.engine.depthwise import gradient_speedup

MAPS = ((40, 24, 18), (80, 12, 9), (160, 6, 4), (320, 3, 2), (40, 32, 24), (80, 16, 12))
"""Channels, height and width of the feature maps of a 96x72 input, and of the first two of a 128x96 input."""


@click.command(help=__doc__)
def main() -> None:
    for channels, height, width in MAPS:
        print(f"{channels} x {height} x {width}: {gradient_speedup(channels, height, width):.1f} times faster")


if __name__ == "__main__":
    main()
