"""Pictures that are small as files and cost much to decode, drawn by code.

`SOLID` are files that are right in all respects but huge; the HEIC is smaller, as its encoder is slow. `COSTLY` are
files whose headers alone must refuse them.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial

from PIL import Image

from tests import pictures

SIDE = 8832
"""78 megapixels as a square, just below the limit."""

COLOUR = (120, 90, 60)


def solid(kind: str, side: int = SIDE, **options: object) -> bytes:
    return pictures.encoded(Image.new("RGB", (side, side), COLOUR), kind, **options)


def rle_bmp(width: int = SIDE, height: int = SIDE, runs: bytes | None = None) -> bytes:
    """A BMP with 8 bits and runs, which Pillow decodes in Python."""
    row = bytes([255, 1]) * (width // 255) + (bytes([width % 255, 1]) if width % 255 else b"")
    body = runs if runs is not None else (row + b"\0\0") * height + b"\0\1"
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + header + palette + body


def many_scans(scans: int, width: int = 2400, height: int = 2400) -> bytes:
    """A progressive JPEG whose last scan is repeated: a few bytes each, and a pass over all blocks each."""
    data = pictures.encoded(Image.new("RGB", (width, height), COLOUR), "JPEG", progressive=True, quality=50)
    last = data.rindex(b"\xff\xda")
    # The tables of the last scan stand before it; a refinement scan may be repeated for the decoder's sake.
    return data[:last] + data[last:-2] * max(1, scans - data.count(b"\xff\xda") + 1) + b"\xff\xd9"


def png_with(chunks: Sequence[tuple[bytes, bytes]], width: int = 64, height: int = 64) -> bytes:
    """A PNG with further chunks before its pixels."""
    whole = pictures.encoded(Image.new("RGB", (width, height), COLOUR), "PNG")
    at = whole.index(b"IDAT") - 4
    return whole[:at] + b"".join(chunk(*each) for each in chunks) + whole[at:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def tiff_with(entries: dict[int, tuple[int, int, int]], *, is_big: bool = False) -> bytes:
    """A little-endian TIFF of these entries: tag to type, count and value."""
    row, first = ("<HHQQ", "<Q") if is_big else ("<HHLL", "<H")
    head = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if is_big else b"II*\0" + struct.pack("<L", 8)
    body = b"".join(struct.pack(row, tag, *each) for tag, each in sorted(entries.items()))
    return head + struct.pack(first, len(entries)) + body + bytes(8)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def derived(kind: bytes, levels: int, fan: int, side: int = 4000, brand: bytes = b"heic") -> bytes:
    """A HEIC whose first item is derived from the second `fan` times, and so on down to a coded one of `side`²."""
    last = levels + 1
    items = [(number, kind) for number in range(1, last)] + [(last, b"hvc1")]
    infe = [box(b"infe", b"\x02\0\0\0", struct.pack(">HH", number, 0), name, b"\0") for number, name in items]
    refs = [
        box(b"dimg", struct.pack(">HH", number, fan), struct.pack(">H", number + 1) * fan) for number in range(1, last)
    ]
    sizes = [box(b"ispe", bytes(4), struct.pack(">II", edge, edge)) for edge in (64, side)]
    ipma = b"".join(struct.pack(">HBB", number, 1, 2 if number == last else 1) for number, _ in items)
    meta = box(
        b"meta",
        bytes(4),
        box(b"hdlr", bytes(8), b"pict", bytes(13)),
        box(b"pitm", bytes(4), struct.pack(">H", 1)),
        box(b"iinf", bytes(4), struct.pack(">H", len(items)), *infe),
        box(b"iref", bytes(4), *refs),
        box(b"iprp", box(b"ipco", *sizes), box(b"ipma", bytes(4), struct.pack(">I", len(items)), ipma)),
    )
    return box(b"ftyp", brand, bytes(4), b"mif1", brand) + meta


def _jpeg_segments(marker: int, body: bytes, count: int) -> bytes:
    whole = pictures.jpeg()
    return whole[:2] + (bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body) * count + whole[2:]


def _gif_with_blocks(count: int) -> bytes:
    whole = pictures.encoded(pictures.drawn(), "GIF")
    at = 13 + (3 << ((whole[10] & 7) + 1))
    return whole[:at] + b"!\xfe" + b"\x01x" * count + b"\0" + whole[at:]


def _webp_with_chunks(count: int) -> bytes:
    whole = pictures.encoded(pictures.drawn(), "WEBP") + b"junk\0\0\0\0" * count
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def _huge_webp() -> bytes:
    """A canvas of 16384², for which the decoder would take two gigabytes when it opens the file."""
    frame = pictures.encoded(pictures.drawn(), "WEBP")[12:]
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16383).to_bytes(3, "little") * 2
    body = b"WEBP" + canvas + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


_TIFF = {256: (4, 1, 8000), 257: (4, 1, 8000), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}

SOLID: dict[str, Callable[[], bytes]] = {
    "jpeg": partial(solid, "JPEG", quality=50),
    "jpeg_progressive": partial(solid, "JPEG", quality=50, progressive=True),
    "png": partial(solid, "PNG"),
    "gif": lambda: pictures.encoded(Image.new("P", (SIDE, SIDE), 1), "GIF"),
    "bmp": rle_bmp,
    "tiff": partial(solid, "TIFF", compression="tiff_adobe_deflate"),
    "webp": partial(solid, "WEBP", quality=0, method=0),
    "avif": partial(solid, "AVIF", quality=1, speed=10),
    "heic": partial(solid, "HEIF", 6000, quality=1),
}

COSTLY: dict[str, tuple[Callable[[], bytes], str]] = {
    "jpeg_1500_scans": (partial(many_scans, 1500), "image_undecodable"),
    "jpeg_129_scans": (partial(many_scans, 129, 64, 64), "image_undecodable"),
    "jpeg_scans_times_pixels": (partial(many_scans, 100, 5000, 5000), "image_too_large"),
    "jpeg_segments": (partial(_jpeg_segments, 0xFE, b"x", 20_000), "image_undecodable"),
    "jpeg_exif_segments": (partial(_jpeg_segments, 0xE1, b"Exif\0\0" + bytes(900), 20_000), "image_undecodable"),
    "jpeg_photoshop_segments": (
        partial(_jpeg_segments, 0xED, b"Photoshop 3.0\0" + (b"8BIM" + bytes(8)) * 5000, 400),
        "image_undecodable",
    ),
    "jpeg_junk": (lambda: _jpeg_segments(0xFE, b"", 1)[:6] + bytes(10_000_000) + pictures.jpeg(), "image_undecodable"),
    "png_empty_chunks": (lambda: png_with([(b"IDAT", b"")] * 200_000), "image_undecodable"),
    "png_profiles": (
        lambda: png_with([(b"iCCP", b"x\0\0" + zlib.compress(bytes(1_000_000), 9))] * 3000),
        "image_undecodable",
    ),
    "gif_blocks": (partial(_gif_with_blocks, 5_000_000), "image_undecodable"),
    "webp_canvas": (_huge_webp, "image_too_large"),
    "webp_chunks": (partial(_webp_with_chunks, 1_000_000), "image_undecodable"),
    "tiff_strips": (lambda: tiff_with({**_TIFF, 273: (4, 7_000_000, 200)}) + bytes(28_000_000), "image_undecodable"),
    "tiff_entries": (lambda: tiff_with({**_TIFF, **dict.fromkeys(range(400, 9400), (4, 1, 1))}), "image_undecodable"),
    "bigtiff_entries": (
        lambda: tiff_with({**_TIFF, **dict.fromkeys(range(400, 9400), (4, 1, 1))}, is_big=True),
        "image_undecodable",
    ),
    "tiff_tiles": (lambda: tiff_with({**_TIFF, 322: (4, 1, 60_000), 323: (4, 1, 60_000)}), "image_too_large"),
    "heic_grid": (partial(derived, b"grid", 1, 256), "image_too_large"),
    "heic_overlay": (partial(derived, b"iovl", 1, 60_000), "image_too_large"),
    "heic_overlays_of_overlays": (partial(derived, b"iovl", 6, 10), "image_too_large"),
    "heic_identity_chain": (partial(derived, b"iden", 500, 1), "image_undecodable"),
    "avif_grid": (partial(derived, b"grid", 1, 256, brand=b"avif"), "image_too_large"),
    "avif_boxes": (lambda: derived(b"iden", 1, 1, brand=b"avif") + box(b"free") * 200_000, "image_undecodable"),
}


@functools.cache
def solid_file(name: str) -> bytes:
    """The file of `SOLID`, drawn once per process."""
    return SOLID[name]()


def pixels_of(data: bytes) -> int:
    with Image.open(io.BytesIO(data)) as opened:
        return opened.width * opened.height
