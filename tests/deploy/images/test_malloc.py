"""Every process that runs a worker has malloc's settings in its environment, and they are the same everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cli.local.environment import lane_environment
from tests.deploy.kubernetes.manifests import OVERLAYS, find, render, variables_of
from tests.processes import ROOT
from worker.process.memory import MALLOC_DEFAULTS, allocator_environment

SETTINGS = set(MALLOC_DEFAULTS.items())


def test_the_image_has_them() -> None:
    text = (ROOT / "Dockerfile.worker").read_text(encoding="utf-8")

    assert set(re.findall(r"(MALLOC_\w+)=(\d+)", text)) == SETTINGS


def test_compose_has_them() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for name in ("worker-interactive", "worker-bulk", "worker-gpu-interactive", "worker-gpu-bulk"):
        assert services[name]["environment"].items() >= SETTINGS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_have_them(overlay: str) -> None:
    objects = render(overlay)
    for name in ("worker-interactive", "worker-bulk"):
        assert variables_of(find(objects, "Deployment", name), objects).items() >= SETTINGS


def test_the_lanes_of_enrich_up_have_them_unless_the_user_says_otherwise() -> None:
    assert lane_environment({}, Path("heartbeat")).items() >= SETTINGS
    own = lane_environment({"MALLOC_ARENA_MAX": "7"}, Path("heartbeat"))
    assert own["MALLOC_ARENA_MAX"] == "7"
    assert own["MALLOC_MMAP_THRESHOLD_"] == MALLOC_DEFAULTS["MALLOC_MMAP_THRESHOLD_"]


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has these settings")
def test_a_worker_that_was_started_without_them_sets_them_itself() -> None:
    code = (
        "import numpy, psutil; from worker.process.memory import set_allocator; set_allocator()\n"
        "for _ in range(3): numpy.ones(20 << 20, 'u1')\n"  # by default, freeing these raises the threshold
        "before = psutil.Process().memory_info().rss\n"
        "kept = [numpy.ones(12 << 20, 'u1') for _ in range(8)]; kept.append(numpy.ones(64 << 10, 'u1'))\n"
        "last = kept.pop(); del kept\n"
        "raise SystemExit(psutil.Process().memory_info().rss - before > 24 << 20)\n"
    )
    plain = {name: value for name, value in os.environ.items() if name not in MALLOC_DEFAULTS}

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=plain, check=False).returncode == 0
    assert allocator_environment({}) == dict(MALLOC_DEFAULTS)
