"""Prefetching of batches in a background thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Yield the items in order; a background thread prepares the next one while the current one is in use.

    An exception of `items` is raised at the position of the item that failed.
    """
    end = object()
    with ThreadPoolExecutor(1, "prefetch") as thread:
        following = thread.submit(next, items, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, items, end)
            yield item  # type: ignore[misc]
