"""Pictures in other colour spaces are shown as a colour-managed viewer shows them, in every format and layout."""

from __future__ import annotations

import io
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from core.settings import DecodeSettings
from tests import color_spaces as spaces
from worker.image.color.icc import Parametric, Primaries, gray_profile, rgb_profile
from worker.image.decode import decode

LIMITS = DecodeSettings()
MOST = 6.0
TRUTH = spaces.original()
GRAY_TRUTH = spaces.original_gray()
SRGB = Parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
EMBEDDED = ("adobe", "p3", "prophoto", "linear", "gamma1.4", "bt2020")
LOSSY = {"quality": 95, "subsampling": "4:4:4"}


def profile(name: str) -> bytes:
    space = spaces.SPACES[name]
    return rgb_profile(Primaries(*space.xy), Parametric(space.gamma) if space.gamma else SRGB)


def gray(exponent: float) -> bytes:
    return gray_profile(Parametric(exponent))


def gray_signal(exponent: float):
    return spaces.linear(GRAY_TRUTH) ** (1 / exponent)


def shown(data: bytes) -> Image.Image:
    return decode(data, LIMITS).image


def layouts_with_profile(name: str):
    """Yields a file of each format that can hold the profile, in each of its layouts."""
    pillow_heif.register_heif_opener()
    signal, icc = spaces.encoded(TRUTH, name), profile(name)
    yield "png", spaces.png(signal, spaces.iccp(icc))
    yield "png_16", spaces.png(signal, spaces.iccp(icc), bits=16)
    yield "png_alpha", spaces.png(signal, spaces.iccp(icc), alpha=True)
    yield "png_16_alpha", spaces.png(signal, spaces.iccp(icc), bits=16, alpha=True)
    yield "png_named_srgb", spaces.png(signal, spaces.iccp(icc, b"sRGB IEC61966-2.1"))
    yield "jpeg", spaces.saved(signal, "JPEG", icc_profile=icc, **LOSSY)
    yield "jpeg_progressive", spaces.saved(signal, "JPEG", icc_profile=icc, progressive=True, **LOSSY)
    yield "webp", spaces.saved(signal, "WEBP", icc_profile=icc, lossless=True)
    yield "avif", spaces.saved(signal, "AVIF", icc_profile=icc, **LOSSY)
    yield "heif", spaces.saved(signal, "HEIF", icc_profile=icc, quality=95, chroma=444)
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate"):
        yield f"tiff_{compression}", spaces.saved(signal, "TIFF", icc_profile=icc, compression=compression)


PROFILED = [(name, layout, data) for name in EMBEDDED for layout, data in layouts_with_profile(name)]


@pytest.mark.parametrize(("name", "layout", "data"), PROFILED, ids=[f"{name}-{layout}" for name, layout, _ in PROFILED])
def test_embedded_profiles_are_applied(name, layout, data):
    assert spaces.difference(shown(data), TRUTH) <= MOST


def few_colors():
    """The truth in 200 colours, and the picture of palette indexes."""
    indexed = Image.fromarray(TRUTH).quantize(200)
    return np.asarray(indexed.convert("RGB")), np.asarray(indexed)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("name", EMBEDDED)
def test_palettes_are_converted(name, kind):
    truth, indexes = few_colors()
    signal = spaces.eight_bit(spaces.encoded(truth, name))
    colors = np.zeros((256, 3), np.uint8)
    colors[indexes.ravel()] = signal.reshape(-1, 3)
    image = Image.fromarray(indexes, "P")
    image.putpalette(colors.tobytes())
    stream = io.BytesIO()
    image.save(stream, kind, icc_profile=profile(name))

    assert spaces.difference(shown(stream.getvalue()), truth) <= MOST


def test_a_see_through_palette_is_converted():
    truth, indexes = few_colors()
    signal = spaces.eight_bit(spaces.encoded(truth, "adobe"))
    colors = np.zeros((256, 3), np.uint8)
    colors[indexes.ravel()] = signal.reshape(-1, 3)
    image = Image.fromarray(indexes, "P")
    image.putpalette(colors.tobytes())
    hidden = int(indexes[0, 0])
    stream = io.BytesIO()
    image.save(stream, "PNG", icc_profile=profile("adobe"), transparency=hidden)
    truth = np.where((indexes == hidden)[..., None], 255, truth)

    assert spaces.difference(shown(stream.getvalue()), truth) <= MOST


