"""Options that several commands share, and the settings that they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import exit_on

if TYPE_CHECKING:
    from core.settings import Settings

running_data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of a running `enrich up`, to connect to its servers; ENRICH_DATABASE__URL and so on if unset.",
)
api_url_option = click.option(
    "--api",
    "api_url",
    default="http://localhost:8000",
    show_default=True,
    envvar="ENRICH_API_URL",
    help="Base URL of the API.",
)
api_key_option = click.option("--api-key", envvar="ENRICH_API_KEY", help="API key; by default from ENRICH_API_KEY.")
sources_argument = click.argument(
    "sources",
    nargs=-1,
    metavar="SOURCE…",
    help="Files, folders and addresses of images; `-` is a list on standard input.",
)
list_option = click.option(
    "--from",
    "list_file",
    type=click.File("rb"),
    help="File with further sources, one per line; `-` is standard input.",
)


def read_settings() -> Settings:
    """Reads the settings from the environment. Raises UsageError with one sentence if they are invalid."""
    from pydantic import ValidationError

    from core.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg']}" for each in error.errors()
        )
        raise click.UsageError(f"invalid ENRICH_… variables: {reasons}") from None


def settings_of(data_dir: Path | None) -> Settings:
    """Reads the settings. With a data folder they point to the servers of the `enrich up` that runs in it."""
    settings = read_settings()
    if data_dir is None:
        return settings
    # Imported only here, because the extra `embedded` may not be installed where the servers run elsewhere.
    from cli.local.running import settings_of_running
    from core.startup_errors import StartError

    with exit_on(StartError):
        return settings_of_running(settings, data_dir)
