"""Reads the body of a response within a limit of bytes, and undoes its codings."""

from __future__ import annotations

from collections.abc import Iterator

from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import IncompleteRead, ProtocolError

from core.net.content_encoding import decoded, too_large

EXCERPT_BYTES = 4 * 1024
"""Length of an excerpt: enough to show, and mostly the whole body, so that the connection can be reused."""

_CHUNK_BYTES = 64 * 1024


def read_excerpt(answer: HTTPResponse) -> bytes:
    """Returns the first 4 KiB of the body as they are, without undoing its codings."""
    return b"".join(_chunks(answer, EXCERPT_BYTES))[:EXCERPT_BYTES]


def read_body(answer: HTTPResponse, max_bytes: int) -> bytes:
    """Returns the whole body without its codings.

    Raises ImageTooLarge above `max_bytes`, sent or decompressed; the errors of `decoded`; and those of urllib3.
    """
    if (answer.length_remaining or 0) > max_bytes:
        raise too_large(max_bytes)
    body, failure = bytearray(), None
    try:
        for chunk in _chunks(answer, max_bytes):
            body += chunk
    except ProtocolError as error:
        if not isinstance(error.__cause__, IncompleteRead) or not body:
            raise
        failure = error
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    plain = decoded(bytes(body), _codings(answer.headers), max_bytes)
    # Some servers announce the length before compression. Browsers accept that, but nothing else that is too short.
    if failure is not None and (len(plain) == len(body) or len(plain) != _announced(failure)):
        raise failure
    return plain


def _chunks(answer: HTTPResponse, limit: int) -> Iterator[bytes]:
    """Yields the body in chunks and stops once more than `limit` bytes have arrived."""
    taken = 0
    while taken <= limit and (chunk := answer.read1(_CHUNK_BYTES)):
        taken += len(chunk)
        yield chunk


def _announced(failure: ProtocolError) -> int:
    cause = failure.__cause__
    return cause.partial + cause.expected if isinstance(cause, IncompleteRead) else -1


def _codings(headers: HTTPHeaderDict) -> str:
    """Returns all codings of the body, the first applied first."""
    return f"{headers.get('Content-Encoding', '')},{headers.get('Transfer-Encoding', '')}"