def gray_layouts(exponent: float):
    signal = gray_signal(exponent)
    icc = gray(exponent)
    yield "png", spaces.png(signal, spaces.iccp(icc))
    yield "png_16", spaces.png(signal, spaces.iccp(icc), bits=16)
    yield "png_alpha", spaces.png(signal, spaces.iccp(icc), alpha=True)
    yield "png_16_alpha", spaces.png(signal, spaces.iccp(icc), bits=16, alpha=True)
    yield "jpeg", spaces.saved(signal, "JPEG", icc_profile=icc, quality=95)
    yield "tiff", spaces.saved(signal, "TIFF", icc_profile=icc)
    sixteen = Image.fromarray(np.rint(signal * 65535).astype(np.uint16))
    stream = io.BytesIO()
    sixteen.save(stream, "TIFF", icc_profile=icc)
    yield "tiff_16", stream.getvalue()
    yield "png_gamma", spaces.png(signal, spaces.gama(exponent))
    yield "png_16_gamma", spaces.png(signal, spaces.gama(exponent), bits=16)


GRAYS = [(exponent, layout, data) for exponent in (1.0, 1.8, 2.8) for layout, data in gray_layouts(exponent)]


@pytest.mark.parametrize(("exponent", "layout", "data"), GRAYS, ids=[f"{e}-{layout}" for e, layout, _ in GRAYS])
def test_gray_profiles_are_applied(exponent, layout, data):
    assert spaces.difference(shown(data), GRAY_TRUTH) <= MOST


def test_a_gray_picture_with_an_rgb_profile_is_converted():
    signal = spaces.linear(GRAY_TRUTH) ** (1 / 1.8)

    assert spaces.difference(shown(spaces.saved(signal, "JPEG", icc_profile=profile("prophoto"))), GRAY_TRUTH) <= MOST


def test_dark_linear_pictures_keep_their_shadows():
    dark = np.rint(TRUTH * 0.35).astype(np.uint8)
    data = spaces.png(spaces.encoded(dark, "linear"), spaces.iccp(profile("linear")), bits=16)

    assert spaces.difference(shown(data), dark) <= MOST


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("name", "chunks"),
    [
        ("p3", [spaces.cicp(12, 13)]),
        ("bt2020", [spaces.cicp(9, 13)]),
        ("bt2020", [spaces.cicp(9, 1)]),
        ("linear", [spaces.cicp(1, 8)]),
        ("pq", [spaces.cicp(9, 16)]),
        ("hlg", [spaces.cicp(9, 18)]),
        ("p3", [spaces.cicp(12, 13), spaces.iccp(b"a broken profile")]),
        ("linear", [spaces.gama(1.0)]),
        ("gamma1.4", [spaces.gama(1.4)]),
        ("adobe", [spaces.gama(2.19921875), spaces.chrm("adobe")]),
        ("p3", [spaces.chrm("p3")]),
        ("prophoto", [spaces.gama(1.8), spaces.chrm("prophoto")]),
        ("srgb", [spaces.chunk(b"sRGB", b"\0"), spaces.gama(1.0)]),
        ("srgb", [spaces.gama(2.2)]),
        ("srgb", [spaces.chunk(b"gAMA", bytes(4))]),
        ("srgb", [spaces.chunk(b"cHRM", bytes(32))]),
        ("srgb", [spaces.iccp(b"\0" * 200)]),
        ("srgb", [spaces.chunk(b"iCCP", b"name without an end")]),
    ],
)
def test_colour_chunks_of_png_are_applied_in_the_order_of_browsers(name, chunks, bits):
    data = spaces.png(spaces.encoded(TRUTH, name), *chunks, bits=bits)

    assert spaces.difference(shown(data), TRUTH) <= MOST


CODE_POINTS = {"p3": (12, 13), "bt2020": (9, 14), "linear": (1, 8), "pq": (9, 16), "hlg": (9, 18), "srgb": (2, 2)}


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("name", CODE_POINTS)
def test_code_points_of_avif_and_heic_are_applied(name, kind):
    pillow_heif.register_heif_opener()
    options = {"quality": 98} | ({"subsampling": "4:4:4"} if kind == "AVIF" else {"chroma": 444})
    data = spaces.with_code_points(spaces.saved(spaces.encoded(TRUTH, name), kind, **options), *CODE_POINTS[name])

    assert spaces.difference(shown(data), TRUTH) <= MOST


