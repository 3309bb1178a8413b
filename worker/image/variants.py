"""Explains why a file of a supported format could not be decoded: damaged, or a variant that no decoder here reads."""

from __future__ import annotations

import io
import re
import struct

from PIL import TiffImagePlugin

from worker.image.containers import boxes

_REMEDY = "save it as a plain JPEG or PNG."
_JPEG_FRAMES = {
    0xC3: "lossless coding",
    0xC5: "hierarchical coding",
    0xC6: "hierarchical coding",
    0xC7: "hierarchical coding",
    0xC9: "arithmetic coding",
    0xCA: "arithmetic coding",
    0xCB: "lossless coding",
    0xCD: "hierarchical coding",
    0xCE: "hierarchical coding",
    0xCF: "hierarchical coding",
    0xF7: "JPEG-LS",
}
_MARKER = re.compile(rb"\xff([\xc0-\xfe])")
_TIFF_COMPRESSIONS = {
    6: "old-style JPEG compression",
    7: "JPEG compression of this kind",
    34712: "JPEG 2000 compression",
    34887: "LERC compression",
    50001: "WebP compression",
    50002: "JPEG XL compression",
    52546: "JPEG XL compression",
}
_TIFF_READ = frozenset({1, 2, 3, 4, 5, 8, 32771, 32773, 32946, 34925, 50000})
_TIFF_PHOTOMETRICS = {
    9: "ICC L*a*b* colours",
    10: "ITU L*a*b* colours",
    32803: "raw sensor data",
    34892: "raw sensor data",
}
_TIFF_FORMATS = {2: "signed", 3: "floating-point", 4: "untyped", 5: "complex", 6: "complex"}
_BMP_COMPRESSIONS = {4: "an embedded JPEG", 5: "an embedded PNG", 11: "CMYK", 12: "CMYK", 13: "CMYK"}
_HEIF_CODECS = {
    "avc1": "H.264 coding",
    "j2k1": "JPEG 2000 coding",
    "jpeg": "JPEG coding",
    "unci": "uncompressed pixels",
    "vvc1": "H.266 coding",
    "evc1": "EVC coding",
}


def why_undecodable(name: str, data: bytes) -> str:
    """Returns the sentence for the caller.

    name: of the format, as `worker.image.formats.format_of` returns it.
    """
    try:
        variant = _variant(name, data)
    except (
        ValueError,
        LookupError,
        TypeError,
        SyntaxError,
        OSError,
        ArithmeticError,
        AttributeError,
        struct.error,
        UserWarning,
    ):
        variant = None
    if variant is not None:
        return f"This variant of {name} is not supported ({variant}): {_REMEDY}"
    return f"The {name} file is damaged or incomplete: save or upload it again."


def _variant(name: str, data: bytes) -> str | None:
    match name:
        case "JPEG":
            return _jpeg(data)
        case "TIFF":
            return _tiff(data)
        case "BMP":
            return _bmp(data)
        case "HEIF" | "AVIF":
            return _HEIF_CODECS.get(boxes.read_properties(data).codec)
    return None


def _jpeg(data: bytes) -> str | None:
    at = 2
    while match := _MARKER.search(data, at):
        marker, at = match[1][0], match.end()
        if marker in (0xDA, 0xD9):
            return None
        if marker in _JPEG_FRAMES:
            return _JPEG_FRAMES[marker]
        if marker in (0xC0, 0xC1, 0xC2):
            bits, components = data[at + 2], data[at + 7]
            if bits != 8:
                return f"{bits} bits per channel"
            return f"{components} channels" if components not in (1, 3, 4) else None
        at += int.from_bytes(data[at : at + 2], "big")
    return None


def _tiff(data: bytes) -> str | None:
    file = io.BytesIO(data)
    directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if data[2] == 43 or data[3] == 43 else 8))
    file.seek(directory.next)
    directory.load(file)
    compression = directory.get(259, 1)
    if compression not in _TIFF_READ and compression != 7:
        return _TIFF_COMPRESSIONS.get(compression, f"compression {compression}")
    if (photometric := directory.get(262)) in _TIFF_PHOTOMETRICS:
        return _TIFF_PHOTOMETRICS[photometric]
    bits = directory.get(258, (1,))
    kind = _TIFF_FORMATS.get(directory.get(339, (1,))[0])
    if kind is not None:
        return f"{kind} values of {bits[0]} bits"
    if set(bits) - {1, 2, 4, 8, 16} or len(set(bits)) > 1:
        return f"{', '.join(map(str, bits[:5]))} bits per channel"
    if len(bits) > 1 and bits[0] < 8:
        return f"{len(bits)} channels of {bits[0]} bits"
    if photometric == 8 and bits[0] != 8:
        return f"L*a*b* colours of {bits[0]} bits"
    known = {0: (1,), 1: (1, 2), 2: (3, 4, 5, 6), 3: (1, 2), 5: (4, 5, 6), 6: (3,), 8: (3,)}
    if photometric is None or len(bits) not in known.get(photometric, ()):
        return f"{len(bits)} channels with photometric interpretation {photometric}"
    return f"planar configuration with {bits[0]} bits" if directory.get(284, 1) == 2 and bits[0] != 8 else None


def _bmp(data: bytes) -> str | None:
    size = struct.unpack_from("<I", data, 14)[0]
    if size < 40:
        return None if size == 12 else f"a header of {size} bytes"
    bits, compression = struct.unpack_from("<HI", data, 28)
    if compression in _BMP_COMPRESSIONS:
        return _BMP_COMPRESSIONS[compression]
    return f"{bits} bits per pixel" if bits not in (1, 4, 8, 16, 24, 32) else None
