"""Every drawn picture comes out upright, in RGB and with its true size; everything else ends in one of our errors."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from core.errors import (
    ImageTooLarge,
    ImageUndecodable,
    JobError,
    UnsupportedMediaType,
)
from core.settings import DecodeSettings
from tests import pictures
from worker.image.decode import decode

LIMITS = DecodeSettings()
FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF", "avif": "AVIF"}
GREY = {"jpeg_grey", "png_grey_alpha", "png_1bit", "png_16bit_grey", "tiff_16bit"}
SEE_THROUGH = {"png_alpha", "png_palette_transparent", "png_colour_key", "webp_alpha", "avif_alpha"}


def _corners(image):
    width, height = image.size
    points = ((8, 8), (width - 9, 8), (8, height - 9), (width - 9, height - 9))
    return [image.getpixel(point) for point in points]


def _is_near(one, other, by=45):
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", pictures.GOOD)
def test_good_pictures_are_decoded(name):
    decoded = decode(pictures.GOOD[name](), LIMITS)

    assert decoded.image.mode == "RGB"
    assert (decoded.width, decoded.height) == decoded.image.size == (pictures.WIDTH, pictures.HEIGHT)
    assert decoded.format == FORMATS.get(name.split("_")[0], "HEIF")


@pytest.mark.parametrize("name", sorted(set(pictures.GOOD) - GREY))
def test_colours_and_orientation_survive(name):
    corners = _corners(decode(pictures.GOOD[name](), LIMITS).image)

    fields = [*pictures.FIELDS[:3], pictures.WHITE if name in SEE_THROUGH else pictures.FIELDS[3]]
    # Inks are duller than the screen's primaries.
    by = 85 if "cmyk" in name else 45
    assert all(_is_near(corner, expected, by) for corner, expected in zip(corners, fields, strict=True)), corners


@pytest.mark.parametrize("name", ["png_16bit_grey", "tiff_16bit"])
def test_sixteen_bits_are_scaled_not_cut(name):
    image = decode(pictures.GOOD[name](), LIMITS).image

    middle = image.getpixel((pictures.WIDTH // 2, 10))[0]
    assert image.getpixel((0, 10)) == (0, 0, 0)
    assert 120 <= middle <= 136
    assert image.getpixel((pictures.WIDTH - 1, 10)) == (255, 255, 255)


def test_transparent_grey_lies_on_white():
    assert _corners(decode(pictures.GOOD["png_grey_alpha"](), LIMITS).image)[3] == (255, 255, 255)


@pytest.mark.parametrize("name", pictures.BAD)
def test_bad_files_end_in_their_code(name):
    make, code = pictures.BAD[name]

    with pytest.raises(JobError) as caught:
        decode(make(), LIMITS)
    assert caught.value.code == code
    assert not caught.value.retryable
    assert caught.value.message.endswith(".")


def test_empty_file_says_so():
    with pytest.raises(ImageUndecodable, match="empty"):
        decode(b"", LIMITS)


def test_svg_is_named():
    with pytest.raises(UnsupportedMediaType, match="SVG"):
        decode(b"\n  <svg></svg>", LIMITS)


def test_limits_hold_before_decoding():
    data = pictures.jpeg(400, 300)

    with pytest.raises(ImageTooLarge, match="400 x 300"):
        decode(data, DecodeSettings(max_pixels=100_000))
    with pytest.raises(ImageTooLarge, match="side"):
        decode(data, DecodeSettings(max_side=399))
    assert decode(data, DecodeSettings(max_pixels=120_000, max_side=400)).width == 400


@pytest.mark.parametrize("size", [(1800, 2400), (2400, 1800), (900, 900), (3000, 200), (300, 300)])
def test_jpeg_is_reduced_but_stays_twice_the_target(size):
    decoded = decode(pictures.jpeg(*size), LIMITS, target=224)

    assert (decoded.width, decoded.height) == size
    longest = max(decoded.image.size)
    assert min(448, max(size)) <= longest <= max(size)
    assert longest < max(size) or max(size) < 2 * 448
    assert _is_near(_corners(decoded.image)[0], pictures.FIELDS[0])


def test_turned_jpeg_keeps_its_size_when_reduced():
    image = pictures.drawn(1200, 900)
    exif = pictures.Image.Exif()
    exif[pictures.ORIENTATION] = 6
    decoded = decode(pictures.encoded(image, "JPEG", exif=exif), LIMITS, target=100)

    assert (decoded.width, decoded.height) == (900, 1200)
    assert decoded.image.height > decoded.image.width
    assert decoded.image.height < 1200


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_exif_is_no_obstacle():
    data = pictures.jpeg(exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff" + bytes(20))

    assert decode(data, LIMITS).image.size == (pictures.WIDTH, pictures.HEIGHT)


def test_broken_profile_is_no_obstacle():
    data = pictures.jpeg(icc_profile=b"not a profile")

    assert _is_near(_corners(decode(data, LIMITS).image)[0], pictures.FIELDS[0])


@pytest.mark.filterwarnings("ignore::UserWarning")  # in production they do not raise either
@pytest.mark.parametrize("name", pictures.GOOD)
def test_damaged_files_never_raise_anything_else(name):
    chance = random.Random(name)
    whole = pictures.GOOD[name]()
    for _ in range(30):
        damaged = bytearray(whole[: chance.randint(1, len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with suppress(ImageUndecodable, ImageTooLarge, UnsupportedMediaType):
            decode(bytes(damaged), DecodeSettings(max_pixels=1_000_000), target=32)
