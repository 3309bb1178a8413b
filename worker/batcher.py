"""The micro-batcher: many threads submit one image each, and one thread runs the model on batches of them.

A batch starts when it is full or when its oldest item has waited `max_wait_ms`, whichever is first. Time spent waiting
for the model counts. One bad item fails alone: if the model raises on a batch, its items are retried one by one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from core.errors import ModelUnavailable

In = TypeVar("In")
Out = TypeVar("Out")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BatchItem(Generic[Out]):
    """The model's output for one item, from a call with `batch_size` items that took `model_ms` milliseconds."""

    output: Out
    batch_size: int
    model_ms: float


@dataclass(frozen=True)
class _Waiting(Generic[In, Out]):
    item: In
    future: Future[BatchItem[Out]]
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[In, Out]):
    """Runs `forward` on batches in a thread of its own.

    forward: takes 1 to `max_batch_size` items and returns one output per item, in order.
    max_wait_ms: maximum batching delay.
    deadline_s: a longer call counts as hung, see `is_hung`. Its thread cannot be stopped.
    """

    def __init__(
        self,
        forward: Callable[[Sequence[In]], list[Out]],
        *,
        max_batch_size: int,
        max_wait_ms: float,
        deadline_s: float,
    ) -> None:
        self._forward = forward
        self._max_batch_size = max_batch_size
        self._max_wait_s = max_wait_ms / 1000
        self._deadline_s = deadline_s
        self._queue: deque[_Waiting[In, Out]] = deque()
        self._running: list[_Waiting[In, Out]] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def submit(self, item: In) -> Future[BatchItem[Out]]:
        """Submits one item. If the model fails on this item alone, the future raises the model's error.

        Raises ModelUnavailable if the batcher is closed or its thread has died.
        """
        waiting: _Waiting[In, Out] = _Waiting(item, Future())
        with self._changed:
            if self._is_closed:
                raise ModelUnavailable("The worker is shutting down.")
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.future

    def close(self, timeout_s: float | None = None) -> None:
        """Refuses new items, finishes the submitted ones, and waits for the thread to end, up to `timeout_s`."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def seconds_busy(self) -> float:
        """Returns the duration of the current model call so far; 0 if there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def is_hung(self, deadline_s: float | None = None) -> bool:
        """Whether the current model call has exceeded its deadline. Only exiting the process ends it."""
        return self.seconds_busy() > (self._deadline_s if deadline_s is None else deadline_s)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._process(batch)
        except BaseException as error:
            log.exception("model_thread_died")
            self._fail_all(error)

    def _next_batch(self) -> list[_Waiting[In, Out]]:
        """Waits for items and returns the next batch; an empty list once the batcher is closed and drained."""
        with self._changed:
            while not self._queue and not self._is_closed:
                self._changed.wait()
            while 0 < len(self._queue) < self._max_batch_size and not self._is_closed:
                left = self._queue[0].since + self._max_wait_s - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            size = min(len(self._queue), self._max_batch_size)
            return [self._queue.popleft() for _ in range(size)]

    def _process(self, batch: list[_Waiting[In, Out]]) -> None:
        self._running = [waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()]
        try:
            if self._running:
                self._answer(self._running)
        except Exception as error:  # noqa: BLE001 - a model error belongs to its items, not to the thread
            log.warning("batch_failed", batch_size=len(self._running), error=repr(error))
            self._answer_one_by_one(self._running, error)

    def _answer_one_by_one(self, batch: list[_Waiting[In, Out]], error: Exception) -> None:
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        for waiting in batch:
            try:
                self._answer([waiting])
            except Exception as own_error:  # noqa: BLE001 - as above
                waiting.future.set_exception(own_error)

    def _answer(self, batch: list[_Waiting[In, Out]]) -> None:
        started = self._busy_since = time.monotonic()
        try:
            outputs = self._forward([waiting.item for waiting in batch])
        finally:
            self._busy_since = None
        model_ms = (time.monotonic() - started) * 1000
        if len(outputs) != len(batch):
            raise ValueError(f"the model returned {len(outputs)} outputs for {len(batch)} items")
        for waiting, output in zip(batch, outputs, strict=True):
            waiting.future.set_result(BatchItem(output, len(batch), model_ms))

    def _fail_all(self, error: BaseException) -> None:
        with self._changed:
            self._is_closed = True
            left, self._queue = [*self._running, *self._queue], deque()
        for waiting in left:
            if not waiting.future.done():
                failure = ModelUnavailable("The model stopped working on this worker.")
                failure.__cause__ = error
                waiting.future.set_exception(failure)
