"""`python -m train.companion`: join two trained bundles into one that answers with the mean of both.

The first keeps what only it can do: its feature map, on which a captioner is trained, the photo head and the in_domain
head. The second adds its probabilities. Its part of the mean and the calibration of the whole are fitted on val.

Where several are given for the second, of one lineage, it is the mean of their weights
(see `train.ensemble.model_soup`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import torch

from model.bundle import load_bundle
from model.nets.cores import available_cores
from train.captions.captions import save_with_captions
from train.data.options import Options
from train.ensemble.companion import fit_share, join, validation_splits
from train.ensemble.model_soup import greedy_soup
from train.evaluation.card import read_origin
from train.evaluation.domain_evaluator import PICTURES
from train.evaluation.tables import format_report
from train.export import measure_and_save
from train.heads.calibration import calibrate

ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)
ExistingFile = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(help=__doc__)
@click.option("--bundle", "first", type=ExistingFolder, required=True, help="The first; its captioner is kept.")
@click.option(
    "--companion",
    "seconds",
    type=ExistingFolder,
    required=True,
    multiple=True,
    help="The second, of the same taxonomy; repeated, the mean of their weights.",
)
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Catalogue, as in training.")
@click.option("--photos", type=ExistingFolder, help="People's own photos. May be left out.")
@click.option("--photo-labels", type=ExistingFile, help="Which values fit each label of the photos.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The new bundle's folder.")
@click.option("--version", default="0.0.0", show_default=True, help="The new bundle's version.")
@click.option("--pictures", type=int, default=PICTURES, show_default=True, help="Drawn pictures of each other kind.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Decoded pictures.")
@click.option("--origin", type=ExistingFile, help="Markdown for the card: where the data come from, and their limits.")
def main(
    first: Path,
    seconds: tuple[Path, ...],
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
    leader = load_bundle(first)
    val, own = validation_splits(leader, options, cache)
    others = [load_bundle(folder) for folder in seconds]
    try:
        second = greedy_soup(others, val) if len(others) > 1 else others[0]
        joined = dataclasses.replace(join(leader, second), version=version)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    calibrated = calibrate(fit_share(joined, val), val, own, options)
    for report in measure_and_save(calibrated, options, pictures, out, read_origin(origin)):
        print(format_report(report), end="\n\n")
    if leader.captioner:
        save_with_captions(load_bundle(out), leader.captioner, data, out, cache)


if __name__ == "__main__":
    main()
