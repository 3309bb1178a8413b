"""Distillation: soft targets from teacher bundles, the loss, and a student that learns from them alone."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from model.bundle import load_bundle
from model.taxonomy import Taxonomy
from train.data.catalogue import read_catalogue
from train.data.dataset import load_dataset
from train.data.distillation import FEATURES, distillation_loss, soft_targets
from train.data.options import Options
from train.engine import loop
from train.engine.checkpoint import load_options, save_options
from train.synthetic.tiny import make_tiny_bundle


def test_soft_targets_are_the_mean_of_the_teachers_probabilities(catalogue: Path, tmp_path: Path) -> None:
    teachers = [make_tiny_bundle(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
    taxonomy = load_bundle(teachers[0]).taxonomy
    names = [item.image for item in read_catalogue(catalogue)][:5]
    both = soft_targets(teachers, catalogue, names, taxonomy)
    each = [soft_targets([teacher], catalogue, names, taxonomy) for teacher in teachers]
    assert set(both) == {*taxonomy.attributes, FEATURES}
    assert both["gender"].shape == (5, len(taxonomy.attributes["gender"]))
    assert np.allclose(both["gender"], (each[0]["gender"] + each[1]["gender"]) / 2, atol=1e-3)
    assert both[FEATURES].shape[1] == sum(one[FEATURES].shape[1] for one in each)
    assert np.allclose(both[FEATURES].astype(np.float32).mean(axis=1), 0, atol=1e-2)
    assert np.allclose(both["articleType"].astype(np.float32).sum(axis=1), 1, atol=1e-2)


def test_a_teacher_of_another_taxonomy_is_refused(catalogue: Path, tmp_path: Path) -> None:
    teacher = make_tiny_bundle(tmp_path / "teacher")
    other = Taxonomy(version="2", attributes={"material": ("Wool",)}, parents={}, levels=())
    with pytest.raises(ValueError, match="the teacher in teacher has another taxonomy"):
        soft_targets([teacher], catalogue, [], other)


def test_the_least_loss_is_the_entropy_of_the_teacher() -> None:
    soft = {"a": torch.tensor([[0.5, 0.5]])}
    assert float(distillation_loss({"a": torch.zeros(1, 2)}, soft, {"a": 2.0})) == pytest.approx(2 * math.log(2))
    assert float(distillation_loss({"a": torch.tensor([[3.0, 0.0]])}, soft, {"a": 2.0})) > 2 * math.log(2)


def test_a_student_learns_to_predict_what_its_teacher_predicts(smoke_run: Path, tmp_path: Path) -> None:
    """The labels have no weight, so everything is learnt from the teacher."""
    options = dataclasses.replace(
        load_options(smoke_run), out=tmp_path, teachers=(smoke_run / "bundle",), teaching=1.0, word_weight=0.0, epochs=3
    )
    dataset = load_dataset(options, None)
    assert dataset.photo_soft.keys() == {"gender", "articleType", FEATURES}
    student = loop.train(options, dataset)
    logits = loop.compute_logits(student, dataset.train.pixels)["articleType"]
    agrees = logits.argmax(axis=1) == dataset.soft["articleType"].argmax(axis=1)
    assert agrees.mean() > 0.6


def test_teachers_survive_the_runs_file(tmp_path: Path) -> None:
    options = Options(out=tmp_path, data=tmp_path, teachers=(tmp_path / "a", tmp_path / "b"))
    save_options(options)
    assert load_options(tmp_path) == options
