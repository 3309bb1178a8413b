"""Prefetching keeps items, order and errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from train.data.prefetch import prefetch


def test_the_items_come_in_order() -> None:
    assert list(prefetch(iter(range(100)))) == list(range(100))
    assert list(prefetch(iter([]))) == []


def test_the_next_item_is_made_while_one_is_in_use() -> None:
    is_second_made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        is_second_made.set()
        yield 2

    coming = prefetch(items())
    assert next(coming) == 1
    assert is_second_made.wait(10)


def test_an_error_comes_where_its_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second cannot be read")

    coming = prefetch(items())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="the second cannot be read"):
        next(coming)


def test_an_abandoned_loop_leaves_no_thread() -> None:
    before = threading.active_count()
    coming = prefetch(iter(range(100)))
    next(coming)
    coming.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
