"""The stores inside the cluster: their configuration, run by a real server, and the script that makes the bucket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError

from cli.local.redis import find_binary
from core.settings import S3Settings, Settings, StorageSettings
from core.storage.s3 import make_s3_client
from tests.deploy.kubernetes.manifests import K8S, container_of
from tests.ports import free_port
from tests.processes import ROOT, environment, wait_until
from tests.s3_server import empty_s3_server

STORES = K8S / "components" / "stores"


def test_valkey_takes_its_configuration(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "valkey.conf"
    config.write_text(
        (STORES / "valkey.conf").read_text().replace("dir /data", f"dir {tmp_path}") + f"port {port}\nbind 127.0.0.1\n"
    )
    with (
        subprocess.Popen([find_binary(), config], stdout=subprocess.DEVNULL) as server,
        Redis(port=port, password="only-for-dev") as redis,
    ):
        try:
            wait_until(lambda: answers(redis) or server.poll() is not None, 10, "Valkey")
            assert server.poll() is None, "Valkey refuses its configuration"
            told = redis.config_get("maxmemory-policy", "appendonly", "appendfsync")
            assert told == {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}
            assert set(redis.acl_users()) == {"default", "keda"}
        finally:
            server.terminate()


def answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def test_the_job_makes_the_bucket_and_again_does_nothing() -> None:
    """The script of the manifest, run as it stands against an S3 server."""
    command = container_of(yaml.safe_load((STORES / "bucket.yaml").read_text()))["command"]
    assert command[:2] == ["python", "-c"]
    with empty_s3_server() as address:
        s3 = S3Settings(
            endpoint_url=address,
            access_key_id=SecretStr("enrich"),
            secret_access_key=SecretStr("only-for-dev"),
        )
        settings = Settings(s3=s3, storage=StorageSettings(kind="s3", bucket="enrich"))
        for _ in range(2):
            subprocess.run([sys.executable, *command[1:]], cwd=ROOT, env=environment(settings), check=True)
        assert [each["Name"] for each in make_s3_client(s3).list_buckets()["Buckets"]] == ["enrich"]
