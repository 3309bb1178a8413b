"""`enrich webhooks listen`: a local receiver that verifies and prints events."""

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

Print = Callable[[str], None]

MAX_BODY_BYTES = 1024 * 1024


def run_listener(client: Client, echo: Print, *, secret: str | None, port: int, status: int) -> None:
    """Listens until SIGINT or SIGTERM. Without a `secret` it registers a temporary endpoint. Raises ApiError."""
    # SIGTERM is handled like Ctrl-C, so that the endpoint is deleted in both cases.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    current = {"secret": secret or ""}
    with suppress(KeyboardInterrupt), listening(lambda: current["secret"], echo, port=port, status=status) as url:
        echo(f"listening on {url}; press Ctrl-C to stop")
        if secret is not None:
            threading.Event().wait()
        with registered(client, url) as endpoint:
            current["secret"] = endpoint["secret"]
            client.request("POST", f"/v1/webhook-endpoints/{endpoint['id']}/test")
            threading.Event().wait()


@contextmanager
def listening(secret: Callable[[], str], echo: Print, *, port: int = 0, status: int = 204) -> Iterator[str]:
    """Listens on 127.0.0.1 within the block and yields the URL.

    Args:
        secret: returns the secret for verifying signatures; called for each event.
        echo: prints a line for the user.
        port: 0 for any free port.
        status: HTTP status of the responses to verified events. An error status demonstrates retries.
    """
    server = _Server(("127.0.0.1", port), _Handler)
    server.secret, server.echo, server.status = secret, echo, status
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
    """Registers an endpoint for `url` within the block, and deletes it afterwards. Raises ApiError."""
    fields = {"url": url, "description": "enrich webhooks listen"}
    endpoint = client.request("POST", "/v1/webhook-endpoints", json=fields)
    try:
        yield endpoint
    finally:
        client.request("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    secret: Callable[[], str]
    echo: Print
    status: int


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            return self._respond(413)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        name = headers.get("webhook-id", "an event without webhook-id")
        try:
            document = Webhook(self.server.secret()).verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:
            self.server.echo(f"✗ {name}: not verified: {error}; responded 400")
            return self._respond(400)
        self._print(name, document)
        return self._respond(self.server.status)

    def _print(self, name: str, document: Any) -> None:
        is_event = isinstance(document, dict)
        kind, timestamp = (document.get("type"), document.get("timestamp")) if is_event else ("?", "?")
        pretty = json.dumps(document, ensure_ascii=False, indent=2)
        self.server.echo(f"✓ {name} {kind} {timestamp}, verified; responded {self.server.status}\n{pretty}")

    def _respond(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Disables the default request log, because each event is printed above."""
