"""docker-compose.yml against the Compose Specification's schema, and against our own code: what it names must exist."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from redis import Redis

from cli.local.redis import find_binary
from cli.main import cli
from core.jobs.queue import queue_name
from core.jobs.submission import Lane
from core.settings import Settings
from core.storage.s3 import make_s3_client
from tests.deploy.images.compose_file import (
    ROOT,
    Unset,
    example_variables,
    load,
    ours,
    required_variables,
    setting_names,
)
from tests.deploy.images.dockerfiles import stages
from tests.processes import environment
from tests.s3_server import empty_s3_server
from worker.process.memory import MALLOC_DEFAULTS

SCHEMA = Path(__file__).parents[1] / "schemas" / "compose-spec.json"
PORT = re.compile(r"127\.0\.0\.1:(\d+):(\d+)")
SECONDS = re.compile(r"(\d+)s")


@pytest.fixture
def variables() -> dict[str, str]:
    return {name: f"secret-of-{name.lower()}" for name in example_variables()}


@pytest.fixture
def document(variables: dict[str, str]) -> dict[str, Any]:
    return load(variables)


def test_it_fits_the_schema_of_the_compose_specification(document: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)


def test_the_schema_would_notice(document: dict[str, Any]) -> None:
    document["services"]["api"]["helthcheck"] = {}
    with pytest.raises(jsonschema.ValidationError, match="helthcheck"):
        jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(document)


def test_it_refuses_to_start_without_each_secret(variables: dict[str, str]) -> None:
    assert required_variables() == set(variables)
    for name in variables:
        with pytest.raises(Unset, match=rf"{name}: .*\.env\.example"):
            load({key: value for key, value in variables.items() if key != name})


def test_no_secret_is_in_the_file_itself() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for line in text.splitlines():
        if match := re.match(r"\s*\w*(?:PASSWORD|SECRET|ACCESS_KEY_ID)\w*: (.+)", line):
            assert match[1].startswith("${"), line


def test_make_env_writes_every_secret_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "compose" / "make-env.sh"
    script.parent.mkdir(parents=True)
    script.write_bytes((ROOT / "deploy" / "compose" / "make-env.sh").read_bytes())
    (tmp_path / ".env.example").write_bytes((ROOT / ".env.example").read_bytes())
    subprocess.run(["sh", str(script)], check=True, capture_output=True)
    written = tmp_path / ".env"
    pairs = dict(line.split("=", 1) for line in written.read_text().splitlines() if line and line[0] != "#")
    assert set(pairs) == required_variables()
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in pairs.values())
    assert len(set(pairs.values())) == len(pairs)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    again = subprocess.run(["sh", str(script)], check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "already" in again.stderr


def test_the_environment_file_is_kept_out_of_git_and_of_images() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_ports_are_open_on_this_machine_only(document: dict[str, Any]) -> None:
    published = {}
    for name, service in document["services"].items():
        for port in service.get("ports", []):
            match = PORT.fullmatch(port)
            assert match, f"{name}: {port}"
            published[name] = int(match[2])
    assert published == {"api": 8000, "prometheus": 9090, "grafana": 3000, "flower": 5555}


def test_our_variables_are_settings_and_are_valid_ones(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, service in ours(document):
        given = service["environment"]
        assert given.keys() - MALLOC_DEFAULTS.keys() <= setting_names(), name
        with monkeypatch.context() as patch:
            for key, value in given.items():
                patch.setenv(key, value)
            settings = Settings()
        assert settings.storage.kind == "s3"
        assert settings.api.require_key


def test_addresses_name_services_and_the_ports_they_listen_on(document: dict[str, Any]) -> None:
    listening = {"postgres": "5432", "valkey": "6379", "s3": "8333"}
    for name, service in document["services"].items():
        for value in map(str, service.get("environment", {}).values()):
            if match := re.search(r"://(?:[^@/]*@)?([\w-]+):(\d+)", value):
                assert listening.get(match[1]) == match[2], f"{name}: {value}"
                assert match[1] in document["services"]
    assert f"-s3.port={listening['s3']}" in document["services"]["s3"]["command"]


def test_our_commands_exist(document: dict[str, Any]) -> None:
    for name, service in ours(document):
        if "entrypoint" in service:
            continue
        command: click.Command = cli
        words = list(service["command"])
        with click.Context(cli) as context:
            while isinstance(command, click.Group):
                found = command.get_command(context, words.pop(0))
                assert found is not None, name
                command = found
            command.make_context(name, words, parent=context)


def test_images_are_ours_or_pinned(document: dict[str, Any]) -> None:
    for name, service in document["services"].items():
        repository, _, tag = service["image"].partition(":")
        if "build" not in service:
            assert re.match(r"v?\d+\.\d+", tag), f"{name}: {service['image']}"
            continue
        path = ROOT / service["build"]["dockerfile"]
        target = service["build"].get("target")
        assert target in {stage.name for stage in stages(path)}
        assert (repository, tag) == (f"asset-enrichment-{path.suffix[1:]}", target or "latest")


def test_mounted_files_exist_and_cannot_be_changed(document: dict[str, Any]) -> None:
    for name, service in document["services"].items():
        for volume in service.get("volumes", []):
            source, _, options = volume.partition(":")
            if source.startswith("./"):
                assert options.endswith(":ro"), f"{name}: {volume}"
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in document["volumes"], f"{name}: {source}"


def test_every_service_has_a_health_check_and_is_started_anew(document: dict[str, Any]) -> None:
    for name, service in document["services"].items():
        check = service["healthcheck"]
        if name in {"migrate", "bucket"}:
            assert check == {"disable": True}
            assert service["restart"].startswith("on-failure")
        else:
            assert check["test"], name
            assert service["restart"] == "unless-stopped", name


def test_what_others_wait_for_is_there_and_can_be_waited_for(document: dict[str, Any]) -> None:
    services = document["services"]
    for name, service in services.items():
        waits = service.get("depends_on", {})
        for other, how in waits.items() if isinstance(waits, dict) else []:
            if how["condition"] == "service_completed_successfully":
                assert services[other]["restart"].startswith("on-failure"), f"{name} waits for {other}"
            else:
                assert "test" in services[other]["healthcheck"], f"{name} waits for {other}"
    for name, service in ours(document):
        if name not in {"migrate", "bucket"}:
            assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_our_processes_run_hardened_and_may_end_in_order(document: dict[str, Any]) -> None:
    settings = Settings()
    longest_s = max(settings.worker.grace_s, settings.webhooks.grace_s, 25)
    for name, service in ours(document):
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert any(mount.startswith("/tmp") for mount in service["tmpfs"]), name
        grace = SECONDS.fullmatch(service["stop_grace_period"])
        assert grace, name
        assert int(grace[1]) > longest_s


def test_others_images_may_do_no_more_than_they_need(document: dict[str, Any]) -> None:
    for name, service in document["services"].items():
        # Compose copies such a config into the container and cannot do that where the file system is read-only.
        has_inline = any("content" in document["configs"][each["source"]] for each in service.get("configs", []))
        assert service.get("read_only", False) is not has_inline, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    # Postgres' entry point begins as root and changes owner and user.
    capable = {name for name, service in document["services"].items() if service.get("cap_drop") != ["ALL"]}
    assert capable == {"postgres"}


def test_stores_cannot_be_reached_from_outside(document: dict[str, Any]) -> None:
    assert document["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "valkey", "s3", "migrate", "bucket"):
        assert document["services"][name]["networks"] == ["inside"]


def test_workers_of_both_kinds_go_by_the_same_names(document: dict[str, Any]) -> None:
    services = document["services"]
    for lane in Lane:
        plain, gpu = services[f"worker-{lane}"], services[f"worker-gpu-{lane}"]
        assert plain["command"] == gpu["command"] == ["worker", "--lane", lane]
        assert gpu["networks"]["inside"] == {"aliases": [f"worker-{lane}"]}
        assert gpu["profiles"] == ["gpu"]
        devices = gpu["deploy"]["resources"]["reservations"]["devices"]
        assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
        assert "profiles" not in plain
        assert plain["deploy"] == {"replicas": "1"}


def test_the_processes_connections_fit_into_postgres(document: dict[str, Any]) -> None:
    # Each holds its pool and, at most, one direct connection that listens; 100 is what Postgres allows by default.
    pool = Settings().database.pool_size
    assert len(list(ours(document))) * (pool + 1) < 100 - 3


def test_flower_counts_our_queues() -> None:
    names: dict[str, Any] = {}
    source = (ROOT / "deploy" / "compose" / "flower_config.py").read_text(encoding="utf-8")
    exec(compile(source, "flower_config.py", "exec"), names)
    assert {queue.name for queue in names["task_queues"]} == {queue_name(lane) for lane in Lane}


def test_a_real_server_takes_the_valkey_configuration(tmp_path: Path) -> None:
    """Given the mounted file with another folder, when a server starts, then it keeps the queue and evicts nothing."""
    text = (ROOT / "deploy" / "compose" / "valkey.conf").read_text(encoding="utf-8")
    config, socket = tmp_path / "valkey.conf", tmp_path / "s"
    config.write_text(text.replace("dir /data", f"dir {tmp_path}") + f"requirepass word\nport 0\nunixsocket {socket}\n")
    with subprocess.Popen([str(find_binary()), str(config)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert any("Ready to accept connections" in line for line in server.stdout)
            with Redis(unix_socket_path=str(socket), password="word", decode_responses=True) as client:
                told = client.config_get("appendonly", "appendfsync", "maxmemory-policy")
            assert told == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
        finally:
            server.terminate()


def test_the_bucket_is_made_once_and_may_be_there_already() -> None:
    """Given an empty S3 service, when the script runs twice, then the bucket is there and both runs say so."""
    with empty_s3_server() as address:
        settings = Settings.model_validate(
            {
                "storage": {"kind": "s3", "bucket": "enrich"},
                "s3": {
                    "endpoint_url": address,
                    "access_key_id": "a",
                    "secret_access_key": "b",
                },
            }
        )
        script = str(ROOT / "deploy" / "compose" / "make_bucket.py")
        variables = environment(settings) | {"PYTHONPATH": str(ROOT)}
        outputs = [
            subprocess.run([sys.executable, script], env=variables, capture_output=True, text=True, check=True).stdout
            for _ in range(2)
        ]
        assert outputs == ["created the bucket enrich\n", "the bucket enrich exists\n"]
        assert make_s3_client(settings.s3).list_buckets()["Buckets"][0]["Name"] == "enrich"
