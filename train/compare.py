"""`python -m train.compare A B --data …`: what changes on a shop's own pictures if bundle B replaces bundle A.

Prints, per attribute, the shares answered, the precision where rows have a label, how often both answers agree, and the
pictures whose answer changes.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch

from model.bundle import BundleError, load_bundle
from model.nets.cores import available_cores
from train.checks.comparison import compare, format_comparison, read_pictures
from train.data.config import columns_from

BundleFolder = click.Path(path_type=Path, file_okay=False)


@click.command(help=__doc__)
@click.argument("first", metavar="A", type=BundleFolder)
@click.argument("second", metavar="B", type=BundleFolder)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Catalogue folder, CSV file, or folder of pictures.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="Map a field to a column, e.g. image=photo; repeatable.  [default: as B, else A, was trained]",
)
@click.option("--split", help="Split to compare on.  [default: all rows]")
@click.option("--examples", type=click.IntRange(min=0), default=5, show_default=True, help="Pictures per change.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Folder that caches decoded images.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the comparison to this file."
)
def main(
    first: Path,
    second: Path,
    data: Path,
    columns: tuple[str, ...],
    split: str | None,
    examples: int,
    cache: Path | None,
    json_file: Path | None,
) -> None:
    torch.set_num_threads(available_cores())
    try:
        one, other = load_bundle(first), load_bundle(second)
        named = columns_from(columns, other.training.get("columns") or one.training.get("columns"))
        attributes = list(dict.fromkeys([*one.taxonomy.values, *other.taxonomy.values]))
        items = read_pictures(data, attributes, named, split)
        report = compare(one, other, data, items, examples, cache)
    except (BundleError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    print(format_comparison(report))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
