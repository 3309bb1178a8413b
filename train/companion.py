"""`python -m train.companion`: combine two trained bundles into one that averages their probabilities.

The first bundle keeps its feature map (on which a captioner is trained), its photo head and its in_domain head. The
second, the companion, contributes probabilities only. Its weight in the average and the calibration of the result are
fitted on the validation split.

Several companions must share a lineage (a common starting point); their weights are averaged into one.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from model.nets.cores import available_cores
from train.data.options import Options
from train.ensemble.companion import combine
from train.evaluation.card import read_origin
from train.evaluation.domain_evaluator import PICTURES
from train.evaluation.tables import format_report

Folder = click.Path(path_type=Path, file_okay=False)
ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)
ExistingFile = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(help=__doc__)
@click.option("--bundle", "first", type=ExistingFolder, required=True, help="First bundle; its captioner is kept.")
@click.option(
    "--companion",
    "companions",
    type=ExistingFolder,
    required=True,
    multiple=True,
    help="Companion bundle of the same taxonomy; repeat it to average the weights of several.",
)
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), required=True, help="Catalogue folder or CSV file."
)
@click.option("--photos", type=ExistingFolder, help="Folder of customer photos (optional).")
@click.option("--photo-labels", type=ExistingFile, help="JSON file: the values that fit each photo label.")
@click.option("--out", type=Folder, required=True, help="Folder of the new bundle.")
@click.option("--version", default="0.0.0", show_default=True, help="Version of the new bundle.")
@click.option(
    "--pictures", type=int, default=PICTURES, show_default=True, help="Generated non-product images per kind."
)
@click.option("--cache", type=Folder, help="Folder that caches decoded images.")
@click.option("--origin", type=ExistingFile, help="Markdown for the model card: origin and limits of the data.")
def main(
    first: Path,
    companions: tuple[Path, ...],
    data: Path,
    photos: Path | None,
    photo_labels: Path | None,
    out: Path,
    version: str,
    pictures: int,
    cache: Path | None,
    origin: Path | None,
) -> None:
    torch.set_num_threads(available_cores())
    options = Options(out=out, data=data, photos=photos, photo_labels=photo_labels)
    try:
        reports = combine(first, companions, options, version, pictures, read_origin(origin), cache)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    for report in reports:
        print(format_report(report), end="\n\n")


if __name__ == "__main__":
    main()
