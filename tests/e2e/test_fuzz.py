"""Short version of `make fuzz`: hostile URLs, images and requests.

Its huge pictures are in `tests/unit/worker/image/test_memory.py`.
"""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_hostile_input_breaks_nothing() -> None:
    figures, faults = run(seed=7, images=300, through_worker=24, huge=0, examples=6)
    assert faults == []
    assert figures["addresses"] >= 200
    assert figures["requests"] >= 60
    assert figures["decoded"] > 25
    assert figures["refused"] > 100
