"""`python -m train.captions`: train a captioner on a bundle's frozen backbone, and write the bundle with it."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from model.bundle import load_bundle
from model.nets.cores import available_cores
from train.captions.caption_loop import CaptionOptions
from train.captions.captions import write_captioner

Folder = click.Path(path_type=Path, file_okay=False)
DataFolder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(help=__doc__)
@click.option("--bundle", type=DataFolder, required=True, help="Trained bundle; its backbone and heads do not change.")
@click.option("--data", type=DataFolder, required=True, help="Catalogue: styles.csv with images*.zip or images/ID.jpg.")
@click.option("--out", type=Folder, required=True, help="Run folder: checkpoint, word statistics and the new bundle.")
@click.option("--epochs", type=int, default=CaptionOptions.epochs, show_default=True)
@click.option("--max-minutes", type=float, help="Time limit; the learning rate is annealed to fit it.")
@click.option(
    "--copies",
    type=int,
    default=2,
    show_default=True,
    help="Copies of each image: 1 original, 2 adds a mirrored one, more add augmented ones.",
)
@click.option(
    "--contrastive",
    type=float,
    default=CaptionOptions.contrastive,
    show_default=True,
    help="Weight of the contrastive loss; 0 disables it.",
)
@click.option("--width", type=int, default=CaptionOptions.width, show_default=True, help="Width of the decoder layers.")
@click.option("--seed", type=int, default=CaptionOptions.seed, show_default=True)
@click.option(
    "--cache",
    type=Folder,
    default=Path("data-cache"),
    show_default=True,
    help="Folder that caches decoded images and feature maps.",
)
@click.option("--resume", is_flag=True, help="Resume from the checkpoint in OUT.")
def main(
    bundle: Path,
    data: Path,
    out: Path,
    epochs: int,
    max_minutes: float | None,
    copies: int,
    contrastive: float,
    width: int,
    seed: int,
    cache: Path,
    resume: bool,
) -> None:
    torch.set_num_threads(available_cores())
    options = CaptionOptions(
        out, epochs=epochs, max_minutes=max_minutes, contrastive=contrastive, width=width, seed=seed
    )
    write_captioner(load_bundle(bundle), data, options, copies, cache, is_resumed=resume)


if __name__ == "__main__":
    main()
