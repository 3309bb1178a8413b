"""API keys in the record: shown once, kept as a hash, compared in constant time, revocable."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text, update

from cli.local.postgres import EmbeddedPostgres
from core.auth import api_keys
from core.auth.api_keys import KEY, InvalidKeyRequest, Scope
from core.db.engine import Sessions, make_engine, migrate
from core.db.models import ApiKey, Base
from core.settings import DatabaseSettings, Settings
from tests.processes import environment


def make_key(sessions: Sessions, *scopes: Scope, owner_id: str = "shop-a") -> str:
    """A key of the owner, `write` if nothing else is said."""
    with sessions.begin() as session:
        return api_keys.create(session, owner_id=owner_id, name="test", scopes=scopes or (Scope.WRITE,))[1]


def check(sessions: Sessions, key: str) -> api_keys.Caller | None:
    with sessions.begin() as session:
        return api_keys.authenticate(session, key)


def row(sessions: Sessions, key: str) -> ApiKey:
    with sessions() as session:
        return session.get_one(ApiKey, key.split("_")[1])


def test_a_key_says_whose_it_is_and_what_it_may_do(sessions: Sessions) -> None:
    caller = check(sessions, make_key(sessions, Scope.WRITE))

    assert caller
    assert caller.owner_id == "shop-a"
    assert caller.scopes == {Scope.READ, Scope.WRITE}


def test_only_a_hash_of_the_secret_is_kept(sessions: Sessions) -> None:
    key = make_key(sessions)
    secret = key.split("_")[2]

    with sessions() as session:
        kept = str(session.execute(text("SELECT * FROM api_key")).one())

    assert KEY.fullmatch(key)
    assert secret not in kept
    assert hashlib.sha256(secret.encode()).hexdigest() in kept


def test_what_is_not_a_key_opens_nothing(sessions: Sessions) -> None:
    key = make_key(sessions)
    other = make_key(sessions)
    swapped = "_".join([*key.split("_")[:2], other.split("_")[2]])
    for wrong in ("", "enrich", key[:-1], key + "0", key.upper(), swapped, f"enrich_{'0' * 12}_{'0' * 64}", key + "\n"):
        assert check(sessions, wrong) is None


def test_secrets_are_compared_in_constant_time_whether_the_id_is_known_or_not(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(sessions)
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watch(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(api_keys.hmac, "compare_digest", watch)
    for candidate in (key, key[:-1] + ("0" if key[-1] != "0" else "1"), f"enrich_{'0' * 12}_{'0' * 64}"):
        check(sessions, candidate)

    assert compared == [(64, 64)] * 3


def test_a_revoked_key_opens_nothing(sessions: Sessions) -> None:
    key = make_key(sessions)
    with sessions.begin() as session:
        assert api_keys.revoke(session, key.split("_")[1])
        assert not api_keys.revoke(session, key.split("_")[1])

    assert check(sessions, key) is None


def test_the_time_of_the_last_use_is_written_at_most_once_a_minute(sessions: Sessions) -> None:
    key = make_key(sessions)
    assert row(sessions, key).last_used_at is None

    check(sessions, key)
    first = row(sessions, key).last_used_at
    check(sessions, key)

    assert first
    assert row(sessions, key).last_used_at == first
    with sessions.begin() as session:
        session.execute(update(ApiKey).values(last_used_at=first - api_keys.LAST_USED_PRECISION))
    check(sessions, key)
    later = row(sessions, key).last_used_at
    assert later
    assert later > first


@pytest.mark.parametrize(("owner", "name"), [("../x", "a"), ("", "a"), ("system", "a"), ("a", ""), ("a", "b\n")])
def test_odd_owners_and_names_are_refused(sessions: Sessions, owner: str, name: str) -> None:
    with sessions.begin() as session, pytest.raises(InvalidKeyRequest):
        api_keys.create(session, owner_id=owner, name=name, scopes=[Scope.READ])


def test_the_migrations_make_the_tables(settings: Settings) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = make_engine(settings)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def enrich(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", "keys", *arguments]
    return subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)


def test_the_command_makes_lists_and_revokes(settings: Settings, sessions: Sessions) -> None:
    made = enrich(settings, "create", "--owner", "shop-a", "--name", "import script", "--scope", "read")
    key = made.stdout.strip()
    caller = check(sessions, key)
    assert caller
    assert (caller.owner_id, caller.scopes) == ("shop-a", {Scope.READ})
    assert "not shown again" in made.stderr

    listed = enrich(settings, "list", "--json")
    document = json.loads(listed.stdout)
    assert document | {"created_at": "", "last_used_at": ""} == {
        "id": caller.key_id,
        "owner": "shop-a",
        "name": "import script",
        "scopes": ["read"],
        "created_at": "",
        "last_used_at": "",
        "revoked_at": None,
    }
    table = enrich(settings, "list", "--owner", "shop-a").stdout.splitlines()
    assert table[0].split() == ["id", "owner", "name", "scopes", "created_at", "last_used_at", "revoked_at"]
    assert "import script" in table[1]
    assert key.split("_")[2] not in listed.stdout + "".join(table)

    assert enrich(settings, "revoke", caller.key_id).returncode == 0
    assert check(sessions, key) is None
    again = enrich(settings, "revoke", caller.key_id)
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)
    refused = enrich(settings, "create", "--owner", "../x", "--name", "a")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)


def test_the_command_finds_the_postgres_of_a_running_up(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        migrate(Settings(database=DatabaseSettings(url=SecretStr(server.url))))

        made = enrich(Settings(), "--data-dir", str(tmp_path), "create", "--owner", "local", "--name", "me")

        assert KEY.fullmatch(made.stdout.strip()), made.stderr
    gone = enrich(Settings(), "--data-dir", str(tmp_path), "list")
    assert (gone.returncode, len(gone.stderr.splitlines())) == (2, 1)
    assert "No `enrich up`" in gone.stderr
