"""What decoding would cost is counted without decoding, and what would cost too much is refused in milliseconds."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from core.errors import ImageTooLarge, ImageUndecodable, JobError
from core.settings import DecodeSettings
from tests import hostile, pictures
from worker.image.cost import count_cost

LIMITS = DecodeSettings()
BUDGET_S = 0.3
"""Of CPU, for files of up to 32 MB on a busy machine; most take a hundredth."""


@pytest.mark.parametrize("name", pictures.GOOD)
def test_the_size_is_that_of_the_picture(name):
    cost = count_cost(pictures.GOOD[name](), LIMITS)

    assert cost.megapixels * 1e6 == pytest.approx(pictures.WIDTH * pictures.HEIGHT, rel=0.01) or name == "avif_alpha"


def test_an_alpha_plane_counts_as_pixels_too():
    cost = count_cost(pictures.GOOD["avif_alpha"](), LIMITS)

    assert cost.megapixels * 1e6 == 2 * pictures.WIDTH * pictures.HEIGHT


@pytest.mark.parametrize("name", hostile.COSTLY)
def test_costly_files_are_refused_at_once(name):
    make, code = hostile.COSTLY[name]
    data = make()

    started = time.process_time()
    with pytest.raises(JobError) as caught:
        count_cost(data, LIMITS)
    assert time.process_time() - started < BUDGET_S
    assert caught.value.code == code
    assert not caught.value.retryable
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(("scans", "width", "height"), [(10, 8000, 6000), (20, 5000, 4000), (100, 1200, 1600)])
def test_progressive_jpegs_of_real_encoders_are_taken(scans, width, height):
    cost = count_cost(hostile.many_scans(scans, width, height), LIMITS)

    assert cost.passes == scans
    assert cost.megapixels == width * height / 1e6


def test_scans_are_counted_and_named():
    with pytest.raises(ImageUndecodable, match="128 scans"):
        count_cost(hostile.many_scans(1500), LIMITS)
    with pytest.raises(ImageTooLarge, match="5000 x 5000 with 100 scans"):
        count_cost(hostile.many_scans(100, 5000, 5000), LIMITS)


@pytest.mark.parametrize(
    ("name", "is_ordinary"),
    [("jpeg", True), ("jpeg_progressive", True), ("png", True), ("webp", True), ("webp_animated", True)]
    + [(name, False) for name in ("gif", "bmp", "tiff", "avif", "heic")],
)
def test_photos_of_shops_are_ordinary(name, is_ordinary):
    assert count_cost(pictures.GOOD[name](), LIMITS).is_ordinary(LIMITS) is is_ordinary


@pytest.mark.parametrize("data", [pictures.jpeg(6000, 4000), hostile.many_scans(100, 1500, 2000)])
def test_large_and_laborious_jpegs_are_not_ordinary(data):
    assert not count_cost(data, LIMITS).is_ordinary(LIMITS)


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", b"RIFF\0\0\0\0WEBPVP8 "]
)
def test_a_file_that_says_no_size_counts_as_the_largest(data):
    assert count_cost(data, LIMITS).megapixels == LIMITS.max_pixels / 1e6


@pytest.mark.parametrize("data", [b"\xff\xd8\xff" + b"\xff\x00" * 16_000_000, b"\xff\xd8\xff" + b"\xff" * 32_000_000])
def test_the_worst_file_of_the_largest_size_takes_a_second(data):
    started = time.process_time()
    with suppress(ImageUndecodable):
        count_cost(data, LIMITS)
    assert time.process_time() - started < 1.5
