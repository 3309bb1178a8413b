"""The documented webhook receivers verify the events of a real dispatcher, also during a secret rotation."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.db.engine import Sessions
from core.db.webhook_models import WebhookEndpoint
from core.settings import Settings
from core.webhooks import secrets
from core.webhooks.events import create_test_event
from tests.ports import free_port
from tests.processes import ROOT, running, wait_until
from tests.webhook_receiver import Receiver
from tests.webhook_records import attempts, new_endpoint, secret_of, statuses

PAGE = ROOT / "docs" / "guides" / "webhooks.md"
NODE_MODULES = ROOT / "tests" / "node" / "node_modules"


def block(name: str) -> str:
    """Returns the documented code block whose first line names this file."""
    found = re.search(rf"```\w+\n((?:#|//) {re.escape(name)}.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{PAGE} has no {name}"
    return found[1]


@pytest.fixture(params=["python", "node"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The command that starts the documented receiver of one language."""
    if request.param == "python":
        (tmp_path / "receiver.py").write_text(block("receiver.py"))
        return [sys.executable, str(tmp_path / "receiver.py")]
    if shutil.which("node") is None or not (NODE_MODULES / "standardwebhooks").exists():
        pytest.skip("no node with the package standardwebhooks here: see tests/prepare.sh")
    (tmp_path / "receiver.mjs").write_text(block("receiver.mjs"))
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    return ["node", str(tmp_path / "receiver.mjs")]


@contextlib.contextmanager
def receiving(command: list[str], secret: str, port: int, log: Path) -> Iterator[None]:
    """Runs the receiver within the block."""
    environment = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)}
    with log.open("ab") as output:
        child = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield
    finally:
        child.terminate()
        child.wait()


def send_test(sessions: Sessions, endpoint_id: uuid.UUID) -> None:
    with sessions.begin() as session:
        create_test_event(session, session.get_one(WebhookEndpoint, endpoint_id))


def test_the_receivers_verify_what_the_dispatcher_sends_also_during_rotation(
    settings: Settings, sessions: Sessions, command: list[str], tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "receiver.log"
    endpoint_id = new_endpoint(sessions, f"http://127.0.0.1:{port}/hooks/enrich")
    old = secret_of(sessions, endpoint_id)

    def delivered(count: int) -> bool:
        return statuses(sessions).count("delivered") == count

    with running(settings, "dispatcher"):
        with receiving(command, old, port, log):
            send_test(sessions, endpoint_id)
            wait_until(lambda: delivered(1), 30, "the first event")
            with sessions.begin() as session:
                secrets.rotate(session, session.get_one(WebhookEndpoint, endpoint_id).secret_id, overlap_s=3600)
            send_test(sessions, endpoint_id)
            wait_until(lambda: delivered(2), 30, "an event for the old secret")
        with receiving(command, secret_of(sessions, endpoint_id), port, log):
            send_test(sessions, endpoint_id)
            wait_until(lambda: delivered(3), 30, "an event for the new secret")
            with sessions.begin() as session:
                secrets.rotate(session, session.get_one(WebhookEndpoint, endpoint_id).secret_id, overlap_s=0)
            made = len(attempts(sessions))
            send_test(sessions, endpoint_id)
            wait_until(lambda: len(attempts(sessions)) > made, 30, "an event that it cannot verify any more")
    assert attempts(sessions)[-1].status_code == 400
    assert delivered(3)
    assert log.read_text().count("endpoint.test") == 3


def verify(secret: str, event_id: str, timestamp: str, signatures: str, body: Path, script: Path) -> str:
    arguments = ["sh", str(script), event_id, timestamp, signatures, str(body)]
    environment = {**os.environ, "WEBHOOK_SECRET": secret}
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_the_shell_lines_verify_what_the_dispatcher_sent(
    settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    script, body = tmp_path / "verify.sh", tmp_path / "body"
    script.write_text(block("verify.sh"))
    with Receiver() as receiver, running(settings, "dispatcher"):
        endpoint_id = new_endpoint(sessions, receiver.url())
        send_test(sessions, endpoint_id)
        wait_until(lambda: statuses(sessions) == ["delivered"], 30, "the event")
    [request] = receiver.received
    body.write_bytes(request.body)
    secret = secret_of(sessions, endpoint_id)
    signature, timestamp = request.headers["webhook-signature"], request.headers["webhook-timestamp"]
    assert verify(secret, request.event_id, timestamp, signature, body, script) == "verified\n"
    assert verify(secret, request.event_id, timestamp, f"v1,AAAA {signature}", body, script) == "verified\n"
    assert verify(secret, "evt_other", timestamp, signature, body, script) == "not verified\n"
    late = str(int(time.time()) - 400)
    assert "five minutes" in verify(secret, request.event_id, late, signature, body, script)
    body.write_bytes(request.body + b" ")
    assert verify(secret, request.event_id, timestamp, signature, body, script) == "not verified\n"
