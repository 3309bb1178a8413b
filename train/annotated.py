"""Adds heads for customer photos to a bundle: `python -m train.annotated --bundle B --data D --photos P --out O`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import torch

from model.bundle import load_bundle
from model.nets.cores import available_cores
from train.captions.captions import save_with_captions
from train.data.dataset import load_photo_split
from train.data.options import Options
from train.data.photos import read_photos
from train.evaluation.card import read_origin
from train.evaluation.domain_evaluator import PICTURES
from train.evaluation.inference import compute_logits
from train.evaluation.tables import format_report
from train.export import measure_and_save
from train.heads.calibration import labelled_photos, with_own_photo_factors
from train.probe.photo_heads import with_photo_heads

ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.option("--bundle", "folder", type=ExistingFolder, help="Bundle to start from; the shipped one if unset.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Catalogue, to measure on.")
@click.option("--photos", type=ExistingFolder, required=True, help="Folder of customer photos.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the new bundle."
)
@click.option("--version", required=True, help="Version of the new bundle.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Folder that caches decoded images.")
@click.option(
    "--origin", type=click.Path(path_type=Path, exists=True), help="Markdown for the model card: origin of the data."
)
def main(
    folder: Path | None, data: Path, photos: Path, out: Path, version: str, cache: Path | None, origin: Path | None
) -> None:
    """Fit heads for customer photos on labels given by eye, and calibrate them; all else stays as it is."""
    torch.set_num_threads(available_cores())
    bundle = load_bundle(folder)
    rows = read_photos(photos)
    train, val = (
        load_photo_split(photos, rows, split, bundle.taxonomy, bundle.size, cache) for split in ("train", "val")
    )
    try:
        fitted, held = with_photo_heads(bundle, train)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    logits = compute_logits(fitted.network(), val.pixels, fitted.mean, fitted.std)
    others = {name: labelled_photos(train, name, rows) for name, rows in held.items()}
    fitted = dataclasses.replace(with_own_photo_factors(fitted, val, logits, others), version=version, captioner=None)
    for report in measure_and_save(
        fitted, Options(out=out, data=data, photos=photos), PICTURES, out, read_origin(origin)
    ):
        print(format_report(report), end="\n\n")
    if bundle.captioner:
        save_with_captions(load_bundle(out), bundle.captioner, data, out, cache)


if __name__ == "__main__":
    main()
