"""A real S3 server (moto's) that starts empty."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import urllib3
from moto.server import ThreadedMotoServer


@contextlib.contextmanager
def empty_s3_server() -> Iterator[str]:
    """Yields the server's address. moto keeps buckets per process, not per server, hence the reset."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        assert urllib3.request("POST", f"http://{host}:{port}/moto-api/reset").status == 200
        yield f"http://{host}:{port}"
    finally:
        server.stop()
