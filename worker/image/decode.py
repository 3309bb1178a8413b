"""Decodes untrusted image files as a browser shows them.

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

from core.errors import ImageUndecodable
from core.settings import DecodeSettings
from worker.image.color.cicp import Source
from worker.image.color.convert import Box, to_rgb
from worker.image.color_source import plain_source, png_source
from worker.image.containers import boxes, jpeg, png, tiff
from worker.image.cost import check_size, count_cost
from worker.image.formats import format_of, without_leading_junk
from worker.image.variants import why_undecodable

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
# Their readers have turned the picture already.
_UPRIGHT = frozenset({"HEIF", "TIFF"})


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


@dataclass(frozen=True)
class _Loaded:
    """The pixels of a file before conversion, with what the file says of them."""

    image: Image.Image
    size: tuple[int, int]
    source: Source
    orientation: int
    frame: Box | None = None
    crop: Box | None = None


def decode(data: bytes, limits: DecodeSettings, *, target: int | None = None) -> Decoded:
    """Decodes the first frame or page of an image.

    target: the longest side of the model's input, in pixels. A JPEG may then be decoded at a reduced size, but never
    below twice the target.
    Raises UnsupportedMediaType, ImageTooLarge, ImageUndecodable.
    """
    data = without_leading_junk(data)
    name = format_of(data)
    count_cost(data, limits)
    _prepare_pillow()
    try:
        loaded = _load(name, data, limits, target)
        image = to_rgb(loaded.image, loaded.source, frame=loaded.frame)
        if loaded.crop is not None:
            image = image.crop(loaded.crop)
        if loaded.orientation in _TURNS:
            image = image.transpose(_TURNS[loaded.orientation])
        image.info.clear()
    except _DECODER_ERRORS:
        raise ImageUndecodable(why_undecodable(name, data)) from None
    width, height = loaded.size[::-1] if loaded.orientation in _SWAPPING else loaded.size
    return Decoded(image, width, height, name)


@functools.cache
def _prepare_pillow() -> None:
    # Our own limits, checked once the header is read, replace Pillow's fixed limit and its warning on stderr.
    Image.MAX_IMAGE_PIXELS = None
    # Decoder threads would compete with ours for cores. Thumbnails may differ from the image.
    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _load(name: str, data: bytes, limits: DecodeSettings, target: int | None) -> _Loaded:
    match name:
        case "PNG":
            return _load_png(data, limits)
        case "JPEG":
            return _load_jpeg(data, limits, target)
        case "AVIF" | "HEIF":
            return _load_boxed(name, data, limits)
    with Image.open(io.BytesIO(data), formats=[name]) as opened:
        check_size(*opened.size, limits)
        frame = _partial_frame(opened) if name == "GIF" else None
        gray = tiff.gray_settings(opened) if name == "TIFF" else None
        # Pillow would turn a TIFF by its XMP data, which no viewer does.
        opened.info.pop("xmp", None)
        opened.load()
        _release_decoder(opened)
        image = tiff.scaled(opened, gray[0], white_is_zero=gray[1]) if gray else opened
        return _Loaded(image, opened.size, plain_source(name, data, opened.info), _orientation(name, opened), frame)


def _load_png(data: bytes, limits: DecodeSettings) -> _Loaded:
    parts = png.read_png(data)
    with Image.open(io.BytesIO(parts.plain), formats=["PNG"]) as opened:
        check_size(*opened.size, limits)
        opened.load()
        # Pillow has no mode for grey with alpha in 16 bits, and returns RGBA.
        image = opened.convert("LA") if parts.is_gray and opened.mode == "RGBA" else opened
        return _Loaded(image, opened.size, png_source(parts.color, image.mode), _orientation("PNG", opened))


def _load_jpeg(data: bytes, limits: DecodeSettings, target: int | None) -> _Loaded:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
        size = opened.size
        check_size(*size, limits)

        def load(file: bytes) -> Image.Image:
            with Image.open(io.BytesIO(file), formats=["JPEG"]) as again:
                return _drafted(again, target)

        try:
            image = _drafted(opened, target)
        except OSError:
            whole = None if jpeg.END in data[-1024:] else jpeg.complete(data, load)
            if whole is None:
                raise
            image = whole
        return _Loaded(image, size, plain_source("JPEG", data, opened.info), _orientation("JPEG", opened))


def _drafted(opened: Image.Image, target: int | None) -> Image.Image:
    if target is not None:
        opened.draft(None, _reduced(*opened.size, 2 * target))
    opened.load()
    return opened


def _load_boxed(name: str, data: bytes, limits: DecodeSettings) -> _Loaded:
    properties = boxes.read_properties(data)
    with Image.open(io.BytesIO(data), formats=[name]) as opened:
        check_size(*opened.size, limits)
        opened.load()
        _release_decoder(opened)
        source = plain_source(name, data, opened.info) or properties.code_points
        # libheif applies the crop itself, libavif leaves it to its callers.
        crop = properties.crop if name == "AVIF" else None
        size = opened.size if crop is None else (crop[2] - crop[0], crop[3] - crop[1])
        return _Loaded(opened, size, source, _orientation(name, opened), crop=crop)


def _release_decoder(opened: Image.Image) -> None:
    """Frees what the decoder of a WebP or AVIF keeps: for a WebP two more images, while colours are converted."""
    vars(opened).pop("_decoder", None)


def _partial_frame(opened: Image.Image) -> Box | None:
    """Returns where a GIF's first frame lies, if it is smaller than the canvas."""
    tiles = getattr(opened, "tile", [])
    whole = (0, 0, *opened.size)
    return next((tile.extents for tile in tiles if tile.extents not in (None, whole)), None)


def _reduced(width: int, height: int, longest: int) -> tuple[int, int]:
    """Returns the size with this longest side. Pillow's `draft` decodes at or above it."""
    factor = min(1.0, longest / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _orientation(name: str, opened: Image.Image) -> int:
    """Returns the orientation, 1 to 8, from EXIF data only: browsers ignore what XMP says of it."""
    stored = opened.info.get("exif")
    if name in _UPRIGHT or not isinstance(stored, bytes):
        return 1
    exif = Image.Exif()
    try:
        exif.load(stored)
        value = exif.get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS:  # an image with broken metadata is still usable
        return 1
    return value if isinstance(value, int) else 1
