"""Detects a file's format by its first bytes. Content types and file names are ignored."""

from __future__ import annotations

import re

from core.errors import ImageUndecodable, UnsupportedMediaType

SUPPORTED = "send a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC picture."

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
)
_REFUSED = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a zip archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"{", "JSON"),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_MARKUP = re.compile(rb"<(svg|!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)


def format_of(data: bytes) -> str:
    """Returns Pillow's name of the format: JPEG, PNG, GIF, BMP, TIFF, WEBP, AVIF or HEIF.

    Raises ImageUndecodable for an empty file and UnsupportedMediaType for any other format.
    """
    if not data:
        raise ImageUndecodable("The file is empty: check the address or upload the picture again.")
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _box_format(data)
    raise UnsupportedMediaType(f"The file is {_described(data)}: {SUPPORTED}")


def _box_format(data: bytes) -> str:
    """AVIF and HEIC share MP4's box format and differ in the brands of the first box (ISO 14496-12)."""
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIF_BRANDS:
        return "HEIF"
    raise UnsupportedMediaType(f"The file is a video or another kind of media: {SUPPORTED}")


def _described(data: bytes) -> str:
    for magic, name in _REFUSED:
        if data.startswith(magic):
            return name
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if _MARKUP.match(start):
        return "an SVG drawing" if b"<svg" in start.lower() else "a web page or XML, not a picture"
    return "in an unknown format"
