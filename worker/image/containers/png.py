"""Walks the chunks of a PNG file (W3C PNG, third edition) and keeps those that a picture needs.

Browsers show a PNG whose text or time chunk is damaged or huge. Pillow refuses it, so only critical chunks and the
orientation reach Pillow; the descriptions of colour are read here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PROFILE_BYTES = 8 * 1024 * 1024
_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf"})
_COLOR = frozenset({b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"})
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


@dataclass(frozen=True)
class PngParts:
    """The parts of a PNG.

    plain: the file without ancillary chunks that no pixel needs.
    color: the contents of the colour chunks by type, the first of each.
    """

    plain: bytes
    color: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def is_gray(self) -> bool:
        """Whether the header's colour type is grey, with or without alpha."""
        return self.plain[25:26] in (b"\0", b"\4")


def read_png(data: bytes) -> PngParts:
    """Returns the parts of a PNG file. Never raises; a broken chunk ends the walk, and the decoder reports it."""
    kept = [SIGNATURE]
    color: dict[bytes, bytes] = {}
    for name, content, raw, is_intact in _chunks(data):
        if name in _COLOR and is_intact:
            color.setdefault(name, content)
        elif name in _KEPT and (is_intact or name in _CRITICAL):
            kept.append(raw)
    kept.append(_IEND)
    return PngParts(b"".join(kept), color)


def profile_in(chunk: bytes) -> bytes | None:
    """Returns the ICC profile of an iCCP chunk, or None if it is damaged or larger than 8 MiB."""
    _, separator, rest = chunk.partition(b"\0")
    if not separator or rest[:1] != b"\0":
        return None
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(rest[1:], MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return None
    return profile if inflater.eof and len(profile) <= MAX_PROFILE_BYTES else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes, bool]]:
    """Yields type, content, the whole chunk, and whether its checksum is right. Stops after IEND."""
    at = len(SIGNATURE)
    view = memoryview(data)
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + size
        if name == b"IEND":
            return
        if end > len(data):
            yield name, b"", bytes(view[at:]), False
            return
        small = name not in _CRITICAL
        content = bytes(view[at + 8 : end - 4]) if small else b""
        is_intact = not small or zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(view[end - 4 : end], "big")
        yield name, content, bytes(view[at:end]), is_intact
        at = end


_IEND = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
