"""`python -m train.companion`: join two trained bundles into one that answers with the mean of both.

The first keeps what only it can do: its feature map, on which a captioner is trained, the photo head and the in_domain
head. The second adds its probabilities. Its part of the mean and the calibration of the whole are fitted on val.

Where several are given for the second, of one lineage, it is the mean of their weights (see `train.soup`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import numpy as np
import torch

from model.bundle import Bundle, Companion, load_bundle
from model.cores import available_cores
from model.network import blended
from train.captions import save_with_captions
from train.card import origin_of
from train.catalogue import read_catalogue
from train.certainty import calibrate
from train.dataset import CatalogueSplit, PhotoSplit, load_catalogue_split, load_photo_split
from train.export import measure_and_save
from train.inference import logits_of
from train.judge_domain import PICTURES
from train.loss import mean_log_loss
from train.options import Options
from train.photos import read_photos
from train.soup import greedy_soup
from train.tables import text_of

SHARES = tuple(round(float(share), 2) for share in np.arange(0.1, 0.91, 0.05))
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
    val, own = splits_of(leader, options, cache)
    others = [load_bundle(folder) for folder in seconds]
    try:
        second = greedy_soup(others, val) if len(others) > 1 else others[0]
        joined = dataclasses.replace(join(leader, second), version=version)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    calibrated = calibrate(with_share(joined, val), val, own, options)
    for report in measure_and_save(calibrated, options, pictures, out, origin_of(origin)):
        print(text_of(report), end="\n\n")
    if leader.captioner:
        save_with_captions(load_bundle(out), leader.captioner, data, out, cache)


def join(first: Bundle, second: Bundle) -> Bundle:
    """The first with the second as its companion, each half of the mean, and neither captioner nor figures.

    Raises ValueError where they know different values or see differently normalised pictures.
    """
    if first.taxonomy.attributes != second.taxonomy.attributes:
        raise ValueError("the two bundles know different taxonomies, so their answers cannot be joined")
    if (first.mean, first.std) != (second.mean, second.std):
        raise ValueError("the two bundles normalise pictures differently, so they cannot share an input")
    if first.companion or second.companion:
        raise ValueError("one of the two bundles has a companion already; join two that have none")
    own_heads = tuple(f"heads.{name}." for name in second.taxonomy.attributes)
    weights = {
        f"companion.{name}": tensor
        for name, tensor in second.weights.items()
        if name.startswith(("backbone.", *own_heads))
    }
    return dataclasses.replace(
        first,
        weights=first.weights | weights,
        companion=Companion(second.architecture, 0.5),
        captioner=None,
        metrics={},
    )


def splits_of(bundle: Bundle, options: Options, cache: Path | None) -> tuple[CatalogueSplit, PhotoSplit | None]:
    """The validation splits at the bundle's size."""
    items = read_catalogue(options.data, bundle.taxonomy.values, options.columns)
    val = load_catalogue_split(options.data, items, "val", bundle.taxonomy, bundle.size, cache)
    if options.photos is None:
        return val, None
    rows, labels = read_photos(options.photos), options.photo_labels
    return val, load_photo_split(options.photos, rows, "val", bundle.taxonomy, bundle.size, cache, labels)


def with_share(bundle: Bundle, val: CatalogueSplit) -> Bundle:
    """The bundle with the companion's share of least log loss on the catalogue, the mean over heads.

    Own photos have no say: where one of the two hardly knows them, they would leave it none on the catalogue either.
    """
    network, names, companion = bundle.network(), tuple(bundle.taxonomy.attributes), bundle.companion
    other, network.companion = network.companion, None
    if other is None or companion is None:
        raise ValueError(f"{bundle.name} has no companion")
    ours, theirs = (
        {name: torch.from_numpy(rows) for name, rows in logits_of(each, val.pixels, bundle.mean, bundle.std).items()}
        for each in (network, other)
    )

    def loss(share: float) -> float:
        return mean_log_loss({name: blended(ours[name], theirs[name], share) for name in names}, val.targets)

    share = min(SHARES, key=loss)
    print(f"the companion's share: {share:.2f}, log loss {loss(share):.4f}", flush=True)
    return dataclasses.replace(bundle, companion=dataclasses.replace(companion, share=share))


if __name__ == "__main__":
    main()
