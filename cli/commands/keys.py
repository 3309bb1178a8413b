"""`enrich keys`: creates, lists and revokes API keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import running_data_dir_option, settings_of
from cli.output import echo_json, echo_table, exit_on

if TYPE_CHECKING:
    from core.db.engine import Sessions


@click.group()
@running_data_dir_option
@click.pass_context
def keys(context: click.Context, data_dir: Path | None) -> None:
    """Create, list and revoke API keys."""
    from core.db.engine import make_engine, make_sessions

    engine = make_engine(settings_of(data_dir))
    context.call_on_close(engine.dispose)
    context.obj = make_sessions(engine)


@keys.command("create")
@click.option("--owner", required=True, help="Owner of the jobs that the key can access, such as a shop's short name.")
@click.option("--name", required=True, help="Purpose of the key, such as `import script`; shown in lists.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write", "admin"]),
    default=("write",),
    show_default=True,
    help="read: GET requests. write: read, and create and cancel jobs. admin: everything of the owner.",
)
@click.pass_obj
def create_key(sessions: Sessions, owner: str, name: str, scopes: tuple[str, ...]) -> None:
    """Create a key and print it. It cannot be shown again, because only its hash is stored."""
    from core.auth.api_keys import InvalidKeyRequest, Scope, create

    with exit_on(InvalidKeyRequest), sessions.begin() as session:
        row, key = create(session, owner_id=owner, name=name, scopes={Scope(scope) for scope in scopes})
    click.echo(f"created key {row.id} of {row.owner_id}; it is not shown again:", err=True)
    click.echo(key)


@keys.command("list")
@click.option("--owner", help="List only this owner's keys.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line per key instead of a table.")
@click.pass_obj
def list_keys(sessions: Sessions, owner: str | None, as_json: bool) -> None:
    """List all keys without their secrets, including revoked ones."""
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
    """Revoke a key permanently, effective from the next request."""
    from core.auth.api_keys import revoke

    with sessions.begin() as session:
        is_revoked = revoke(session, key_id)
    if not is_revoked:
        click.echo(f"enrich: key {key_id} does not exist or is already revoked; see `enrich keys list`", err=True)
        sys.exit(1)
    click.echo(f"revoked key {key_id}")
