"""`python -m train.evaluate`: evaluate a bundle on one split of a data set, as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch

from model.bundle import BundleError, load_bundle
from model.nets.cores import available_cores
from train.data.catalogue import count_training_values
from train.data.config import check_split, columns_from, columns_of_bundle
from train.evaluation.caption_tables import format_captions
from train.evaluation.domain_evaluator import PICTURES, evaluate_domain
from train.evaluation.evaluator import evaluate_with_predictions
from train.evaluation.report import write_report
from train.evaluation.tables import format_report

PHOTO_TABLE = "photos.csv"


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path, file_okay=False), help="Bundle folder.  [default: shipped]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    help="Catalogue folder, photo folder (with photos.csv) or CSV file.",
)
@click.option(
    "--non-products", "is_domain", is_flag=True, help="Evaluate on generated images without a product instead."
)
@click.option("--split", default="test", show_default=True, help="Split to evaluate.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="Map a field to a column, e.g. image=photo; repeatable.  [default: as the bundle was trained]",
)
@click.option(
    "--allow-leaks", is_flag=True, help="Evaluate on rows that the bundle was trained on, or with other columns."
)
@click.option(
    "--photo-labels",
    type=click.Path(path_type=Path, exists=True),
    help="JSON file: the values that fit each photo label.",
)
@click.option(
    "--report", "folder", type=click.Path(path_type=Path, file_okay=False), help="Write an HTML report to this folder."
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the metrics to this file."
)
def main(
    bundle: Path | None,
    data: Path | None,
    is_domain: bool,
    split: str,
    columns: tuple[str, ...],
    allow_leaks: bool,
    photo_labels: Path | None,
    folder: Path | None,
    json_file: Path | None,
) -> None:
    torch.set_num_threads(available_cores())
    if data is None and not is_domain:
        raise click.UsageError("--data or --non-products is required")
    try:
        loaded = load_bundle(bundle)
        if is_domain or data is None:
            report, evaluated = evaluate_domain(loaded, PICTURES), None
        else:
            named = columns_from(columns) if allow_leaks else columns_of_bundle(loaded.training, columns)
            if not allow_leaks and not (data / PHOTO_TABLE).exists():
                check_split(loaded.training, data, named, split)
            report, evaluated = evaluate_with_predictions(loaded, data, split, named, photo_labels)
    except (BundleError, ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    print(format_report(report))
    if report.get("captions"):
        print(format_captions(report["captions"]))
    if folder and evaluated and data:
        is_catalogue = report["kind"] == "catalogue"
        counts = count_training_values(data, loaded.taxonomy.values, named) if is_catalogue else {}
        print(f"\nreport: {write_report(folder, report, evaluated, counts)}")
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
