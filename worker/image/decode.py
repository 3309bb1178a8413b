"""Decodes untrusted image files.

Only known formats are opened, sizes are checked before any pixel is decoded, and every decoder error becomes one of
ours. JPEGs are decoded at a reduced size if the model needs no more: decoding and resizing 1800 x 2400 to 224 then
takes a third (textured) to a seventh (flat) of the CPU time.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from dataclasses import dataclass

import pillow_heif
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from core.errors import ImageTooLarge, ImageUndecodable
from core.settings import DecodeSettings
from worker.image.color import to_rgb
from worker.image.formats import format_of

# Importing a plugin registers it with Pillow. Pillow's other readers are never loaded.
_PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# Errors that Pillow, its plugins and their libraries raise on broken files; `zlib`, `struct`, key and index errors come
# from headers with invalid offsets. MemoryError is not among them, because it is not the file's fault.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    BufferError,
    struct.error,
    zlib.error,
    UserWarning,  # Pillow's warnings about a file, in a process that turns warnings into errors
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING = frozenset({5, 6, 7, 8})


@dataclass(frozen=True)
class Decoded:
    """An upright RGB image, possibly at a reduced size.

    width, height: of the original after EXIF orientation, in pixels.
    format: JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF or HEIF.
    """

    image: Image.Image
    width: int
    height: int
    format: str


def decode(data: bytes, limits: DecodeSettings, *, target: int | None = None) -> Decoded:
    """Decodes the first frame or page of an image.

    target: the longest side of the model's input, in pixels. A JPEG may then be decoded at a reduced size, but never
    below twice the target.
    Raises UnsupportedMediaType, ImageTooLarge, ImageUndecodable.
    """
    name = format_of(data)
    _prepare_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as opened:
            width, height = opened.size
            _check_size(width, height, limits)
            if name == "JPEG" and target is not None:
                opened.draft(None, _reduced(width, height, 2 * target))
            opened.load()
            orientation = _orientation(opened)
            image = to_rgb(opened)
            upright = image.transpose(_TURNS[orientation]) if orientation in _TURNS else image.copy()
    except _DECODER_ERRORS:
        raise ImageUndecodable(f"The {name} file is damaged or incomplete: save or upload it again.") from None
    if orientation in _SWAPPING:
        width, height = height, width
    return Decoded(upright, width, height, name)


@functools.cache
def _prepare_pillow() -> None:
    # Our own limits, checked once the header is read, replace Pillow's fixed limit and its warning on stderr.
    Image.MAX_IMAGE_PIXELS = None
    # Decoder threads would compete with ours for cores. Thumbnails may differ from the image.
    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _check_size(width: int, height: int, limits: DecodeSettings) -> None:
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"The picture is {width} x {height}: at most {limits.max_pixels} pixels in all are taken.")
    if max(width, height) > limits.max_side:
        raise ImageTooLarge(f"The picture is {width} x {height}: at most {limits.max_side} pixels a side are taken.")


def _reduced(width: int, height: int, longest: int) -> tuple[int, int]:
    """Returns the size with this longest side. Pillow's `draft` decodes at or above it."""
    factor = min(1.0, longest / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8. Call it after loading: PNG may store it last, Pillow rotates TIFF then."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS:  # an image with broken metadata is still usable
        return 1
    return value if isinstance(value, int) else 1
