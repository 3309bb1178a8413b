"""From a file's bytes to a picture, whatever the bytes are: this is where strangers' files meet C libraries.

Only known formats are opened, sizes are checked before any pixel is decoded, and whatever a decoder raises becomes
one of our errors. JPEGs are decoded at a reduced size where the model needs no more: decoding and resizing
1800 x 2400 to 224 then takes a third (textured) to a seventh (flat) of the CPU time.
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

# Importing a plugin registers it with Pillow; the rest of Pillow's readers are never loaded.
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

# What Pillow, its plugins and the libraries below them are known to raise on broken files; `zlib`, `struct`, key and
# index errors come from headers that point nowhere. MemoryError is not here: that is our machine's trouble.
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
    UserWarning,  # Pillow's doubts about a file, where a process turns warnings into errors
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
    """A picture, upright and in RGB, possibly at a reduced size.

    width, height: of the original after EXIF orientation, in pixels.
    format: JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF or HEIF.
    """

    image: Image.Image
    width: int
    height: int
    format: str


def decode(data: bytes, limits: DecodeSettings, *, target: int | None = None) -> Decoded:
    """Decode the first frame or page of a picture.

    target: the longest side that the model will see, in pixels; a JPEG may then come out smaller than it is, but never
    under twice that.
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
    # Our own limits, checked once the header is read, stand in for Pillow's one fixed size and its warning on stderr.
    Image.MAX_IMAGE_PIXELS = None
    # Threads of its own would fight with ours for the cores; thumbnails may show something else than the picture.
    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _check_size(width: int, height: int, limits: DecodeSettings) -> None:
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"The picture is {width} x {height}: at most {limits.max_pixels} pixels in all are taken.")
    if max(width, height) > limits.max_side:
        raise ImageTooLarge(f"The picture is {width} x {height}: at most {limits.max_side} pixels a side are taken.")


def _reduced(width: int, height: int, longest: int) -> tuple[int, int]:
    """The size with this longest side; Pillow's `draft` then stays at or above it."""
    factor = min(1.0, longest / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. After loading: PNG may hold it at the end, and TIFF is turned by Pillow then."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS:  # a broken note about the camera is no reason to refuse the picture
        return 1
    return value if isinstance(value, int) else 1
