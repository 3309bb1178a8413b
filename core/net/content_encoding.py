"""Undoes the `Content-Encoding` of a body. The bytes decide: the header is often wrong.

Uploads are stored with encodings that mean nothing (`base64`, `aws-chunked`, `UTF-8`, `none`, `image/jpeg`), and
servers announce `gzip` for files that they serve as they are. A body that starts like an image is therefore taken as it
is, and each announced compression is undone only if the bytes show it (RFC 1950 to 1952; RFC 9110, section 8.4).
"""

from __future__ import annotations

import re
import zlib

from core.errors import FetchFailed, FetchRefused, ImageTooLarge

MAX_CODINGS = 5
MAX_GZIP_MEMBERS = 10_000  # enough for block-wise gzip of the largest file; bounds the work for members without content

_GZIP = b"\x1f\x8b"
_SUPPORTED = frozenset({"gzip", "x-gzip", "deflate"})
# Compressions without a decoder here, and the first bytes that prove them. Brotli has none: its name must do.
_UNSUPPORTED = {"br": b"", "zstd": b"\x28\xb5\x2f\xfd", "compress": b"\x1f\x9d", "x-compress": b"\x1f\x9d"}
_IMAGE = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|RIFF....WEBP"
    rb"|II[*+]\0|MM\0[*+]"  # TIFF, BigTIFF
    rb"|....(ftyp|JXL |jP  )"  # AVIF, HEIC, JPEG XL, JPEG 2000
    rb"|BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # BMP with the size of a known header
    re.DOTALL,
)
_GZIP_TRAILER_BYTES = 8
_SLICE_BYTES = 16 * 1024  # zlib copies what follows a member, so it is fed in slices


class _Truncated(Exception):
    """The compressed bytes end too early."""


def decoded(body: bytes, content_encoding: str, max_bytes: int) -> bytes:
    """Returns the body without the compressions that the header announces and the bytes show.

    content_encoding: value of the header, with any number of codings; unknown ones are ignored.

    Raises ImageTooLarge once more than `max_bytes` are decompressed, FetchRefused for a compression that is not
    supported, FetchFailed (retryable) if the compressed body is corrupt or truncated.
    """
    codings = [token.partition(";")[0].strip(" \t\"'").lower() for token in content_encoding.split(",")]
    applied = [coding for coding in codings if coding in _SUPPORTED or coding in _UNSUPPORTED]
    if len(applied) > MAX_CODINGS and not _IMAGE.match(body):
        raise FetchRefused(
            f"The file has more than {MAX_CODINGS} compressions (Content-Encoding): serve it uncompressed."
        )
    for coding in reversed(applied):
        if not body or _IMAGE.match(body):
            break
        body = _without(coding, body, max_bytes)
    return body


def too_large(max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(
        f"The file is larger than {max_bytes} bytes (ENRICH_FETCH__MAX_BYTES): send a smaller version of the image."
    )


def _without(coding: str, body: bytes, max_bytes: int) -> bytes:
    if coding in _UNSUPPORTED and body.startswith(_UNSUPPORTED[coding]):
        raise FetchRefused(
            f"The server compresses the file with `{coding}` (Content-Encoding), which is not supported: "
            "serve the image uncompressed or with `gzip`."
        )
    if body.startswith(_GZIP):
        return _gunzipped(body, max_bytes)
    try:
        if _is_zlib(body):
            return _inflated(memoryview(body), 2, max_bytes)[0]
        plain = _inflated(memoryview(body), 0, max_bytes)[0] if coding == "deflate" else body
    except (zlib.error, _Truncated):
        return body  # the header announces a compression that was not applied
    # Raw deflate has no header, and other bytes may inflate by chance.
    return plain if _IMAGE.match(plain) or plain.startswith(_GZIP) else body


def _is_zlib(body: bytes) -> bool:
    return len(body) > 2 and body[0] & 0x8F == 8 and body[1] & 0x20 == 0 and int.from_bytes(body[:2], "big") % 31 == 0


def _gunzipped(body: bytes, max_bytes: int) -> bytes:
    """Returns the content of all members. Ignores other bytes behind them, and checksums, as browsers do."""
    plain, view, at = bytearray(), memoryview(body), 0
    try:
        for _ in range(MAX_GZIP_MEMBERS):
            content, end = _inflated(view, _end_of_gzip_header(body, at), max_bytes - len(plain))
            plain += content
            at = end + _GZIP_TRAILER_BYTES
            if view[at : at + 2] != _GZIP:
                return bytes(plain)
    except zlib.error:
        raise FetchFailed("The compressed file (Content-Encoding) is corrupt: upload it again.") from None
    except _Truncated:
        raise FetchFailed("The compressed file (Content-Encoding) is truncated: upload it again.") from None
    except ImageTooLarge:
        raise too_large(max_bytes) from None
    raise FetchRefused(f"The compressed file has more than {MAX_GZIP_MEMBERS} members: serve it uncompressed.")


def _end_of_gzip_header(body: bytes, at: int) -> int:
    """Returns where the deflate stream of the member at `at` starts (RFC 1952, section 2.3)."""
    end = at + 10
    flags = body[at + 3] if end <= len(body) else 0
    if flags & 4:  # extra field
        end += 2 + int.from_bytes(body[end : end + 2], "little")
    for flag in (8, 16):  # name, comment
        if flags & flag:
            end = body.find(0, end) + 1 or len(body)
    return end + (2 if flags & 2 else 0)


def _inflated(view: memoryview, at: int, max_bytes: int) -> tuple[bytes, int]:
    """Inflates one raw deflate stream. Returns its content, and where its last byte ends.

    Raises ImageTooLarge, _Truncated, and zlib.error if the bytes are not compressed like that.
    """
    plain, inflater = bytearray(), zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    while not inflater.eof:
        part = view[at : at + _SLICE_BYTES]
        if not part:
            raise _Truncated
        plain += inflater.decompress(part, max_bytes + 1 - len(plain))
        if len(plain) > max_bytes:
            raise too_large(max_bytes)
        at += len(part) - len(inflater.unused_data)
    return bytes(plain), at
