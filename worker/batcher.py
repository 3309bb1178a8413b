"""The micro-batcher: many threads hand in one picture each, one thread runs the model on what has come together.

A batch starts when it is full or when its oldest item has waited long enough, whichever is first; items that came
while the model was busy have already done their waiting. One bad item fails alone: when the model raises on a batch,
its items are tried again one by one.
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
    """What the model said on one item, in a call of `batch_size` items that took `model_ms` milliseconds."""

    output: Out
    batch_size: int
    model_ms: float


@dataclass(frozen=True)
class _Waiting(Generic[In, Out]):
    item: In
    future: Future[BatchItem[Out]]
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[In, Out]):
    """Runs `forward` on batches, in one thread that it owns.

    forward: takes 1..max_batch_size items, returns one output per item, in their order.
    deadline_s: a call that takes longer counts as hung, see `is_hung`; the thread cannot be stopped from inside.
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
        self._in_hand: list[_Waiting[In, Out]] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def submit(self, item: In) -> Future[BatchItem[Out]]:
        """Hand in one item. The future ends with the model's own error where it fails on this item alone.

        Raises ModelUnavailable when the batcher is closed or its thread has died.
        """
        waiting: _Waiting[In, Out] = _Waiting(item, Future())
        with self._changed:
            if self._is_closed:
                raise ModelUnavailable("The worker is shutting down.")
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.future

    def close(self, timeout_s: float | None = None) -> None:
        """Refuse new items, finish those handed in, end the thread; wait for that at most `timeout_s`."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def seconds_busy(self) -> float:
        """How long the model call in progress has taken so far; 0 when there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def is_hung(self, deadline_s: float | None = None) -> bool:
        """Whether the model call in progress is over its deadline: only the end of the process helps then."""
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
        """Wait for items and take the next batch; an empty one means that the work is over."""
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
        self._in_hand = [waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()]
        try:
            if self._in_hand:
                self._answer(self._in_hand)
        except Exception as error:  # noqa: BLE001 - whatever the model raises belongs to the items, not to the thread
            log.warning("batch_failed", batch_size=len(self._in_hand), error=repr(error))
            self._answer_one_by_one(self._in_hand, error)

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
            raise ValueError(f"the model gave {len(outputs)} outputs for {len(batch)} items")
        for waiting, output in zip(batch, outputs, strict=True):
            waiting.future.set_result(BatchItem(output, len(batch), model_ms))

    def _fail_all(self, error: BaseException) -> None:
        with self._changed:
            self._is_closed = True
            left, self._queue = [*self._in_hand, *self._queue], deque()
        for waiting in left:
            if not waiting.future.done():
                failure = ModelUnavailable("The model stopped working on this worker.")
                failure.__cause__ = error
                waiting.future.set_exception(failure)
