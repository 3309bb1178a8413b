"""Parsing `Prefer: wait=N`, see RFC 7240."""

from __future__ import annotations

import pytest

from api.request_parsing import wait_preference


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=10", 10),
        ("Wait=10", 10),
        ('wait="7"', 7),
        ("respond-async, wait=5", 5),
        ("wait = 3 ; strict", 3),
        ("wait=0", 0),
        ("wait=5, wait=9", 5),
        ("", None),
        (None, None),
        ("respond-async", None),
        ("wait", None),
        ("wait=", None),
        ("wait=-1", None),
        ("wait=ten", None),
        ("await=4", None),
        ("wait=99999999999", None),
    ],
)
def test_wait_preferences_are_parsed_and_malformed_ones_ignored(prefer: str | None, seconds: int | None) -> None:
    assert wait_preference(prefer) == seconds
