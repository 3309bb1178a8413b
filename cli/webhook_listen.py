"""A receiver on the developer's own machine: takes events, verifies them, and prints them. `enrich webhooks listen`."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from cli.client import Client

Say = Callable[[str], None]

MAX_BODY_BYTES = 1024 * 1024


def run_listener(client: Client, say: Say, *, secret: str | None, port: int, status: int) -> None:
    """Listens until SIGINT or SIGTERM; without a `secret` with an endpoint of its own. Raises jobs.client.Refused."""
    # Ended in either way, the endpoint is deleted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    known = {"secret": secret or ""}
    with suppress(KeyboardInterrupt), listening(lambda: known["secret"], say, port=port, status=status) as url:
        say(f"listening on {url}; Ctrl-C ends it")
        if secret is not None:
            threading.Event().wait()
        with registered(client, url) as endpoint:
            known["secret"] = endpoint["secret"]
            client.ask("POST", f"/v1/webhook-endpoints/{endpoint['id']}/test")
            threading.Event().wait()


@contextmanager
def listening(secret: Callable[[], str], say: Say, *, port: int = 0, status: int = 204) -> Iterator[str]:
    """Listens on 127.0.0.1 while the block runs; gives the address.

    Args:
        secret: asked for each event; what signatures are checked with.
        say: takes each line that a person should read.
        port: 0 = any free one.
        status: what verified events are answered with. One that is no success shows how a failure is tried again.
    """
    server = _Server(("127.0.0.1", port), _Handler)
    server.secret, server.say, server.status = secret, say, status
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def registered(client: Client, url: str) -> Iterator[dict[str, Any]]:
    """An endpoint for `url` while the block runs, deleted afterwards. Raises jobs.client.Refused."""
    fields = {"url": url, "description": "enrich webhooks listen"}
    endpoint = client.ask("POST", "/v1/webhook-endpoints", json=fields)
    try:
        yield endpoint
    finally:
        client.ask("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    secret: Callable[[], str]
    say: Say
    status: int


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            return self._answer(413)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        name = headers.get("webhook-id", "an event without webhook-id")
        try:
            document = Webhook(self.server.secret()).verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:
            self.server.say(f"✗ {name}: not verified: {error}; answered 400")
            return self._answer(400)
        self._show(name, document)
        return self._answer(self.server.status)

    def _show(self, name: str, document: Any) -> None:
        is_event = isinstance(document, dict)
        kind, moment = (document.get("type"), document.get("timestamp")) if is_event else ("?", "?")
        pretty = json.dumps(document, ensure_ascii=False, indent=2)
        self.server.say(f"✓ {name} {kind} {moment}, verified; answered {self.server.status}\n{pretty}")

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """What a person should read is said above."""
