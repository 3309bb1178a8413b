"""The `enrich` command: the group of all commands, and the entry point of the console script.

Commands import what they need when they run, so that `enrich --help` is fast and no process loads unused packages.
"""

from __future__ import annotations

import sys

import click

from cli.commands import service
from cli.commands.jobs import jobs
from cli.commands.keys import keys
from cli.commands.predict import predict
from cli.commands.submit import submit
from cli.commands.webhooks import webhooks

OUR_PACKAGES = frozenset({"api", "cli", "core", "dispatcher", "model", "train", "worker"})


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="asset-enrichment")
def cli() -> None:
    """Turn product photos into catalogue entries: attributes and a display name as JSON.

    Settings are environment variables with the prefix ENRICH_; `make docs` lists them on the page Settings.
    """


for command in (
    service.up,
    service.api,
    service.worker,
    service.dispatcher,
    service.migrate,
    keys,
    predict,
    submit,
    webhooks,
    jobs,
):
    cli.add_command(command)


def main() -> None:
    """Runs the command line. Exits with status 2 and one sentence if an optional dependency is not installed."""
    try:
        cli(prog_name="enrich")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in OUR_PACKAGES:
            raise
        click.echo(
            f"enrich: this command requires the package {package}, which is not installed; "
            "install asset-enrichment with the extra `api`, `worker`, `embedded` or `tracing`.",
            err=True,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
