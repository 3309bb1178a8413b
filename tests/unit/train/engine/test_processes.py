"""One run over two processes, as torchrun starts them: gradients are averaged, one of them writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from train.data.drawn import write_catalogue, write_photos
from train.engine.checkpoint import load_average

LINES = ["--architecture", "test_convnext", "--size", "48", "36", "--epochs", "2", "--batch-size", "16"]


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    data, photos = write_catalogue(tmp_path / "data", rows=120), write_photos(tmp_path / "photos", rows=30)
    given = [
        "--data",
        str(data),
        "--photos",
        str(photos),
        "--out",
        str(tmp_path / "run"),
        "--cache",
        str(tmp_path / "c"),
    ]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "train"]
    done = subprocess.run(
        [*launch, *given, *LINES],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("epoch 2 after") == 1
    assert done.stdout.count("on data, test:") == 1
    assert (tmp_path / "run" / "bundle" / "weights.safetensors").exists()
    assert all(torch.isfinite(tensor).all() for tensor in load_average(tmp_path / "run").values())
    steps = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["clock"][1]
    assert steps == 2 * (80 // (16 * 2))  # two epochs of the 80 training rows, 16 rows a step and process
