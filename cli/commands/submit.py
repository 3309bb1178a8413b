"""`enrich submit`: sends images to a running API."""

from __future__ import annotations

import sys
from itertools import islice
from typing import BinaryIO

import click

from cli.options import api_key_option, api_url_option, list_option, read_settings, sources_argument
from cli.output import echo_json, echo_note


@click.command()
@sources_argument
@list_option
@click.option("--wait", is_flag=True, help="Wait for the results instead of printing the queued jobs.")
@api_url_option
@api_key_option
@click.option("--external-id", help="Your own id of the image, such as an SKU; for a single source only.")
def submit(
    sources: tuple[str, ...],
    list_file: BinaryIO | None,
    wait: bool,
    api_url: str,
    api_key: str | None,
    external_id: str | None,
) -> None:
    """Submit images to a running API and print one JSON line each, in order.

    Sources are those of `enrich predict`: files, folders, addresses (https, http or s3), and `-` for a list of sources
    on standard input. Files are uploaded, up to ENRICH_FETCH__MAX_BYTES each.

    A line is the job, or has `source` and `error`. Exits with status 1 if any source was rejected or, with --wait,
    failed.
    """
    from cli.client import Client
    from cli.sources import expand, with_lists

    found = expand(with_lists(sources, list_file), echo_note)
    if external_id is not None:
        first_two = list(islice(found, 2))
        if len(first_two) > 1:
            raise click.UsageError("--external-id requires a single source")
        found = iter(first_two)
    max_bytes, has_failed = read_settings().fetch.max_bytes, False
    client = Client(api_url, api_key)
    for document in client.submit_all(found, external_id=external_id, wait=wait, max_bytes=max_bytes):
        has_failed |= document.get("error") is not None
        echo_json(document)
    sys.exit(1 if has_failed else 0)
