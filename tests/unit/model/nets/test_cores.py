"""The CPU limit of the container, in cgroup v1 and v2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model.nets.cores import available_cores

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("content", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", CORES), ("6400000 100000", CORES)]
)
def test_version_two(tmp_path: Path, content: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(content + "\n")
    assert available_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [(-1, CORES), (100_000, 1), (6_400_000, CORES)])
def test_version_one(tmp_path: Path, quota: int, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(tmp_path) == cores


def test_without_cgroups(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == CORES
