"""`python -m train`: read both sets, train one network on them, calibrate it, measure it, and write a bundle.

Several processes share one run under `torchrun --nproc-per-node N -m train …`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from model.nets.cores import available_cores
from train.data.config import read_config, table_settings
from train.data.dataset import load_dataset
from train.data.options import Options
from train.engine.allocator import keep_freed_memory
from train.engine.checkpoint import load_average, load_options
from train.engine.loop import train
from train.engine.processes import join_processes
from train.evaluation.card import read_origin
from train.evaluation.tables import format_report
from train.export import export
from train.synthetic import smoke

Folder = click.Path(path_type=Path, file_okay=False)
ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)
ExistingFile = click.Path(path_type=Path, exists=True, dir_okay=False)
DataSet = click.Path(path_type=Path, exists=True)


@click.command(help=__doc__)
@click.option(
    "--config", type=ExistingFile, is_eager=True, expose_value=False, callback=read_config, help="A TOML file of these."
)
@click.option(
    "--data", type=DataSet, help="Catalogue: a folder with styles.csv, or a CSV file; see docs/model/training.md."
)
@click.option("--photos", type=ExistingFolder, help="People's own photos: photos.csv with images.zip. May be left out.")
@click.option("--taxonomy", type=ExistingFile, help="The heads and their values.  [default: counted from the rows]")
@click.option("--photo-labels", type=ExistingFile, help="Which values fit each label of the photos, for a taxonomy.")
@click.option("--column", "columns", multiple=True, help="Which column says what, such as image=photo; repeatable.")
@click.option("--others", type=ExistingFolder, help="A folder of pictures that show no product, for in_domain.")
@click.option("--out", type=Folder, required=True, help="The run's folder: checkpoints, and by default the bundle.")
@click.option("--bundle", type=Folder, help="Where to write the bundle.  [default: OUT/bundle]")
@click.option("--name", default="fashion", show_default=True, help="The bundle's name.")
@click.option("--version", default="0.0.0", show_default=True, help="The bundle's version.")
@click.option("--start", type=ExistingFile, help="Weights to start from: a bundle's, or a backbone's alone.")
@click.option("--teacher", "teachers", type=ExistingFolder, multiple=True, help="A bundle to learn from; repeatable.")
@click.option("--pretrained", "is_pretrained", is_flag=True, help="Start from timm's published weights (downloads).")
@click.option("--architecture", default=Options.architecture, show_default=True, help="timm's name of the backbone.")
@click.option("--size", type=(int, int), default=Options.size, show_default=True, help="Input height and width.")
@click.option("--epochs", type=int, default=Options.epochs, show_default=True)
@click.option("--max-minutes", type=float, help="End by then, with the learning rate annealed in time.")
@click.option("--batch-size", type=int, default=Options.batch_size, show_default=True, help="Rows a step and process.")
@click.option("--learning-rate", type=float, default=Options.learning_rate, show_default=True)
@click.option("--seed", type=int, default=Options.seed, show_default=True)
@click.option("--cache", type=Folder, default=Path("data-cache"), show_default=True, help="Decoded pictures.")
@click.option("--origin", type=ExistingFile, help="Markdown for the card: where the data come from, and their limits.")
@click.option("--threads", type=int, help="PyTorch's.  [default: the cores we may use]")
@click.option("--resume", is_flag=True, help="Go on from OUT's checkpoint, with the settings of that run.")
@click.option("--export-only", is_flag=True, help="No training: write the bundle of OUT's checkpoint.")
@click.option("--smoke", "is_smoke", is_flag=True, help="A whole run on drawn data, in under a minute.")
@click.pass_context
def main(
    context: click.Context,
    /,
    out: Path,
    bundle: Path | None,
    name: str,
    version: str,
    cache: Path,
    threads: int | None,
    origin: Path | None,
    resume: bool,
    export_only: bool,
    is_smoke: bool,
    columns: tuple[str, ...],
    **given: Any,
) -> None:
    keep_freed_memory()
    torch.set_num_threads(1 if is_smoke else threads or available_cores())  # a tiny network gains nothing from a second
    text = smoke.ORIGIN if is_smoke else read_origin(origin)
    if is_smoke:
        options = smoke.smoke_options(out)
    elif resume or export_only:
        options = load_options(out)
    elif given["data"] is None:
        raise click.UsageError("--data is needed (or --smoke)")
    else:
        options = Options(out=out, **given, **table_settings(context, columns))
    dataset = load_dataset(options, None if is_smoke else cache)
    with join_processes() as processes:
        if export_only:
            weights = load_average(out)
        else:
            weights = train(options, dataset, processes, is_resumed=resume).cpu().state_dict()
    if processes.is_first:
        for report in export(options, dataset, weights, bundle or out / "bundle", (name, version), text):
            print(format_report(report), end="\n\n")


if __name__ == "__main__":
    main()
