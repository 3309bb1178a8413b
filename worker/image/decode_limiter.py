"""How many pictures are decoded at once, and whether one of them will not end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from core.jobs.lifecycle import Claim
from worker.process.watchdog import Hang


class DecodeSlots:
    """Decoding is processor work on large buffers: more at once than cores would only cost memory. Thread-safe.

    deadline_s: a picture that takes longer counts as hung, see `hang`; its thread cannot be stopped from inside.
    """

    def __init__(self, count: int, deadline_s: float) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._since: dict[Claim, float] = {}

    @contextlib.contextmanager
    def take(self, claim: Claim) -> Iterator[None]:
        """Waits for a slot, and keeps it for the block. The deadline runs from the block's beginning."""
        with self._free:
            with self._lock:
                self._since[claim] = time.monotonic()
            try:
                yield
            finally:
                with self._lock:
                    del self._since[claim]

    def hang(self) -> Hang | None:
        """The picture that is over its deadline, if there is one: only the end of the process helps then."""
        begun_before = time.monotonic() - self._deadline_s
        with self._lock:
            late = [claim for claim, since in self._since.items() if since < begun_before]
        if not late:
            return None
        return Hang("decode_hangs", {"job_id": str(late[0].id), "request_id": late[0].request_id})
