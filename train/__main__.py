"""`python -m train`: read both sets, train one network on them, calibrate it, and write a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from train.dataset import load_dataset
from train.loop import train
from train.options import Options


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--start", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), default=Path("data-cache"))
@click.option("--size", type=(int, int), default=(96, 72))
@click.option("--epochs", type=int, default=25)
@click.option("--max-minutes", type=float)
@click.option("--resume", is_flag=True)
def main(
    data: Path,
    photos: Path | None,
    out: Path,
    start: Path | None,
    cache: Path,
    size: tuple[int, int],
    epochs: int,
    max_minutes: float | None,
    resume: bool,
) -> None:
    options = Options(out=out, start=start, size=size, epochs=epochs, max_minutes=max_minutes)
    train(options, load_dataset(data, photos, size, cache), is_resumed=resume)


if __name__ == "__main__":
    main()
