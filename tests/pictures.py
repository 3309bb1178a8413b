"""Pictures drawn by code, in every format and layout that shops send, good and bad.

Each good one shows the same four fields, 120 x 80: red, green over blue, black; so a test can ask for colours and for
which way up it is. `GOOD` maps a name to a function that returns the file; `BAD` adds the error code it must end in.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageDraw, ImageFilter

WIDTH, HEIGHT = 120, 80
FIELDS = ((220, 30, 30), (30, 160, 60), (30, 60, 200), (0, 0, 0))
WHITE = (255, 255, 255)
ORIENTATION = 0x0112


def drawn(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """The four fields: red and green on top, blue and black below."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    x, y = width // 2, height // 2
    boxes = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    for box, colour in zip(boxes, FIELDS, strict=True):
        draw.rectangle(box, fill=colour)
    return image


def photo(width: int = 1800, height: int = 2400, seed: int = 0) -> Image.Image:
    """Something with the detail of a photo, so that a JPEG of it costs what a photo's costs."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    texture = Image.fromarray(noise).resize((width, height)).filter(ImageFilter.GaussianBlur(1))
    return Image.blend(drawn(width, height), texture, 0.35)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    if kind == "HEIF":
        pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(width: int = WIDTH, height: int = HEIGHT, **options: Any) -> bytes:
    return encoded(drawn(width, height), "JPEG", **{"quality": 95, **options})


def turned_jpeg(orientation: int, kind: str = "JPEG") -> bytes:
    """A file whose stored pixels are turned so that EXIF orientation brings the four fields upright again."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpose methods, inverted
    image = drawn() if orientation == 1 else drawn().transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))


