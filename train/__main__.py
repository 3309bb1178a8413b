"""`python -m train`: train a network on a catalogue and customer photos, calibrate and evaluate it, write a bundle.

By default it starts from the shipped bundle: new heads are fitted on its frozen backbones, which takes seconds for a
few hundred rows; larger tables are fine-tuned afterwards, and the better of the two is kept. With photos or teachers
the whole network is trained from the start's weights.

Use `torchrun --nproc-per-node N -m train …` to train with several processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

from model.bundle import SHIPPED, BundleError, load_bundle
from model.nets.cores import available_cores
from train.data.config import read_config, table_settings
from train.data.dataset import load_dataset
from train.data.options import Options
from train.engine.allocator import keep_freed_memory
from train.engine.checkpoint import load_average, load_options
from train.engine.loop import train
from train.engine.processes import Processes, join_processes
from train.evaluation.card import read_origin
from train.evaluation.tables import format_report
from train.export import export
from train.probe.run import train_heads
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
@click.option(
    "--start",
    type=DataSet,
    help="Bundle folder to start from, or initial weights (safetensors) of a bundle or a backbone.  [default: shipped]",
)
@click.option("--from-scratch", is_flag=True, help="Start from random weights instead of the shipped bundle.")
@click.option("--teacher", "teachers", type=ExistingFolder, multiple=True, help="Bundle to distil from; repeatable.")
@click.option("--pretrained", "is_pretrained", is_flag=True, help="Start from timm's pretrained weights (downloads).")
@click.option(
    "--architecture",
    default=Options.architecture,
    help=f"timm model name of the backbone.  [default: the start's, else {Options.architecture}]",
)
@click.option(
    "--size",
    type=(int, int),
    default=Options.size,
    help=f"Input height and width.  [default: the start's, else {' '.join(map(str, Options.size))}]",
)
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
        options = read_options(context, out, columns, given)
    reports: list[dict[str, Any]] = []
    folder, identity, images = bundle or out / "bundle", (name, version), None if is_smoke else cache
    try:
        with join_processes() as processes:
            if not (resume or export_only) and has_frozen_start(options, processes):
                reports = train_heads(options, folder, identity, text, images)
            else:
                dataset = load_dataset(options, images)
                if export_only:
                    weights = load_average(out)
                else:
                    weights = train(options, dataset, processes, is_resumed=resume).cpu().state_dict()
                if processes.is_first:
                    reports = export(options, dataset, weights, folder, identity, text)
    except (ValueError, FileNotFoundError, BundleError) as error:
        raise click.ClickException(str(error)) from error
    for report in reports:
        print(format_report(report), end="\n\n")


def read_options(context: click.Context, out: Path, columns: tuple[str, ...], given: dict[str, Any]) -> Options:
    """The run's settings; architecture and size default to those of the bundle that it starts from.

    That is the shipped bundle, unless other weights, another architecture or none at all were asked for.
    """
    given = dict(given)
    is_given = {
        name: context.get_parameter_source(name) is not ParameterSource.DEFAULT for name in ("architecture", "size")
    }
    has_other_start = given.pop("from_scratch") or given["is_pretrained"] or given["start"] or is_given["architecture"]
    start = given["start"] or (None if has_other_start else SHIPPED)
    if start is not None and start.is_dir():
        try:
            bundle = load_bundle(start)
        except BundleError as error:
            raise click.UsageError(f"--start {start}: {error}") from error
        if is_given["architecture"] and given["architecture"] != bundle.architecture:
            raise click.UsageError(
                f"the bundle in {start.name} is a {bundle.architecture}, not a {given['architecture']}; "
                "leave --architecture out, or --start"
            )
        given |= {"architecture": bundle.architecture} | ({} if is_given["size"] else {"size": bundle.size})
    return Options(out=out, **(given | {"start": start}), **table_settings(context, columns))


def has_frozen_start(options: Options, processes: Processes) -> bool:
    """Whether the run fits heads on a bundle's backbones: photos and teachers need a network that learns."""
    is_bundle = options.start is not None and options.start.is_dir()
    return is_bundle and not options.photos and not options.teachers and processes.count == 1


if __name__ == "__main__":
    main()
