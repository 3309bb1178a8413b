"""A receiver that costs next to nothing, in a process of its own: takes webhooks by the thousand and counts them.

    python -m tests.bench.fast_receiver        prints its port; POST /N counts, POST /hang never answers, GET / tells

GET answers `{"received": …, "distinct": …}` of what was answered; distinct counts (path, webhook-id) pairs.
"""

from __future__ import annotations

import asyncio
import json

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Counts:
    """What has arrived."""

    def __init__(self) -> None:
        self.received = 0
        self.seen: set[tuple[str, str]] = set()

    def take(self, path: str, event_id: str) -> None:
        self.received += 1
        self.seen.add((path, event_id))

    def document(self) -> bytes:
        return json.dumps({"received": self.received, "distinct": len(self.seen)}).encode()


class Connection(asyncio.Protocol):
    """Just enough HTTP/1.1 for what urllib3 sends."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].decode("latin-1")
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
            whole = end + 4 + int(headers.get("content-length", "0"))
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            self._serve(head.split(" ", 2), headers)

    def _serve(self, request: list[str], headers: dict[str, str]) -> None:
        method, path = request[0], request[1]
        if method == "GET":
            body = self._counts.document()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        if path != "/hang":
            self._counts.take(path, headers["webhook-id"])
            self._transport.write(ANSWER)


async def main() -> None:
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counts), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
