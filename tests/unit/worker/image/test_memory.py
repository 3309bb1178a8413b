"""Huge pictures of all formats at once take no more memory than the manifests request, and leave none behind."""

from __future__ import annotations

import pytest

from tests import hostile
from tests.fuzz.memory import decode_apart, requested_mib

EACH = 2


@pytest.mark.slow
def test_huge_pictures_at_once_stay_within_the_memory_that_is_requested() -> None:
    memory = decode_apart(EACH)

    assert sum(memory.ended.values()) == EACH * len(hostile.SOLID)
    assert set(memory.ended) == {"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF"}
    assert memory.most_mib < requested_mib()
    assert memory.growth < 0.10