def cut_out(mode: str = "RGBA") -> Image.Image:
    """The four fields, the black one fully transparent."""
    image = drawn().convert("RGBA")
    image.paste((0, 0, 0, 0), (WIDTH // 2, HEIGHT // 2, WIDTH, HEIGHT))
    return image.convert(mode)


def sixteen_bit() -> Image.Image:
    """A grey ramp over all of 16 bits, dark on the left."""
    ramp = np.linspace(0, 65535, WIDTH).astype(np.uint16)
    return Image.fromarray(np.tile(ramp, (HEIGHT, 1)))


def sixteen_bit_rgb_png() -> bytes:
    rows = (np.asarray(drawn()).astype(">u2") * 257).astype(">u2")
    raw = b"".join(b"\x00" + row.tobytes() for row in rows)
    return _png(WIDTH, HEIGHT, 16, 2, zlib.compress(raw))


def palette_png(*, is_see_through: bool) -> bytes:
    image = drawn().quantize(8)
    if not is_see_through:
        return encoded(image, "PNG")
    index = image.getpixel((WIDTH - 5, HEIGHT - 5))
    return encoded(image, "PNG", transparency=index)


def colour_key_png() -> bytes:
    """An RGB PNG whose black is declared transparent (tRNS)."""
    return encoded(drawn(), "PNG", transparency=(0, 0, 0))


def with_profile(kind: str) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return encoded(drawn(), kind, icc_profile=profile)


def animated(kind: str) -> bytes:
    later = Image.new("RGB", (WIDTH, HEIGHT), "yellow")
    return encoded(drawn(), kind, save_all=True, append_images=[later])


def giant_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A small file that claims, and truly holds the start of, a huge picture."""
    return _png(width, height, 8, 2, zlib.compress(bytes(1_000_000), 9))


def _png(width: int, height: int, bits: int, colour: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def _half(make: Callable[[], bytes]) -> bytes:
    data = make()
    return data[: len(data) // 2]


GOOD: dict[str, Callable[[], bytes]] = {
    "jpeg": jpeg,
    "jpeg_progressive": partial(jpeg, progressive=True),
    "jpeg_grey": lambda: encoded(drawn().convert("L"), "JPEG", quality=95),
    "jpeg_cmyk": lambda: encoded(drawn().convert("CMYK"), "JPEG", quality=95),
    "jpeg_profile": lambda: with_profile("JPEG"),
    "jpeg_mpo": lambda: animated("MPO"),
    **{f"jpeg_orientation_{turn}": partial(turned_jpeg, turn) for turn in range(1, 9)},
    "png": lambda: encoded(drawn(), "PNG"),
    "png_alpha": lambda: encoded(cut_out(), "PNG"),
    "png_grey_alpha": lambda: encoded(cut_out("LA"), "PNG"),
    "png_palette": lambda: palette_png(is_see_through=False),
    "png_palette_transparent": lambda: palette_png(is_see_through=True),
    "png_colour_key": colour_key_png,
    "png_1bit": lambda: encoded(drawn().convert("1", dither=Image.Dither.NONE), "PNG"),
    "png_16bit_grey": lambda: encoded(sixteen_bit(), "PNG"),
    "png_16bit_rgb": sixteen_bit_rgb_png,
    "png_orientation_6": lambda: turned_jpeg(6, "PNG"),
    "webp": lambda: encoded(drawn(), "WEBP", quality=95),
    "webp_alpha": lambda: encoded(cut_out(), "WEBP", lossless=True),
    "webp_animated": lambda: animated("WEBP"),
    "gif": lambda: encoded(drawn(), "GIF"),
    "gif_animated": lambda: animated("GIF"),
    "bmp": lambda: encoded(drawn(), "BMP"),
    "tiff": lambda: encoded(drawn(), "TIFF"),
    "tiff_lzw": lambda: encoded(drawn(), "TIFF", compression="tiff_lzw"),
    "tiff_cmyk": lambda: encoded(drawn().convert("CMYK"), "TIFF"),
    "tiff_16bit": lambda: encoded(sixteen_bit(), "TIFF"),
    "tiff_pages": lambda: animated("TIFF"),
    "tiff_orientation_6": lambda: turned_jpeg(6, "TIFF"),
    "avif": lambda: encoded(drawn(), "AVIF", quality=90),
    "avif_alpha": lambda: encoded(cut_out(), "AVIF", quality=90),
    "heic": lambda: encoded(drawn(), "HEIF", quality=90),
}

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "image_undecodable"),
    "jpeg_truncated": (lambda: _half(jpeg), "image_undecodable"),
    "jpeg_header_only": (lambda: b"\xff\xd8\xff\xe0", "image_undecodable"),
    "jpeg_garbage": (lambda: b"\xff\xd8\xff" + bytes(range(256)) * 8, "image_undecodable"),
    "png_truncated": (lambda: _half(GOOD["png"]), "image_undecodable"),
    "png_bad_checksum": (lambda: GOOD["png"]().replace(b"IHDR\x00", b"IHDR\x01", 1), "image_undecodable"),
    "webp_truncated": (lambda: _half(GOOD["webp"]), "image_undecodable"),
    "gif_header_only": (lambda: b"GIF89a", "image_undecodable"),
    "tiff_header_only": (lambda: b"II*\x00\x08\x00\x00\x00", "image_undecodable"),
    "avif_truncated": (lambda: _half(GOOD["avif"]), "image_undecodable"),
    "heic_truncated": (lambda: _half(GOOD["heic"]), "image_undecodable"),
    "tiff_float": (lambda: encoded(drawn().convert("F"), "TIFF"), "image_undecodable"),
    "png_giant": (giant_png, "image_too_large"),
    "png_long": (partial(giant_png, 30_000, 2), "image_too_large"),
    "svg": (lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported_media_type"),
    "html": (lambda: b"<!DOCTYPE html><html><body>Not found</body></html>", "unsupported_media_type"),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "unsupported_media_type"),
    "zip": (lambda: b"PK\x03\x04" + bytes(60), "unsupported_media_type"),
    "json": (lambda: b'{"error": "gone"}', "unsupported_media_type"),
    "text": (lambda: b"hello", "unsupported_media_type"),
    "mp4": (lambda: b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "unsupported_media_type"),
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0", "unsupported_media_type"),
    "ico": (lambda: encoded(drawn(64, 64), "ICO"), "unsupported_media_type"),
}
