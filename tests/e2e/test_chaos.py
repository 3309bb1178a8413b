"""Short version of `make chaos`: each kind of process is killed once under load, with short leases."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import JobSettings
from tests.chaos.fleet import KINDS
from tests.chaos.run import run, schedule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_nothing_is_lost_stuck_or_written_twice(tmp_path: Path) -> None:
    quick = JobSettings(lease_s=4, renew_every_s=1)
    verdict = run(tmp_path, seed=3, jobs=500, kills=len(KINDS), settings=quick)
    assert verdict.notes == []
    assert verdict.is_kept, verdict.line()
    assert verdict.accepted == 500
    assert verdict.succeeded + verdict.failed == 500
    assert verdict.failed > 30


def test_a_schedule_has_every_kind_in_each_round() -> None:
    assert set(schedule(0, 45)) == set(KINDS)
    assert schedule(1, 10) == schedule(1, 10) != schedule(2, 10)
