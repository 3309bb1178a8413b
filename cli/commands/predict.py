"""`enrich predict`: runs the model on files and addresses, without a running service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click

from cli.options import list_option, read_settings, sources_argument
from cli.output import echo_json, echo_note, exit_on


@click.command()
@sources_argument
@list_option
@click.option("--bundle", type=click.Path(path_type=Path), help="Folder of a model bundle; the shipped one if unset.")
def predict(sources: tuple[str, ...], list_file: BinaryIO | None, bundle: Path | None) -> None:
    """Predict images locally, without any servers, and print one JSON line each, in order.

    A source is a file, a folder, or an address (https, http or s3). A folder stands for all pictures below it, sorted
    by path; hidden files are skipped, and so is what is not a picture, with a note on standard error. `-` reads a list
    of sources, one per line, from standard input. Addresses are fetched as a worker fetches them, with the same
    settings (ENRICH_FETCH__…).

    A line has `file` or `url`, and the answer or `error`. Exits with status 1 if any source failed.
    """
    from cli.sources import expand, with_lists
    from model.bundle import BundleError
    from worker.predict_files import predict_sources

    settings, has_failed = read_settings(), False
    found = expand(with_lists(sources, list_file), echo_note)
    with exit_on(BundleError):
        for document in predict_sources(settings, found, bundle):
            has_failed |= "error" in document
            echo_json(document)
    sys.exit(1 if has_failed else 0)
