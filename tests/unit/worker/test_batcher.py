"""Batches form, split on failure, and end; nobody who handed something in is left without an answer."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import pytest

from core.errors import ModelUnavailable
from worker.batcher import Batcher


class Model:
    """Doubles numbers; fails on negative ones; can be held up."""

    def __init__(self):
        self.sizes = []
        self.threads = set()
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def forward(self, items):
        self.entered.set()
        self.go.wait()
        self.sizes.append(len(items))
        self.threads.add(threading.get_ident())
        if any(item == "die" for item in items):
            raise SystemExit("dead")
        if any(item < 0 for item in items):
            raise ValueError("negative")
        return [item * 2 for item in items]


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def start(model):
    started = []

    def make(forward=model.forward, **options):
        limits = {"max_batch_size": 4, "max_wait_ms": 5, "deadline_s": 10, **options}
        started.append(Batcher(forward, **limits))
        return started[-1]

    yield make
    model.go.set()
    for batcher in started:
        batcher.close(timeout_s=5)
        assert not batcher.is_alive()


def test_one_item_gets_its_answer(start):
    result = start().submit(21).result(2)

    assert (result.output, result.batch_size) == (42, 1)
    assert result.model_ms >= 0


def test_items_that_come_together_share_a_call(start, model):
    model.go.clear()
    batcher = start()
    first = batcher.submit(0)
    model.entered.wait(2)
    futures = [batcher.submit(number) for number in range(1, 10)]
    model.go.set()

    assert [future.result(2).output for future in (first, *futures)] == [number * 2 for number in range(10)]
    assert model.sizes == [1, 4, 4, 1]
    assert len(model.threads) == 1


def test_a_full_batch_does_not_wait(start):
    batcher = start(max_wait_ms=60_000)
    futures = [batcher.submit(number) for number in range(4)]

    assert {future.result(2).batch_size for future in futures} == {4}


def test_a_lone_item_waits_no_longer_than_told(start):
    started = time.monotonic()
    start(max_wait_ms=50).submit(1).result(2)

    assert 0.04 < time.monotonic() - started < 1


def test_one_bad_item_fails_alone(start, model):
    batcher = start(max_wait_ms=60_000)
    futures = [batcher.submit(number) for number in (1, -1, 2, 3)]

    assert [futures[at].result(2).output for at in (0, 2, 3)] == [2, 4, 6]
    with pytest.raises(ValueError, match="negative"):
        futures[1].result(2)
    assert model.sizes == [4, 1, 1, 1, 1]


def test_too_few_outputs_are_an_error(start):
    batcher = start(lambda items: [], max_wait_ms=0)

    with pytest.raises(ValueError, match="0 outputs for 1"):
        batcher.submit(1).result(2)


def test_canceled_items_are_left_out(start, model):
    model.go.clear()
    batcher = start()
    batcher.submit(0)
    model.entered.wait(2)
    canceled, kept = batcher.submit(1), batcher.submit(2)
    assert canceled.cancel()
    model.go.set()

    assert kept.result(2).batch_size == 1


def test_close_finishes_what_is_in_and_refuses_more(start, model):
    model.go.clear()
    batcher = start(max_wait_ms=60_000)
    futures = [batcher.submit(number) for number in range(6)]
    model.entered.wait(2)
    batcher.close(timeout_s=0)
    model.go.set()

    assert [future.result(2).output for future in futures] == [0, 2, 4, 6, 8, 10]
    with pytest.raises(ModelUnavailable):
        batcher.submit(1)


def test_a_hung_call_is_seen(start, model):
    batcher = start(deadline_s=0.05, max_wait_ms=0)
    assert batcher.seconds_busy() == 0
    model.go.clear()
    batcher.submit(1)
    model.entered.wait(2)
    assert not batcher.is_hung(60)
    time.sleep(0.06)
    assert batcher.seconds_busy() > 0.05
    assert batcher.is_hung()


@pytest.mark.parametrize("is_retry", [False, True])
def test_a_dead_thread_fails_everyone(start, model, is_retry):
    model.go.clear()
    batcher = start(max_batch_size=2)
    first = batcher.submit(-1 if is_retry else 1)
    model.entered.wait(2)
    futures = [batcher.submit(item) for item in ("die", 2, 3, 4)]
    model.go.set()

    _, waiting = wait([first, *futures], timeout=2)
    assert not waiting
    for future in futures:
        with pytest.raises(ModelUnavailable):
            future.result()
    with pytest.raises(ModelUnavailable):
        batcher.submit(1)


def test_many_threads_lose_nothing(start):
    batcher = start(max_batch_size=8, max_wait_ms=1)
    results = {}

    def work(offset):
        for number in range(offset, offset + 50):
            results[number] = batcher.submit(number).result(5).output

    threads = [threading.Thread(target=work, args=(at * 50,)) for at in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: number * 2 for number in range(800)}
