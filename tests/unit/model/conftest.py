"""A tiny seeded bundle and its predictor, on one thread so that a busy machine does not slow the suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.predictor import Predictor
from train.synthetic.tiny import make_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle's folder; tests that damage it copy it first."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def predictor(tiny_bundle: Path) -> Predictor:
    return Predictor.load(tiny_bundle, device="cpu", threads=1)
