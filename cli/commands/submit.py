"""`enrich submit`: sends images to a running API."""

from __future__ import annotations

import sys

import click

from cli.options import api_key_option, api_url_option
from cli.output import echo_json


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="URL|FILE…")
@click.option("--wait", is_flag=True, help="Wait for the results instead of printing the queued jobs.")
@api_url_option
@api_key_option
@click.option("--external-id", help="Your own id of the image, such as an SKU; for a single source only.")
def submit(sources: tuple[str, ...], wait: bool, api_url: str, api_key: str | None, external_id: str | None) -> None:
    """Submit URLs or files to a running API and print one JSON line each.

    Exits with status 1 if any was rejected or, with --wait, failed.
    """
    from cli.client import Client

    if external_id is not None and len(sources) > 1:
        raise click.UsageError("--external-id requires a single source")
    has_failed = False
    for document in Client(api_url, api_key).submit_all(sources, external_id=external_id, wait=wait):
        has_failed |= document.get("error") is not None
        echo_json(document)
    sys.exit(1 if has_failed else 0)
