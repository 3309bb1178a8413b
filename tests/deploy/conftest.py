"""Worker processes for the tests of what KEDA counts while they work."""

from __future__ import annotations

from tests.integration.worker.conftest import bundle, start_worker

__all__ = ["bundle", "start_worker"]
