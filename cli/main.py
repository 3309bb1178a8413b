"""The front door: the `enrich` command. Each command is a shim over a part that does the work.

Parts are imported inside the commands, so that `enrich --help` is quick and no process loads what it does not use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cli.client import Client
    from core.db.engine import Sessions
    from core.settings import Settings

# `-P`: a folder of the caller's that is named like one of our packages must not be imported instead.
FRONT_DOOR = (sys.executable, "-P", "-m", "cli.main")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="asset-enrichment")
def cli() -> None:
    """Give it a product photo's address, get the catalogue entry back: attributes and a display name as JSON.

    Settings are ENRICH_… variables; README.md lists them.
    """


def read_settings() -> Settings:
    """The settings of this process; a wrong one ends it with a sentence instead of a traceback."""
    from pydantic import ValidationError

    from core.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg']}" for each in error.errors()
        )
        raise click.UsageError(f"wrong ENRICH_… variables: {reasons}") from None


@contextmanager
def told_plainly(*expected: type[Exception]) -> Iterator[None]:
    """Ends the process with status 2 and one sentence, for errors that a user can do something about."""
    try:
        yield
    except expected as error:
        click.echo(f"enrich: {error}", err=True)
        sys.exit(2)


@cli.command()
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), default="data", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, envvar="ENRICH_API__PORT")
@click.option("--host", default="127.0.0.1", show_default=True, envvar="ENRICH_API__HOST")
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65533),
    envvar="ENRICH_METRICS__PORT",
    help="Serve the interactive worker's metrics here, the bulk worker's and the dispatcher's on the next two ports.",
)
def up(data_dir: Path, port: int, host: str, metrics_port: int | None) -> None:
    """Start the whole service on this machine; Ctrl-C stops it.

    Postgres and Redis are started, too, unless ENRICH_DATABASE__URL and ENRICH_QUEUE__URL name yours.
    """
    from cli.local.console import Console
    from cli.local.up import Up, UpOptions
    from core.startup_errors import StartError
    from core.telemetry.tracing import check_tracing

    settings = read_settings()
    with told_plainly(StartError):
        check_tracing(settings.tracing)
        Up(UpOptions(FRONT_DOOR, data_dir, host, port, metrics_port), Console(sys.stdout)).run()


@cli.command()
def api() -> None:
    """Serve the HTTP API."""
    from api.server import serve
    from core.startup_errors import StartError

    settings = read_settings()
    with told_plainly(StartError):
        serve(settings)


@cli.command()
@click.option(
    "--lane", type=click.Choice(["interactive", "bulk"]), help="One lane only; without it, both side by side."
)
def worker(lane: str | None) -> None:
    """Take jobs from the queue and answer them."""
    settings = read_settings()
    if lane is None:
        from cli.local.console import Console
        from cli.local.lanes import run_lanes
        from core.startup_errors import StartError
        from core.telemetry.tracing import check_tracing

        with told_plainly(StartError):
            check_tracing(settings.tracing)
            run_lanes(settings, FRONT_DOOR, Console(sys.stdout))
        return
    from core.startup_errors import StartError
    from model.bundle import BundleError
    from worker.main import run

    with told_plainly(StartError, BundleError):
        sys.exit(run(settings, lane))


@cli.command()
def dispatcher() -> None:
    """Send webhooks, and sweep: publish again what the queue lost, free what dead workers held."""
    from core.startup_errors import StartError
    from dispatcher.main import run

    settings = read_settings()
    with told_plainly(StartError):
        sys.exit(run(settings))


@cli.command()
def migrate() -> None:
    """Bring the database's schema to this version's."""
    from core.db.engine import migrate as bring_to_head

    bring_to_head(read_settings())


RUNNING = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of a running `enrich up`, to reach its servers; ENRICH_DATABASE__URL and so on if unset.",
)


def settings_at(data_dir: Path | None) -> Settings:
    """The settings, with the servers of the `enrich up` that runs in the folder, if one is given."""
    settings = read_settings()
    if data_dir is None:
        return settings
    # Only here: where the servers run elsewhere, what the extra `embedded` brings is not installed.
    from cli.local.running import settings_of_running
    from core.startup_errors import StartError

    with told_plainly(StartError):
        return settings_of_running(settings, data_dir)


@cli.group()
@RUNNING
@click.pass_context
def keys(context: click.Context, data_dir: Path | None) -> None:
    """Make, list and revoke API keys."""
    from core.db.engine import make_engine, make_sessions

    engine = make_engine(settings_at(data_dir))
    context.call_on_close(engine.dispose)
    context.obj = make_sessions(engine)


@keys.command("create")
@click.option("--owner", required=True, help="Whose jobs the key sees and makes, such as a shop's short name.")
@click.option("--name", required=True, help="What it is for, such as `import script`; shown in lists.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write", "admin"]),
    default=("write",),
    show_default=True,
    help="read = GET; write = read, and make and cancel jobs; admin = everything of the owner's.",
)
@click.pass_obj
def create_key(sessions: Sessions, owner: str, name: str, scopes: tuple[str, ...]) -> None:
    """Print a new key, once: only its hash is kept."""
    from core.auth.api_keys import KeyNotMade, Scope, create

    with told_plainly(KeyNotMade), sessions.begin() as session:
        row, key = create(session, owner_id=owner, name=name, scopes={Scope(scope) for scope in scopes})
    click.echo(f"key {row.id} of {row.owner_id}; it is not shown again:", err=True)
    click.echo(key)


@keys.command("list")
@click.option("--owner", help="This owner's keys only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line each instead of a table.")
@click.pass_obj
def list_keys(sessions: Sessions, owner: str | None, as_json: bool) -> None:
    """Show all keys, revoked ones too, without their secrets."""
    from core.auth.api_keys import document, list_all

    with sessions() as session:
        documents = [document(row) for row in list_all(session, owner)]
    if as_json:
        for each in documents:
            echo_json(each)
        return
    echo_table(documents)


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@click.pass_obj
def revoke_key(sessions: Sessions, key_id: str) -> None:
    """Close a key for good, from the next request on."""
    from core.auth.api_keys import revoke

    with sessions.begin() as session:
        is_revoked = revoke(session, key_id)
    if not is_revoked:
        click.echo(
            f"enrich: there is no key {key_id} that is not revoked already; `enrich keys list` shows all", err=True
        )
        sys.exit(1)
    click.echo(f"key {key_id} is revoked")


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--bundle", type=click.Path(path_type=Path), help="Folder of a model bundle; the shipped one if unset.")
def predict(files: tuple[Path, ...], bundle: Path | None) -> None:
    """Answer image files here and now, one JSON line each; no servers needed.

    The exit status is 1 when any file failed.
    """
    from model.bundle import BundleError
    from worker.predict_files import predict_files

    settings, has_failed = read_settings(), False
    with told_plainly(BundleError):
        for document in predict_files(settings, files, bundle):
            has_failed |= "error" in document
            echo_json(document)
    sys.exit(1 if has_failed else 0)


@cli.command()
@click.argument("sources", nargs=-1, required=True, metavar="URL|FILE…")
@click.option("--wait", is_flag=True, help="Wait for the answers instead of printing the queued jobs.")
@click.option("--api", "api_url", default="http://localhost:8000", show_default=True, envvar="ENRICH_API_URL")
@click.option("--api-key", envvar="ENRICH_API_KEY", help="Key of the API; also from ENRICH_API_KEY.")
@click.option("--external-id", help="Your own name for the picture, such as an SKU; for one source only.")
def submit(sources: tuple[str, ...], wait: bool, api_url: str, api_key: str | None, external_id: str | None) -> None:
    """Send addresses or files to a running API, one JSON line each.

    The exit status is 1 when any was refused or, with --wait, failed.
    """
    from cli.client import Client

    if external_id is not None and len(sources) > 1:
        raise click.UsageError("--external-id names one picture; give one source with it.")
    has_failed = False
    for document in Client(api_url, api_key).submit_all(sources, external_id=external_id, wait=wait):
        has_failed |= document.get("error") is not None
        echo_json(document)
    sys.exit(1 if has_failed else 0)


@cli.group("webhooks")
@click.option("--api", "api_url", default="http://localhost:8000", show_default=True, envvar="ENRICH_API_URL")
@click.option("--api-key", envvar="ENRICH_API_KEY", help="Key of the API; also from ENRICH_API_KEY.")
@click.pass_context
def webhooks_commands(context: click.Context, api_url: str, api_key: str | None) -> None:
    """Develop and watch a receiver of webhooks."""
    from cli.client import Client

    context.obj = Client(api_url, api_key)


@webhooks_commands.command("listen")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; any free one if unset.")
@click.option("--secret", help="Verify with this `whsec_…`, and register nothing: for an endpoint of your own.")
@click.option(
    "--answer", type=click.IntRange(200, 599), default=204, show_default=True, help="HTTP status to answer with."
)
@click.pass_obj
def listen(client: Client, port: int, secret: str | None, answer: int) -> None:
    """Receive events here, verify and print them, until Ctrl-C.

    Registers an endpoint at the API for as long as it runs, and has a test event sent to it. The API must be allowed to
    send to this machine, as the one of `enrich up` is.
    """
    from cli.client import Refused
    from cli.webhook_listen import run_listener

    with told_plainly(Refused):
        run_listener(client, click.echo, secret=secret, port=port, status=answer)


@webhooks_commands.command("tail")
@click.argument("endpoint_id", required=False, metavar="[ENDPOINT]")
@click.option("--lines", type=click.IntRange(0, 100), default=10, show_default=True, help="Attempts of the past first.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on until Ctrl-C.")
@click.pass_obj
def tail_attempts(client: Client, endpoint_id: str | None, lines: int, follow: bool) -> None:
    """Print a line for each attempt at your endpoints, or at one of them."""
    from contextlib import suppress

    from cli.client import Refused
    from cli.webhook_tail import tail

    with told_plainly(Refused), suppress(KeyboardInterrupt):
        for each in tail(client, endpoint_id, lines=lines, follow=follow):
            click.echo(each)


@cli.group("jobs")
def jobs_commands() -> None:
    """Work on the record's jobs."""


