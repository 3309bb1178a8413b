"""Converts every pixel layout to 8-bit RGB in sRGB, with transparent pictures on a plain ground."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from worker.image.color.cicp import CodePoints, Source, profile_of
from worker.image.color.ground import on_ground

Box = tuple[int, int, int, int]

SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_THIRTY_TWO_BIT = frozenset({"I", "F"})
_WITH_ALPHA = {"RGBA": "RGB", "LA": "L"}
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}
_DEFAULT_CMYK = Path(__file__).with_name("cmyk.icc")
# The colour space of a profile (bytes 16 to 19 of its header) and the modes that it describes.
_MODES_BY_SPACE = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}
# A difference that nobody sees: such a profile is sRGB under whatever name.
_SAME = 2
_CACHED_PROFILE_BYTES = 1024 * 1024


def to_rgb(image: Image.Image, source: Source = None, *, frame: Box | None = None) -> Image.Image:
    """Returns the loaded picture in mode RGB, in sRGB.

    source: the description of its colours; see `worker/image/color_source.py`.
    frame: the part of the canvas that the file draws; the rest is transparent.
    Raises ValueError for 32-bit pixels, whose range is unspecified.
    """
    if image.mode in _THIRTY_TWO_BIT:
        raise ValueError("32-bit pixels have no specified range")
    colors, alpha = _split_alpha(image)
    if frame is not None:
        alpha = _limited_to(frame, alpha, image.size)
    colors = _in_srgb(colors, source)
    return colors if alpha is None else on_ground(colors, alpha)


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Returns the colours in mode L, RGB, CMYK, LAB or 16-bit grey, and the alpha channel in mode L, if any."""
    transparency = image.info.get("transparency")
    if image.mode in SIXTEEN_BIT:
        return image, _keyed_alpha(image, transparency)
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    elif image.mode == "PA" or (transparency is not None and image.mode in ("1", "L", "P", "RGB")):
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB"):
        image = image.convert("RGB")
    if image.mode not in _WITH_ALPHA:
        return image, None
    alpha = image.getchannel("A")
    return image.convert(_WITH_ALPHA[image.mode]), None if alpha.getextrema()[0] == 255 else alpha


def _keyed_alpha(image: Image.Image, key: object) -> Image.Image | None:
    if not isinstance(key, int):
        return None
    return Image.fromarray(np.where(_sixteen_bit(image) == key, 0, 255).astype(np.uint8))


def _limited_to(frame: Box, alpha: Image.Image | None, size: tuple[int, int]) -> Image.Image:
    limited = Image.new("L", size, 0)
    limited.paste(255 if alpha is None else alpha.crop(frame), frame)
    return limited


def _in_srgb(image: Image.Image, source: Source) -> Image.Image:
    if isinstance(source, CodePoints):
        source = None if source.is_srgb else profile_of(source, _highest(image) if source.is_hdr else 255)
    if image.mode in ("L", *SIXTEEN_BIT):
        return _gray_in_srgb(image, source)
    profile = source if source is not None and _space(source) == image.mode else _default_profile(image.mode)
    transform = _transform(profile, image.mode) if profile else None
    if transform is None and profile is not None and image.mode == "CMYK":  # the file's own profile is broken
        transform = _transform(_default_profile("CMYK") or b"", "CMYK")
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    return _applied(image, transform)


def _gray_in_srgb(image: Image.Image, source: bytes | None) -> Image.Image:
    """Converts 256 levels instead of all pixels, and interpolates between them for 16 bits."""
    levels = _gray_levels(source)
    if image.mode == "L":
        if levels is None:
            return image.convert("RGB")
        return Image.merge("RGB", [image.point(channel.tolist()) for channel in levels.T])
    pixels = _sixteen_bit(image)
    if levels is None:
        return Image.fromarray((pixels >> 8).astype(np.uint8)).convert("RGB")
    finer = np.interp(np.arange(65536) / 257, np.arange(256), levels[:, 1])
    return Image.fromarray(np.rint(finer).astype(np.uint8)[pixels]).convert("RGB")


def _gray_levels(source: bytes | None) -> npt.NDArray[np.uint8] | None:
    """Returns the sRGB colours of the 256 grey levels, shape (256, 3), or None if they stay as they are."""
    mode = _space(source) if source else None
    if source is None or mode not in ("L", "RGB"):
        return None
    transform = _transform(source, mode)
    if transform is None:
        return None
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels: npt.NDArray[np.uint8] = np.asarray(_applied(ramp.convert(mode), transform))[0]
    return levels


def _sixteen_bit(image: Image.Image) -> npt.NDArray[np.uint16]:
    return np.asarray(image).astype(np.uint16, copy=False)


def _highest(image: Image.Image) -> int:
    """Returns the highest signal in 0..255, without the brightest of 2,000 pixels."""
    if image.mode in SIXTEEN_BIT:
        return int(np.quantile(_sixteen_bit(image), 0.9995)) >> 8
    counts = np.reshape(image.histogram(), (-1, 256))
    allowed = image.width * image.height / 2000
    return max(int(np.argmax(np.cumsum(channel[::-1]) > allowed)) for channel in counts) ^ 0xFF if counts.size else 255


def _space(profile: bytes) -> str | None:
    return _MODES_BY_SPACE.get(profile[16:20])


@functools.cache
def _default_profile(mode: str) -> bytes | None:
    match mode:
        case "CMYK":
            return _DEFAULT_CMYK.read_bytes()
        case "LAB":
            return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return None


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform to sRGB, or None if the profile is sRGB, or broken: such a picture is still usable."""
    if len(profile) > _CACHED_PROFILE_BYTES:
        return _build_transform(profile, mode)
    return _cached_transform(profile, mode)


def _build_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if mode == "RGB" and _changes_nothing(transform) else transform


_cached_transform = functools.lru_cache(maxsize=32)(_build_transform)


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    after = np.asarray(_applied(Image.fromarray(probe.copy()), transform))
    return int(np.abs(after.astype(int) - probe).max()) <= _SAME


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted
