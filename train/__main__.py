"""`python -m train`: train a network on a catalogue and customer photos, calibrate and evaluate it, write a bundle.

Use `torchrun --nproc-per-node N -m train …` to train with several processes.
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
    "--config",
    type=ExistingFile,
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="TOML file with defaults for these options; see docs/guides/attributes.md.",
)
@click.option(
    "--data", type=DataSet, help="Catalogue: folder with styles.csv, or CSV file; see docs/model/training.md."
)
@click.option(
    "--photos", type=ExistingFolder, help="Customer photos: folder with photos.csv and images.zip (optional)."
)
@click.option("--taxonomy", type=ExistingFile, help="Taxonomy file.  [default: counted from the training rows]")
@click.option("--photo-labels", type=ExistingFile, help="JSON file: the values that fit each photo label.")
@click.option("--column", "columns", multiple=True, help="Map a field to a column, e.g. image=photo; repeatable.")
@click.option("--others", type=ExistingFolder, help="Folder of images without a product, to train in_domain with.")
@click.option("--out", type=Folder, required=True, help="Run folder: checkpoints and, by default, the bundle.")
@click.option("--bundle", type=Folder, help="Folder to write the bundle to.  [default: OUT/bundle]")
@click.option("--name", default="fashion", show_default=True, help="Name of the bundle.")
@click.option("--version", default="0.0.0", show_default=True, help="Version of the bundle.")
@click.option("--start", type=ExistingFile, help="Initial weights (safetensors): of a bundle, or of a backbone alone.")
@click.option("--teacher", "teachers", type=ExistingFolder, multiple=True, help="Bundle to distil from; repeatable.")
@click.option("--pretrained", "is_pretrained", is_flag=True, help="Start from timm's pretrained weights (downloads).")
@click.option(
    "--architecture", default=Options.architecture, show_default=True, help="timm model name of the backbone."
)
@click.option("--size", type=(int, int), default=Options.size, show_default=True, help="Input height and width.")
@click.option("--epochs", type=int, default=Options.epochs, show_default=True)
@click.option("--max-minutes", type=float, help="Time limit; the learning rate is annealed to fit it.")
@click.option(
    "--batch-size", type=int, default=Options.batch_size, show_default=True, help="Catalogue rows per step and process."
)
@click.option("--learning-rate", type=float, default=Options.learning_rate, show_default=True)
@click.option("--seed", type=int, default=Options.seed, show_default=True)
@click.option(
    "--cache", type=Folder, default=Path("data-cache"), show_default=True, help="Folder that caches decoded images."
)
@click.option("--origin", type=ExistingFile, help="Markdown for the model card: origin and limits of the data.")
@click.option("--threads", type=int, help="PyTorch threads.  [default: available cores]")
@click.option("--resume", is_flag=True, help="Resume from the checkpoint in OUT, with that run's settings.")
@click.option("--export-only", is_flag=True, help="Write the bundle from the checkpoint in OUT without training.")
@click.option("--smoke", "is_smoke", is_flag=True, help="Complete run on generated data, in under a minute.")
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
    torch.set_num_threads(
        1 if is_smoke else threads or available_cores()
    )  # the smoke run's network is too small for two
    text = smoke.ORIGIN if is_smoke else read_origin(origin)
    if is_smoke:
        options = smoke.smoke_options(out)
    elif resume or export_only:
        options = load_options(out)
    elif given["data"] is None:
        raise click.UsageError("--data or --smoke is required")
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
