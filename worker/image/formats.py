"""Detects a file's format by its first bytes. Content types and file names are ignored."""

from __future__ import annotations

import re

from core.errors import ImageUndecodable, UnsupportedMediaType
from worker.image.containers import boxes

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
# The bytes at an offset, and what a file with them is.
_REFUSED = (
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (0, b"PK\x03\x04", "a zip archive or office document"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"II\xbc", "a JPEG XR picture"),
    (0, b"\0\0\x01\0", "an ICO icon"),
    (0, b"\0\0\x02\0", "a CUR cursor"),
    (0, b"icns", "an ICNS icon"),
    (0, b"qoif", "a QOI picture"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"#?RGBE", "a Radiance HDR picture"),
    (0, b"FLIF", "a FLIF picture"),
    (0, b"BPG\xfb", "a BPG picture"),
    (0, b"AT&TFORM", "a DjVu document"),
    (0, b"SIMPLE  =", "a FITS file"),
    (128, b"DICM", "a DICOM file"),
    (0, b"\xd7\xcd\xc6\x9a", "a WMF drawing"),
    (40, b" EMF", "an EMF drawing"),
    (0, b"IIRO", "a raw photo"),
    (0, b"IIU\0", "a raw photo"),
    (0, b"FUJIFILMCCD-RAW", "a raw photo"),
    (0, b"\x0a\x05\x01\x08", "a PCX picture"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (8, b"AVI ", "a video"),
    (0, b"FLV\x01", "a video"),
    (0, b"OggS", "audio or a video"),
    (0, b"\0\0\x01\xba", "a video"),
    (0, b"\0\0\x01\xb3", "a video"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video"),
    (4, b"moov", "a video"),
    (4, b"mdat", "a video"),
    (8, b"WAVE", "audio"),
    (0, b"ID3", "audio"),
    (0, b"fLaC", "audio"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"MZ", "a program"),
    (0, b"\x7fELF", "a program"),
)
_PORTABLE = re.compile(rb"P[1-7]\s")
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2", b"miaf"})
_BASE64 = re.compile(
    rb"(data:[a-z]+/[^,]{0,80},|/9j/|iVBORw0KGgo|R0lGOD[dl]h|UklGR|Qk0[0-9A-Za-z+/]|AAAA[A-Za-z0-9+/]{4}Z0eX)"
)
_MARKUP = re.compile(rb"<[a-z!?/]", re.IGNORECASE)
_JSON = re.compile(rb"[{\[]\s*(\"|\{|\[|\]|\}|[-0-9tfn])")
_BLANK = b"\xef\xbb\xbf \t\r\n"

_MAX_JUNK = 256
# Magic bytes that are long enough to be found by search. JPEG's first marker follows its start at once.
_UNMISTAKABLE = re.compile(
    rb"\xff\xd8\xff[\xc0-\xfe]|\x89PNG\r\n\x1a\n\0\0\0\rIHDR|GIF8[79]a|RIFF....WEBPVP8[ LX]", re.DOTALL
)


def without_leading_junk(data: bytes) -> bytes:
    """Returns the data from the start of the picture on: up to 256 bytes before it, such as a byte order mark, blank
    lines or a multipart header, are skipped."""
    if any(data.startswith(magic) for magic, _ in _MAGIC) or data[4:8] == b"ftyp" or _refused(data):
        return data  # an icon or archive may begin with a picture
    found = _UNMISTAKABLE.search(data, 0, _MAX_JUNK + 32)
    return data[found.start() :] if found and 0 < found.start() <= _MAX_JUNK else data


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
        return "AVIF" if boxes.read_properties(data).codec == "av01" else "HEIF"
    what = "a raw photo" if b"crx " in brands else "a video or another kind of media"
    raise UnsupportedMediaType(f"The file is {what}: {SUPPORTED}")


def _refused(data: bytes) -> str | None:
    return next((name for at, magic, name in _REFUSED if data.startswith(magic, at)), None)


def _described(data: bytes) -> str:
    if name := _refused(data):
        return name
    if _PORTABLE.match(data):
        return "a Netpbm picture"
    start = data[:1024].lstrip(_BLANK)
    if _BASE64.match(start.lstrip(b"\"'")):
        return "base64 text, not the bytes of a picture"
    if _MARKUP.match(start):
        return "an SVG drawing" if b"<svg" in start.lower() else "a web page or XML, not a picture"
    if _JSON.match(start):
        return "JSON"
    if not start:
        return "blank"
    return "text, not a picture" if _is_text(start) else "in an unknown format"


def _is_text(start: bytes) -> bool:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    try:
        text = start.decode("utf-8", "ignore" if len(start) > 1000 else "strict")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
