"""The environment of the child processes of `enrich up`; the user's own values take precedence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.local.environment import (
    REQUIRE_KEY,
    child_environment,
    longest_grace_s,
    requires_key,
)
from core.loopback import refuse_exposure
from core.settings import Settings
from core.startup_errors import StartError


def children(own: dict[str, str]) -> dict[str, str]:
    return child_environment(own, data_dir=Path("data"), database_url="d", queue_url="q", host="127.0.0.1", port=8000)


def test_only_enrich_up_disables_keys() -> None:
    assert Settings().api.require_key
    assert children({})[REQUIRE_KEY] == "false"
    assert not requires_key({})


@pytest.mark.parametrize("value", ["true", "1", "True"])
def test_the_users_own_value_wins(value: str) -> None:
    assert children({REQUIRE_KEY: value})[REQUIRE_KEY] == value
    assert requires_key({REQUIRE_KEY: value})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "shop.example", ""])
def test_listening_on_a_network_requires_keys(host: str) -> None:
    with pytest.raises(StartError, match="REQUIRE_KEY"):
        refuse_exposure(host, require_key=False)
    refuse_exposure(host, require_key=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_listening_on_loopback_requires_no_keys(host: str) -> None:
    refuse_exposure(host, require_key=False)


def test_up_on_a_network_fails_before_anything_is_created(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "up", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("enrich: Without API keys")
    assert not (tmp_path / "data").exists()


def test_children_get_the_longest_configured_grace() -> None:
    assert longest_grace_s({}) == 20
    assert longest_grace_s({"ENRICH_WORKER__GRACE_S": "80"}) == 80
    assert longest_grace_s({"ENRICH_WEBHOOKS__GRACE_S": "45.5", "ENRICH_WORKER__GRACE_S": "5"}) == 45.5
