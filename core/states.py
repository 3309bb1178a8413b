"""The status and the lane of a job, in a module that imports neither the database nor the queue."""

from __future__ import annotations

import enum


class Status(enum.StrEnum):
    """The status of a job: queued → processing → succeeded | failed | canceled."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)


class Lane(enum.StrEnum):
    """The lane of a job. Each lane has its own queue and worker process, so bulk jobs never delay interactive ones."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
