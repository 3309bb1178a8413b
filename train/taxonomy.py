"""`python -m train.taxonomy`: build a taxonomy file from a table's training rows, to review and train with."""

from __future__ import annotations

from pathlib import Path

import click

from train.data.catalogue import count_taxonomy, read_catalogue
from train.data.config import columns_from


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), required=True, help="Catalogue folder or CSV file."
)
@click.option("--attributes", required=True, help="Columns to predict, comma-separated, e.g. category,material.")
@click.option("--tree", default="", help="Levels of the tree, deepest (an attribute) first, e.g. category,department.")
@click.option("--column", "columns", multiple=True, help="Map a field to a column, e.g. image=photo; repeatable.")
@click.option("--version", default="1", show_default=True, help="Version of the taxonomy.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write.")
def main(data: Path, attributes: str, tree: str, columns: tuple[str, ...], version: str, out: Path) -> None:
    heads, levels = attributes.split(","), [level for level in tree.split(",") if level]
    try:
        items = read_catalogue(data, dict.fromkeys([*heads, *levels]), columns_from(columns))
        taxonomy = count_taxonomy([item for item in items if item.split == "train"], version, heads, levels)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    taxonomy.save(out)
    for name, values in taxonomy.values.items():
        print(f"{name}: {len(values)} values")


if __name__ == "__main__":
    main()
