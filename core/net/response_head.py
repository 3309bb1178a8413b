"""Reads the head of a response as leniently as browsers do; http.client then finds only what it can read.

http.client takes an interim answer other than 100 for the response itself, refuses more than 100 headers and lines over
64 KiB, and drops all headers after a line that is none. Here interim answers are skipped, lines that are no header are
ignored, and the limit is one for the whole head.
"""

from __future__ import annotations

import http.client
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_HEAD_BYTES = 256 * 1024
"""Limit for all headers of a response, those of interim answers included: the limit of Chrome."""

# Like Chrome, accepts four other bytes before it, a missing or odd version, and a missing code, which means 200.
_STATUS = re.compile(
    rb".{0,4}?HTTP(?:/(\d)(?:\.(\d))?[^ \t]*)?(?:[ \t]+0*(\d{3})?(?!\d)(.*))?", re.IGNORECASE | re.DOTALL
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SWITCHING_PROTOCOLS = 101


class HeadTooLong(http.client.HTTPException):
    """The head of the response exceeds `MAX_HEAD_BYTES`."""


class ContradictoryLengths(http.client.HTTPException):
    """The response has several `Content-Length` values that differ."""


@dataclass(frozen=True)
class Head:
    """Status line and headers of the final response. Values are Latin-1, unfolded and without surrounding blanks."""

    is_http_1_0: bool
    status: int
    reason: str
    fields: list[tuple[str, str]]

    def message(self) -> http.client.HTTPMessage:
        message = http.client.HTTPMessage()
        for name, value in self.fields:
            message[name] = value  # appends
        return message

    def framing(self) -> bytes:
        """Returns a head with those headers only that tell how long the body is and whether the connection stays.

        Raises ContradictoryLengths.
        """
        lines = [f"HTTP/1.{0 if self.is_http_1_0 else 1} {self.status} {self.reason}"]
        for name in ("Connection", "Keep-Alive", "Proxy-Connection"):
            if values := self._values(name):
                lines.append(f"{name}: {', '.join(values)}")
        lengths = set(self._values("Content-Length"))
        if "chunked" in self._values("Transfer-Encoding"):
            lines.append("Transfer-Encoding: chunked")
        elif len(lengths) > 1:
            raise ContradictoryLengths
        elif lengths:
            lines.append(f"Content-Length: {lengths.pop()}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _values(self, name: str) -> list[str]:
        """Returns the comma-separated values of all headers of this name, in lower case."""
        values = (value for given, value in self.fields if given.lower() == name.lower())
        return [token.strip().lower() for value in values for token in value.split(",") if token.strip()]


def read_head(file: io.BufferedReader) -> Head:
    """Reads up to the first byte of the body and skips interim answers (1xx).

    Raises HeadTooLong, or another HTTPException if there is no HTTP response.
    """
    lines = _lines(file)
    while True:
        status_line = next(line for line in lines if line)
        match = _STATUS.fullmatch(status_line)
        if match is None:
            raise http.client.BadStatusLine(repr(status_line[:100]))
        version, status = (match[1] or b"1", match[2] or b"0"), int(match[3] or 200)
        fields = _fields(iter(lines.__next__, b""))
        if status >= 200 or status == _SWITCHING_PROTOCOLS:
            return Head(version <= (b"1", b"0"), status, (match[4] or b"").decode("latin-1").strip(), fields)


def _lines(file: io.BufferedReader) -> Iterator[bytes]:
    """Yields lines without their ends, which may be LF alone. Raises if the head does not end."""
    left = MAX_HEAD_BYTES
    while line := file.readline(left + 1):
        left -= len(line)
        if left < 0:
            raise HeadTooLong
        yield line.rstrip(b"\r\n")
    if left == MAX_HEAD_BYTES:
        raise http.client.RemoteDisconnected("")
    raise http.client.IncompleteRead(b"")


def _fields(lines: Iterator[bytes]) -> list[tuple[str, str]]:
    fields: list[tuple[str, list[str]]] = []
    is_header = False
    for line in lines:
        text = line.decode("latin-1").translate({0: " ", 13: " "})  # RFC 9110, section 5.5
        if text[0] in " \t":  # folded: the rest of the value before
            if is_header:
                fields[-1][1].append(text.strip(" \t"))
            continue
        name, colon, value = text.partition(":")
        is_header = bool(colon and _NAME.fullmatch(name.strip(" \t")))
        if is_header:
            fields.append((name.strip(" \t"), [value.strip(" \t")]))
    return [(name, " ".join(parts)) for name, parts in fields]