@jobs_commands.command("retry")
@click.option("--failed", is_flag=True, help="Those that failed; so far the only choice, and it must be made.")
@click.option("--code", help="Only those with this error code, such as fetch_failed.")
@click.option("--owner", default="local", show_default=True, help="Whose jobs.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, oldest first; all if unset.")
@RUNNING
def retry_jobs(failed: bool, code: str | None, owner: str, limit: int | None, data_dir: Path | None) -> None:
    """Put failed jobs back into the queue; prints how many."""
    from core.jobs.retry import retry_from_settings

    if not failed:
        raise click.UsageError("Say which jobs: --failed.")
    echo_json({"retried": retry_from_settings(settings_at(data_dir), owner, code=code, limit=limit)})


def echo_json(document: dict[str, object]) -> None:
    """One line on standard output, flushed: others read it while we go on."""
    import json

    click.echo(json.dumps(document, ensure_ascii=False))


def echo_table(documents: list[dict[str, object]]) -> None:
    """Aligned columns under their names; nothing for no documents."""
    if not documents:
        return
    lines = [[str(name) for name in documents[0]], *([_cell(value) for value in each.values()] for each in documents)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    return "-" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)


OURS = frozenset({"api", "dispatcher", "deploy", "jobs", "model", "train", "worker"})


def main() -> None:
    """Entry of the console script. An installation without what a command needs is told so in a sentence."""
    try:
        cli(prog_name="enrich")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in OURS:
            raise
        click.echo(
            f"enrich: the package {package}, which this command needs, is not installed here: "
            "install asset-enrichment with the extra `api`, `worker`, `embedded` or `tracing`.",
            err=True,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
