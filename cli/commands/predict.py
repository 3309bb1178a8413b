"""`enrich predict`: runs the model on local files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cli.options import read_settings
from cli.output import echo_json, exit_on


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--bundle", type=click.Path(path_type=Path), help="Folder of a model bundle; the shipped one if unset.")
def predict(files: tuple[Path, ...], bundle: Path | None) -> None:
    """Predict image files locally, without any servers, and print one JSON line each.

    Exits with status 1 if any file failed.
    """
    from model.bundle import BundleError
    from worker.predict_files import predict_files

    settings, has_failed = read_settings(), False
    with exit_on(BundleError):
        for document in predict_files(settings, files, bundle):
            has_failed |= "error" in document
            echo_json(document)
    sys.exit(1 if has_failed else 0)
