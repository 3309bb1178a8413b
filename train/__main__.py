"""`python -m train`: read both sets, train one network on them, calibrate it, measure it, and write a bundle."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from model.cores import available_cores
from train import card, smoke
from train.checkpoint import load_average, load_options
from train.dataset import load_dataset
from train.export import export
from train.loop import train
from train.options import Options
from train.tables import text_of

Folder = click.Path(path_type=Path, file_okay=False)
DataFolder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(help=__doc__)
@click.option("--data", type=DataFolder, help="Catalogue: styles.csv with images*.zip or images/ID.jpg.")
@click.option("--photos", type=DataFolder, help="People's own photos: photos.csv with images.zip. May be left out.")
@click.option("--out", type=Folder, required=True, help="The run's folder: checkpoints, and by default the bundle.")
@click.option("--bundle", type=Folder, help="Where to write the bundle.  [default: OUT/bundle]")
@click.option("--name", default="fashion", show_default=True, help="The bundle's name.")
@click.option("--version", default="0.0.0", show_default=True, help="The bundle's version.")
@click.option(
    "--start", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Backbone weights to start from."
)
@click.option("--pretrained", is_flag=True, help="Start from timm's published weights (downloads them).")
@click.option("--architecture", default=Options.architecture, show_default=True, help="timm's name of the backbone.")
@click.option("--size", type=(int, int), default=Options.size, show_default=True, help="Input height and width.")
@click.option("--epochs", type=int, default=Options.epochs, show_default=True)
@click.option("--max-minutes", type=float, help="End by then, with the learning rate annealed in time.")
@click.option("--batch-size", type=int, default=Options.batch_size, show_default=True)
@click.option("--learning-rate", type=float, default=Options.learning_rate, show_default=True)
@click.option("--seed", type=int, default=Options.seed, show_default=True)
@click.option("--cache", type=Folder, default=Path("data-cache"), show_default=True, help="Decoded pictures.")
@click.option(
    "--origin", type=click.Path(path_type=Path, exists=True), default=card.ORIGIN, help="Markdown for the card."
)
@click.option("--resume", is_flag=True, help="Go on from OUT's checkpoint, with the settings of that run.")
@click.option("--export-only", is_flag=True, help="No training: write the bundle of OUT's checkpoint.")
@click.option("--smoke", "is_smoke", is_flag=True, help="A whole run on drawn data, in under a minute.")
def main(
    data: Path | None,
    photos: Path | None,
    out: Path,
    bundle: Path | None,
    name: str,
    version: str,
    start: Path | None,
    pretrained: bool,
    architecture: str,
    size: tuple[int, int],
    epochs: int,
    max_minutes: float | None,
    batch_size: int,
    learning_rate: float,
    seed: int,
    cache: Path,
    origin: Path,
    resume: bool,
    export_only: bool,
    is_smoke: bool,
) -> None:
    torch.set_num_threads(1 if is_smoke else available_cores())  # a tiny network gains nothing from a second
    text = origin.read_text(encoding="utf-8")
    if is_smoke:
        (data, photos), options, text = smoke.smoke_data(out / "drawn"), smoke.smoke_options(out), smoke.ORIGIN
    elif resume or export_only:
        options = load_options(out)
    else:
        options = Options(
            out=out,
            start=start,
            is_pretrained=pretrained,
            architecture=architecture,
            size=size,
            epochs=epochs,
            max_minutes=max_minutes,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
        )
    if data is None:
        raise click.UsageError("--data is needed (or --smoke)")
    dataset = load_dataset(data, photos, options.size, None if is_smoke else cache)
    weights = load_average(out) if export_only else train(options, dataset, is_resumed=resume).cpu().state_dict()
    sources = [(folder, split) for split in ("val", "test") for folder in (data, photos) if folder]
    for report in export(options, dataset, weights, bundle or out / "bundle", sources, (name, version), text):
        print(text_of(report), end="\n\n")


if __name__ == "__main__":
    main()