def test_highlights_of_hdr_stay_distinct_and_the_rest_as_it_is():
    light = np.linspace(0.0, 4.0, 256)
    ramp = np.repeat(np.repeat(spaces.pq(light)[None, :, None], 64, axis=0), 3, axis=2)
    pixels = np.asarray(shown(spaces.png(ramp, spaces.cicp(9, 16), bits=16)))[32, :, 1].astype(int)

    expected = np.rint(spaces.linear_to_srgb(np.clip(light, 0, 1)) * 255)
    assert np.abs(pixels - expected)[light < 0.7].mean() <= MOST
    assert (np.diff(pixels) >= 0).all()
    assert pixels[60] < pixels[100] < pixels[150] <= pixels[255]
    assert pixels[255] >= 250


def bmp_with(profile_bytes: bytes | None, signal) -> bytes:
    """Returns a BMP with a version 5 header: an embedded profile, or calibrated end points with a gamma of 1.8."""
    pixels = spaces.eight_bit(signal)[::-1, :, ::-1]
    height, width = pixels.shape[:2]
    body = b"".join(row.tobytes() + bytes(-width * 3 % 4) for row in pixels)
    kind = 0x4D424544 if profile_bytes else 0
    red, green, blue = (0.4125, 0.2127, 0.0193), (0.3576, 0.7152, 0.1192), (0.1804, 0.0722, 0.9503)
    fixed = [round(value * 2**30) for value in (*red, *green, *blue)]
    header = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(body), 2835, 2835, 0, 0)
    header += struct.pack("<IIII", 0, 0, 0, 0) + struct.pack("<I", kind) + struct.pack("<9i", *fixed)
    header += struct.pack("<3I", *([round(1.8 * 65536)] * 3))
    header += struct.pack("<IIII", 4, 124 + len(body) if profile_bytes else 0, len(profile_bytes or b""), 0)
    assert len(header) == 124
    return b"BM" + struct.pack("<IHHI", 14 + 124 + len(body), 0, 0, 138) + header + body + (profile_bytes or b"")


def test_the_profile_of_a_bmp_is_applied():
    assert spaces.difference(shown(bmp_with(profile("adobe"), spaces.encoded(TRUTH, "adobe"))), TRUTH) <= MOST


def test_the_calibration_of_a_bmp_is_applied():
    signal = spaces.linear(TRUTH) ** (1 / 1.8)

    assert spaces.difference(shown(bmp_with(None, signal)), TRUTH) <= MOST


def test_a_profile_of_another_kind_of_pixels_is_ignored():
    data = spaces.saved(TRUTH / 255, "PNG", icc_profile=gray(1.0))

    assert spaces.difference(shown(data), TRUTH) <= MOST


def print_profile() -> ImageCms.ImageCmsProfile:
    from worker.image.color import convert

    return ImageCms.ImageCmsProfile(io.BytesIO(convert._DEFAULT_CMYK.read_bytes()))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("has_profile", [True, False])
def test_cmyk_is_shown_as_print_tools_show_it(kind, has_profile):
    # Inks of which any print profile makes nearly the same: paper, 100 % of each ink, and black.
    inks = {(0, 0, 0, 0): (255, 255, 255), (255, 0, 0, 0): (0, 150, 220), (0, 255, 0, 0): (225, 0, 125)}
    inks |= {(0, 0, 255, 0): (250, 235, 0), (0, 255, 255, 0): (225, 30, 40), (0, 0, 0, 255): (35, 30, 32)}
    for ink, expected in inks.items():
        stream = io.BytesIO()
        options = {"icc_profile": print_profile().tobytes()} if has_profile else {}
        Image.new("CMYK", (32, 32), ink).save(stream, kind, **options)
        color = shown(stream.getvalue()).getpixel((16, 16))
        assert max(abs(a - b) for a, b in zip(color, expected, strict=True)) <= 40, (ink, color)


def test_lab_is_converted():
    image = Image.fromarray(TRUTH)
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    stream = io.BytesIO()
    ImageCms.applyTransform(image, to_lab).save(stream, "TIFF")

    assert spaces.difference(shown(stream.getvalue()), TRUTH) <= MOST
