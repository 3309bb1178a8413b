"""`enrich webhooks`: receives events on this machine, and follows deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.options import api_key_option, api_url_option
from cli.output import exit_on

if TYPE_CHECKING:
    from cli.client import Client


@click.group()
@api_url_option
@api_key_option
@click.pass_context
def webhooks(context: click.Context, api_url: str, api_key: str | None) -> None:
    """Develop and monitor webhook receivers."""
    from cli.client import Client

    context.obj = Client(api_url, api_key)


@webhooks.command("listen")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; any free port if unset.")
@click.option(
    "--secret", help="Verify with this `whsec_…` secret of an existing endpoint, and register no new endpoint."
)
@click.option(
    "--answer", type=click.IntRange(200, 599), default=204, show_default=True, help="HTTP status of the responses."
)
@click.pass_obj
def listen(client: Client, port: int, secret: str | None, answer: int) -> None:
    """Receive events on this machine, verify and print them, until Ctrl-C.

    Registers an endpoint at the API, requests a test event, and deletes the endpoint at the end. The API must be
    allowed to send to this machine, as the API of `enrich up` is.
    """
    from cli.client import ApiError
    from cli.webhook_listen import run_listener

    with exit_on(ApiError):
        run_listener(client, click.echo, secret=secret, port=port, status=answer)


@webhooks.command("tail")
@click.argument("endpoint_id", required=False, metavar="[ENDPOINT]")
@click.option("--lines", type=click.IntRange(0, 100), default=10, show_default=True, help="Print past attempts first.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Continue until Ctrl-C.")
@click.pass_obj
def tail_attempts(client: Client, endpoint_id: str | None, lines: int, follow: bool) -> None:
    """Print one line per delivery attempt, for one endpoint or all of yours."""
    from contextlib import suppress

    from cli.client import ApiError
    from cli.webhook_tail import tail

    with exit_on(ApiError), suppress(KeyboardInterrupt):
        for line in tail(client, endpoint_id, lines=lines, follow=follow):
            click.echo(line)
