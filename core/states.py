"""The states of a job and the lanes it travels in: words that every part shares, without a table or a queue."""

from __future__ import annotations

import enum


class Status(enum.StrEnum):
    """The states of a job: queued → processing → succeeded | failed | canceled."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)


class Lane(enum.StrEnum):
    """Two lanes with a queue and a process each, so that bulk work never delays a person who waits."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
