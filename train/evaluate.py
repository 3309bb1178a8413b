"""`python -m train.evaluate`: a bundle's figures on one split of a data folder, as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch

from model.bundle import BundleError, load_bundle
from model.nets.cores import available_cores
from train.data.catalogue import count_training_values
from train.data.config import columns_from
from train.evaluation.caption_tables import format_captions
from train.evaluation.domain_evaluator import PICTURES, evaluate_domain
from train.evaluation.evaluator import evaluate_with_predictions
from train.evaluation.report import write_report
from train.evaluation.tables import format_report


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path, file_okay=False), help="By default the shipped bundle.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="A folder, or a CSV file.")
@click.option("--non-products", "is_domain", is_flag=True, help="Measure on drawn pictures of no product instead.")
@click.option("--split", default="test", show_default=True)
@click.option("--column", "columns", multiple=True, help="Which column says what, such as image=photo; repeatable.")
@click.option("--photo-labels", type=click.Path(path_type=Path, exists=True), help="What fits each label of photos.")
@click.option(
    "--report", "folder", type=click.Path(path_type=Path, file_okay=False), help="Where to write a page of it."
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the figures."
)
def main(
    bundle: Path | None,
    data: Path | None,
    is_domain: bool,
    split: str,
    columns: tuple[str, ...],
    photo_labels: Path | None,
    folder: Path | None,
    json_file: Path | None,
) -> None:
    torch.set_num_threads(available_cores())
    if data is None and not is_domain:
        raise click.UsageError("--data is needed (or --non-products)")
    try:
        loaded = load_bundle(bundle)
        if is_domain or data is None:
            report, evaluated = evaluate_domain(loaded, PICTURES), None
        else:
            report, evaluated = evaluate_with_predictions(loaded, data, split, columns_from(columns), photo_labels)
    except (BundleError, ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    print(format_report(report))
    if report.get("captions"):
        print(format_captions(report["captions"]), sep="\n\n")
    if folder and evaluated and data:
        trained = (
            {}
            if report["kind"] == "photos"
            else count_training_values(data, loaded.taxonomy.values, columns_from(columns))
        )
        print(f"\nreport: {write_report(folder, report, evaluated, trained)}")
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
