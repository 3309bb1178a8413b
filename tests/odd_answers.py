"""Odd answers of servers, and what a fetch makes of each: the image, as in a current browser, or an error.

`ODD` maps a name to its case; the odd server serves the case at `/name`.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass

from core import errors
from tests import pictures
from tests.odd_server import Answer, KeptOpen, Request

JPEG = pictures.jpeg()
LIMIT = 1024 * 1024
"""Bytes that the fetches of these answers may have at most."""

_BLOCKED, _FAILED, _REFUSED, _TIMEOUT = (
    errors.FetchBlocked,
    errors.FetchFailed,
    errors.FetchRefused,
    errors.FetchTimeout,
)
_GZIP = gzip.compress(JPEG)
# Extra field, name, comment and the header's checksum (RFC 1952).
_GZIP_WITH_NAME = _GZIP[:3] + b"\x1e" + _GZIP[4:10] + b"\2\0ab" + b"a.jpg\0" + b"note\0" + b"\0\0" + _GZIP[10:]
_DEFLATER = zlib.compressobj(wbits=-15)
_RAW = _DEFLATER.compress(JPEG) + _DEFLATER.flush()


@dataclass(frozen=True)
class Odd:
    """An answer and its expected outcome: `body`, or an error of exactly this class whose message has `says`."""

    answer: Answer
    error: type[errors.JobError] | None = None
    says: str = "."
    body: bytes = JPEG


def http(*headers: str, body: bytes = JPEG, status: str = "HTTP/1.1 200 OK", length: int | None = -1) -> bytes:
    """Builds an answer. length: value of Content-Length; -1 is the true one, None omits it."""
    lines = [status, *headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8") + body


def encoded(content_encoding: str, body: bytes = JPEG) -> bytes:
    return http(f"Content-Encoding: {content_encoding}", body=body)


def redirect(location: str | bytes, status: int = 302, *headers: str) -> bytes:
    to = location if isinstance(location, bytes) else location.encode()
    head = http(*headers, status=f"HTTP/1.1 {status} Go", body=b"")
    return head.replace(b"\r\n", b"\r\nLocation: " + to + b"\r\n", 1)


def chunked(*parts: str, end: bytes = b"\r\n", last: bytes = b"0\r\n\r\n", coding: str = "chunked") -> bytes:
    """Builds a chunked answer of two chunks. parts: their sizes as written; computed if missing."""
    halves = (JPEG[:700], JPEG[700:])
    sizes = [part.encode() for part in parts] or [b"%x" % len(half) for half in halves]
    body = b"".join(size + end + half + end for size, half in zip(sizes, halves, strict=True))
    return http(f"Transfer-Encoding: {coding}", body=body + last, length=None)


def _cookie_wall(request: Request) -> bytes:
    """Redirects to itself until the cookie comes back."""
    if request.headers.get("cookie") == "seen=1":
        return http()
    return redirect("/cookie-wall", 302, "Set-Cookie: seen=1; Path=/; HttpOnly")


def _countdown(request: Request) -> bytes:
    left = int(request.target.partition("?")[2] or 9)
    return redirect(f"/redirects-nine?{left - 1}") if left else http()


_MEANINGLESS = (
    *("base64", "aws-chunked", "UTF-8", "none", "binary", "image/jpeg", "8bit", "7bit", "identity", "", ",", "null"),
    *("utf-8, base64", "aws-chunked,utf-8", "identity, identity", '"none"', "amz-1.0", "bin; q=1"),
    *("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "gzip, gzip", "aws-chunked,gzip", "br, gzip"),
)
ENCODINGS = {
    **{f"plain-despite-{index}": Odd(encoded(value)) for index, value in enumerate(_MEANINGLESS)},
    "gzip": Odd(encoded("gzip", _GZIP)),
    "gzip-shouted": Odd(encoded("X-GZIP;q=1", _GZIP)),
    "gzip-level-0": Odd(encoded("gzip", gzip.compress(JPEG, 0))),
    "gzip-as-deflate": Odd(encoded("deflate", _GZIP)),
    "gzip-members": Odd(encoded("gzip", gzip.compress(JPEG[:9]) + gzip.compress(b"") + gzip.compress(JPEG[9:]))),
    "gzip-and-garbage": Odd(encoded("gzip", _GZIP + b"<!-- cached -->")),
    "gzip-and-zeros": Odd(encoded("gzip", _GZIP + bytes(1000))),
    "gzip-twice": Odd(encoded("gzip, gzip", gzip.compress(_GZIP))),
    "gzip-twice-announced": Odd(encoded("gzip, gzip", _GZIP)),
    "gzip-behind-aws-chunked": Odd(encoded("aws-chunked,gzip", _GZIP)),
    "gzip-before-base64": Odd(encoded("gzip, base64", _GZIP)),
    "gzip-in-two-headers": Odd(
        http("Content-Encoding: utf-8", "Content-Type: image/jpeg", "content-encoding: gzip", body=_GZIP)
    ),
    "gzip-of-announced-length": Odd(http("Content-Encoding: gzip", body=_GZIP, length=len(JPEG))),
    "deflate": Odd(encoded("deflate", zlib.compress(JPEG))),
    "deflate-raw": Odd(encoded("deflate", _RAW)),
    "deflate-then-gzip": Odd(encoded("deflate, gzip", gzip.compress(_RAW))),
    "deflate-and-garbage": Odd(encoded("deflate", zlib.compress(JPEG) + b"\r\n")),
    "gzip-with-all-fields": Odd(encoded("gzip", _GZIP_WITH_NAME)),
    "gzip-without-trailer": Odd(encoded("gzip", _GZIP[:-8])),
    "gzip-wrong-checksum": Odd(encoded("gzip", _GZIP[:-8] + b"checksum")),
    "deflate-without-checksum": Odd(encoded("deflate", zlib.compress(JPEG)[:-4])),
    "page-as-gzip": Odd(encoded("gzip", b"<html>no</html>"), body=b"<html>no</html>"),
    "page-as-deflate": Odd(encoded("deflate", b"<html>no</html>"), body=b"<html>no</html>"),
    "brotli": Odd(encoded("br", b"\x0b\x02\x80abc\x03"), _REFUSED, "`br`"),
    "zstd": Odd(encoded("zstd", b"\x28\xb5\x2f\xfd\x04\x00"), _REFUSED, "`zstd`"),
    "gzip-truncated": Odd(encoded("gzip", _GZIP[:-20]), _FAILED, "truncated"),
    "gzip-corrupt": Odd(encoded("gzip", _GZIP[:50] + bytes(50) + _GZIP[100:]), _FAILED, "corrupt"),
    "gzip-bomb": Odd(encoded("gzip", gzip.compress(bytes(LIMIT + 1))), errors.ImageTooLarge),
    "gzip-bomb-in-members": Odd(encoded("gzip", gzip.compress(bytes(LIMIT // 8)) * 9), errors.ImageTooLarge),
    "gzip-bomb-in-gzip": Odd(
        encoded("gzip,gzip", gzip.compress(gzip.compress(bytes(LIMIT * 9)))), errors.ImageTooLarge
    ),
    "deflate-bomb": Odd(encoded("deflate", zlib.compress(bytes(LIMIT + 1))), errors.ImageTooLarge),
    "gzip-of-many-members": Odd(encoded("gzip", gzip.compress(b"") * 20_000), _REFUSED, "members"),
    "gzip-nine-times": Odd(encoded(",".join(["gzip"] * 9), _GZIP), _REFUSED, "Content-Encoding"),
}

_HEADS = {
    "interim-100": Odd(b"HTTP/1.1 100 Continue\r\n\r\n" + http()),
    "interim-103": Odd(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + http()),
    "interim-many": Odd(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103\r\nLink: <x>\r\n\r\n" * 40 + http()),
    "interim-without-end": Odd(b"HTTP/1.1 103 Hints\r\n\r\n" * 20_000, _REFUSED, "headers"),
    "lower-case": Odd(http(f"content-length: {len(JPEG)}", "content-type: image/jpeg", length=None)),
    "folded": Odd(http("X-Note: one\r\n two\r\n\tthree", "Content-Encoding:\r\n gzip", body=_GZIP)),
    "headers-300": Odd(http(*(f"X-Meta-{number}: {number}" for number in range(300)))),
    "header-70-kib": Odd(http("Content-Security-Policy: " + "x" * 70_000)),
    "headers-1-mib": Odd(http(*("X-Meta: " + "x" * 1000 for _ in range(1024))), _REFUSED, "headers"),
    "no-reason": Odd(http(status="HTTP/1.1 200")),
    "no-reason-but-a-blank": Odd(http(status="HTTP/1.1 200 ")),
    "odd-reason": Odd(http(status="HTTP/1.1 200 Très bien")),
    "lf-only": Odd(http().replace(b"\r\n", b"\n", 2)),
    "lf-only-head": Odd(b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(JPEG) + JPEG),
    "line-without-colon": Odd(KeptOpen(http("what is this"))),
    "blank-before-colon": Odd(KeptOpen(http(f"Content-Length : {len(JPEG)}", length=None))),
    "blank-in-name": Odd(KeptOpen(http("X Odd Name: 1"))),
    "nul-in-value": Odd(http("X-Odd: a\0b")),
    "blank-lines-before": Odd(b"\r\n\r\n" + http()),
    "http-1.0": Odd(http(status="HTTP/1.0 200 OK")),
    "http-1.0-kept": Odd(KeptOpen(http("Connection: Keep-Alive", status="HTTP/1.0 200 OK"))),
    "http-2.0": Odd(http(status="HTTP/2.0 200 OK")),
    "http-3-without-minor": Odd(http(status="HTTP/3 200")),
    "http-without-version": Odd(http(status="HTTP 200 OK")),
    "no-code": Odd(http(status="HTTP/1.1")),
    "junk-before": Odd(b"\0\0" + http()),
    "http-lower-case": Odd(http(status="http/1.1 200 ok")),
    "connection-close": Odd(http("Connection: close")),
    "no-http": Odd(b"SSH-2.0-OpenSSH_9.6\r\n", _FAILED, "HTTP"),
    "only-a-body": Odd(JPEG, _FAILED),
    "nothing": Odd(b"", _FAILED, "without an answer"),
    "half-a-head": Odd(b"HTTP/1.1 200 OK\r\nContent-Len", _FAILED),
}

_LENGTHS = {
    "length-missing": Odd(http(length=None)),
    "length-empty": Odd(http("Content-Length:", length=None)),
    "length-not-a-number": Odd(http("Content-Length: many", length=None)),
    "length-negative": Odd(http("Content-Length: -1", length=None)),
    "length-twice": Odd(KeptOpen(http(f"Content-Length: {len(JPEG)}"))),
    "length-listed": Odd(KeptOpen(http(f"Content-Length: {len(JPEG)}, {len(JPEG)}", length=None))),
    "length-contradictory": Odd(http("Content-Length: 7"), _FAILED, "Content-Length"),
    "length-too-long": Odd(http(length=len(JPEG) + 10), _FAILED, "whole file"),
    "length-too-short": Odd(http(length=len(JPEG) - 10), body=JPEG[:-10]),
    "length-and-chunked": Odd(chunked().replace(b"\r\n", b"\r\nContent-Length: 5\r\n", 1)),
    "length-over-the-limit": Odd(http(length=LIMIT + 1), errors.ImageTooLarge, "ENRICH_FETCH__MAX_BYTES"),
    "chunked": Odd(KeptOpen(chunked())),
    "chunked-shouted": Odd(KeptOpen(chunked(coding="Chunked"))),
    "chunked-extension": Odd(KeptOpen(chunked("2BC;name=value", f"{len(JPEG) - 700:x};a"))),
    "chunked-odd-sizes": Odd(KeptOpen(chunked("000002bC  ", f"{len(JPEG) - 700:X} "))),
    "chunked-lf-only": Odd(KeptOpen(chunked(end=b"\n", last=b"0\n\n"))),
    "chunked-trailers": Odd(KeptOpen(chunked(last=b"0\r\nExpires: 0\r\nX-Sum: 1\r\n\r\n"))),
    "chunked-without-last-line": Odd(chunked(last=b"0\r\n")),
    "chunked-without-last-chunk": Odd(chunked(last=b""), _FAILED, "whole file"),
    "chunked-wrong-size": Odd(chunked("2BA", "5"), _FAILED),
    "chunked-no-size": Odd(chunked("x", "y"), _FAILED),
    "chunked-after-identity": Odd(KeptOpen(chunked(coding="identity, chunked"))),
    "chunked-and-gzip": Odd(
        http("Transfer-Encoding: gzip, chunked", length=None, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(_GZIP), _GZIP))
    ),
}


def status(code: int, *headers: str, body: bytes = JPEG) -> bytes:
    return http(*headers, status=f"HTTP/1.1 {code} So", body=body)


_STATUSES = {
    "200-empty": Odd(status(200, body=b""), _FAILED, "not there yet"),
    "200-empty-chunked": Odd(
        http("Transfer-Encoding: chunked", body=b"0\r\n\r\n", length=None), _FAILED, "not there yet"
    ),
    "200-empty-to-close": Odd(http(body=b"", length=None), _FAILED, "not there yet"),
    "200-page": Odd(http("Content-Type: image/jpeg", body=b"<!doctype html>"), body=b"<!doctype html>"),
    "201": Odd(status(201)),
    "202": Odd(status(202, body=b"{}"), _FAILED, "not there yet .status 202"),
    "203": Odd(status(203)),
    "204": Odd(b"HTTP/1.1 204 No Content\r\n\r\n", _FAILED, "not there yet .status 204"),
    "205": Odd(status(205, body=b""), _FAILED, "not there yet"),
    "206-whole": Odd(status(206, f"Content-Range: bytes 0-{len(JPEG) - 1}/{len(JPEG)}")),
    "206-of-unknown-size": Odd(status(206, f"Content-Range: bytes 0-{len(JPEG) - 1}/*")),
    "206-without-range": Odd(status(206)),
    "206-part": Odd(status(206, f"Content-Range: bytes 0-{len(JPEG) - 1}/99999"), _FAILED, "206"),
    "206-end": Odd(status(206, "Content-Range: bytes 100-200/201"), _FAILED, "206"),
    "304": Odd(b"HTTP/1.1 304 Not Modified\r\n\r\n", _REFUSED, "304"),
    "401": Odd(status(401, 'WWW-Authenticate: Basic realm="x"'), errors.AccessDenied, "login"),
    "403": Odd(status(403), errors.AccessDenied, "ENRICH_FETCH__USER_AGENT"),
    "404-broken-body": Odd(http(status="HTTP/1.1 404 No", length=9999), errors.NotFound),
    "406": Odd(status(406), _REFUSED, "406"),
    "408": Odd(status(408), _FAILED),
    "410": Odd(status(410), errors.NotFound),
    "416": Odd(status(416), _REFUSED, "416"),
    "425": Odd(status(425), _FAILED),
    "429": Odd(status(429), _FAILED, "too many requests"),
    "451": Odd(status(451), errors.AccessDenied, "legal"),
    "500": Odd(status(500), _FAILED, "500"),
    "503": Odd(status(503), _FAILED, "503"),
    "101": Odd(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", _REFUSED, "101"),
    "999": Odd(status(999), _FAILED),
}

_REDIRECTS = {
    **{f"redirect-{code}": Odd(redirect("/good", code)) for code in (301, 302, 303, 307, 308)},
    "redirect-relative": Odd(redirect("good")),
    "redirect-dots": Odd(redirect("./a/../../good")),
    "redirect-query": Odd(redirect("/good?a=b c")),
    "redirect-protocol-relative": Odd(lambda request: redirect(f"//{request.headers['host']}/good")),
    "redirect-absolute": Odd(lambda request: redirect(f"HTTP://{request.headers['host']}/good#part two")),
    "redirect-backslash": Odd(redirect("\\good")),
    "redirect-backslash-at-host": Odd(redirect("http://shop.example\\.127.0.0.1/good"), _BLOCKED, "302"),
    "redirect-backslashes": Odd(redirect("\\\\shop.example\\good"), _BLOCKED, "302"),
    "redirect-blanks": Odd(redirect("  /with blank.jpg  ")),
    "redirect-utf-8": Odd(redirect("/größe.jpg")),
    "redirect-utf-8-query": Odd(redirect("/good?größe=ü&x=%C3%BC")),
    "redirect-latin-1": Odd(redirect("/größe.jpg".encode("latin-1"))),
    "redirect-lower-case": Odd(b"HTTP/1.1 302 Found\r\nlocation: /good\r\n\r\n"),
    "redirect-folded": Odd(redirect("\r\n /good")),
    "redirect-without-body": Odd(KeptOpen(redirect("/good").replace(b"Length: 0", b"Length: 900"))),
    "redirect-body-too-short": Odd(redirect("/good").replace(b"Length: 0", b"Length: 900")),
    "redirect-set-cookie": Odd(_cookie_wall),
    "redirect-without-location": Odd(status(302), _REFUSED, "302.*Location"),
    "redirect-empty-location": Odd(redirect(""), _REFUSED, "302.*Location"),
    "redirect-300": Odd(redirect("/good", 300), _REFUSED, "300"),
    "redirect-to-itself": Odd(redirect("/redirect-to-itself"), _REFUSED, "loop.*302"),
    "redirects-nine": Odd(_countdown, _REFUSED, "ENRICH_FETCH__MAX_REDIRECTS"),
    "redirect-to-two": Odd(redirect("/good", 302, "Location: /other"), _REFUSED, "several.*302"),
    "redirect-to-the-same-twice": Odd(redirect("/good", 302, "Location: /good")),
    "redirect-to-ftp": Odd(redirect("ftp://shop.example/a.jpg"), _BLOCKED, "302"),
    "redirect-to-data": Odd(redirect("data:image/gif;base64,R0lGOD"), _BLOCKED),
    "redirect-inside": Odd(redirect("http://10.0.0.1/a.jpg", 307), _BLOCKED, "307.*ENRICH_FETCH__ALLOW_NETWORKS"),
    "redirect-to-no-host": Odd(redirect("https://"), _BLOCKED),
}

ODD = {**ENCODINGS, **_HEADS, **_LENGTHS, **_STATUSES, **_REDIRECTS}
ANSWERS: dict[str, Answer] = {
    **{f"/{name}": odd.answer for name, odd in ODD.items()},
    "/good": http(),
    "/with%20blank.jpg": http(),
    "/gr%C3%B6%C3%9Fe.jpg": http(),
    "/gr%F6%DFe.jpg": http(),
    "/cookie-wall": _cookie_wall,
}
