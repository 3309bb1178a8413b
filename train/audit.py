"""`python -m train.audit`: list rows whose label is probably wrong.

A label is in doubt if the model confidently predicts another value, and most of the visually nearest images of other
products (by the backbone's features) carry that value too. Review the list by hand: an entry is a wrong label, a value
with an unclear definition, or a difficult image.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from model.bundle import BundleError, load_bundle
from model.nets.cores import available_cores
from train.data.config import columns_from
from train.evaluation.audit import MIN_SCORE, audit, load_rows, summary, write_csv


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path, file_okay=False), help="Bundle folder.  [default: shipped]")
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), required=True, help="Catalogue folder or CSV file."
)
@click.option("--split", default="train", show_default=True, help="Split to audit.")
@click.option("--column", "columns", multiple=True, help="Map a field to a column, e.g. image=photo; repeatable.")
@click.option(
    "--min-score", type=float, default=MIN_SCORE, show_default=True, help="Minimum score of the other value, 0..1."
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data-cache"),
    show_default=True,
    help="Folder that caches decoded images.",
)
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the complete list to this file."
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
        items, pixels = load_rows(loaded, data, split, columns_from(columns), cache)
    except (BundleError, ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    suspects = audit(loaded, items, pixels, min_score)
    print(summary(suspects, items))
    if csv_file:
        write_csv(csv_file, suspects)


if __name__ == "__main__":
    main()
