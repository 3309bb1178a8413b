"""`python -m train.audit`: rows whose label is probably wrong, because the network and the row's twins say otherwise.

A row is suspected when the network's best guess is another value with a high score, and most of the pictures that look
most like it (by the backbone's features, other products only) carry that value, too. The list is for people to look
through: what it finds is a label that is wrong, a value whose meaning is not settled, or a hard picture.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from model.bundle import BundleError, load_bundle
from model.nets.cores import available_cores
from train.data.catalogue import read_catalogue
from train.data.config import columns_from
from train.data.images import ImageStore, load_pixels
from train.evaluation.audit import MIN_SCORE, audit, summary, write_csv


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path, file_okay=False), help="By default the shipped bundle.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="A folder, or a CSV file.")
@click.option("--split", default="train", show_default=True)
@click.option("--column", "columns", multiple=True, help="Which column says what, such as image=photo; repeatable.")
@click.option("--min-score", type=float, default=MIN_SCORE, show_default=True, help="How sure the network has to be.")
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), default=Path("data-cache"), show_default=True
)
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the whole list."
)
def main(
    bundle: Path | None,
    data: Path,
    split: str,
    columns: tuple[str, ...],
    min_score: float,
    cache: Path,
    csv_file: Path | None,
) -> None:
    torch.set_num_threads(available_cores())
    try:
        loaded = load_bundle(bundle)
        items = [
            item for item in read_catalogue(data, loaded.taxonomy.values, columns_from(columns)) if item.split == split
        ]
        store = ImageStore(data)
        items = [item for item in items if item.image in store]
        pixels = load_pixels(data, [item.image for item in items], loaded.size, cache)
    except (BundleError, ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    suspects = audit(loaded, items, pixels, min_score)
    print(summary(suspects, items))
    if csv_file:
        write_csv(csv_file, suspects)


if __name__ == "__main__":
    main()
