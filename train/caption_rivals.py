"""`python -m train.caption_rivals`: compare a captioner with its baselines, as a table with examples.

Baselines: structured text from the same answers, the name of the nearest training image (by the backbone's pooled
features), the same captioner with beam search, and bundles of ablation runs.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch

from model.bundle import BundleError
from model.nets.cores import available_cores
from train.captions.caption_rivals import compare, format_rivals

ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(help=__doc__)
@click.option("--bundle", type=ExistingFolder, required=True, help="Bundle with the captioner to compare.")
@click.option("--data", type=ExistingFolder, required=True, help="Catalogue folder.")
@click.option("--split", default="test", show_default=True, help="Split to measure on.")
@click.option("--ablation", "ablations", type=ExistingFolder, multiple=True, help="Bundle of an ablation; repeatable.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data-cache"),
    show_default=True,
    help="Folder that caches decoded images and feature maps.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the metrics to this file."
)
def main(
    bundle: Path, data: Path, split: str, ablations: tuple[Path, ...], cache: Path, json_file: Path | None
) -> None:
    torch.set_num_threads(available_cores())
    try:
        report, examples = compare(bundle, data, split, ablations, cache)
    except (BundleError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    print(format_rivals(report), examples, sep="\n\n")
    if json_file:
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
