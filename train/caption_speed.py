"""`python -m train.caption_speed`: what names cost beside the heads, per picture, at the served batch size."""

from __future__ import annotations

import itertools
from pathlib import Path

import click
import torch

from model.predictor import Predictor
from train.captions.caption_speed import ROUNDS, median_ms
from train.data.drawn import COLOURS, TYPES, draw


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path, file_okay=False), help="By default the shipped bundle.")
@click.option("--batch-size", type=int, default=16, show_default=True)
@click.option("--threads", type=int, help="By default as many as there are cores.")
def main(bundle: Path | None, batch_size: int, threads: int | None) -> None:
    predictors = [
        Predictor.load(bundle, device="cpu", threads=threads, caption_budget_ms=budget) for budget in (0, 60_000)
    ]
    looks = itertools.islice(itertools.cycle(itertools.product(TYPES, COLOURS)), batch_size)
    drawn = [draw(article, colour, (180, 240), seed) for seed, (article, colour) in enumerate(looks)]
    pictures = [predictors[0].preprocess(picture) for picture in drawn]
    heads, whole = (median_ms(lambda model=model: model.predict(pictures)) for model in predictors)  # type: ignore[misc]
    each, share = (whole - heads) / batch_size, (whole - heads) / heads
    rates = [1000 * batch_size / took for took in (heads, whole, whole - heads)]
    print(f"batch of {batch_size}, {torch.get_num_threads()} threads, medians of {ROUNDS}")
    print(f"heads with structured text: {heads / batch_size:.2f} ms/image, {rates[0]:.0f} images/s")
    print(f"heads with captions:        {whole / batch_size:.2f} ms/image, {rates[1]:.0f} images/s")
    print(f"captions alone: {each:.2f} ms/image, {rates[2]:.0f} images/s, {share:.2f} of the heads")


if __name__ == "__main__":
    main()
