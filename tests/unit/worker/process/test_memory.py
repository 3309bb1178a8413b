"""What the garbage collector leaves alone while a worker runs."""

from __future__ import annotations

import gc

from worker.process.memory import gc_frozen


def test_what_is_loaded_is_not_searched_for_garbage_until_the_end() -> None:
    with gc_frozen():
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0


def test_garbage_that_comes_later_is_collected() -> None:
    with gc_frozen():
        gc.disable()  # an automatic collection in between would take it first
        try:
            for _ in range(100):
                ring: list[object] = []
                ring.append(ring)
            del ring
            assert gc.collect() >= 100
        finally:
            gc.enable()
