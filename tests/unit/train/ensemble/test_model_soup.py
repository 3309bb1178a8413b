"""Model soups: averaged weights, unchanged weights, and bundles that cannot be averaged."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from model.bundle import load_bundle
from model.nets.network import PHOTO_HEAD
from tests.unit.train.ensemble.test_companion import with_random_heads
from train.engine.checkpoint import load_options
from train.ensemble.companion import validation_splits
from train.ensemble.model_soup import greedy_soup, interpolate, log_loss
from train.synthetic.tiny import make_tiny_bundle


def test_backbones_and_attribute_heads_are_averaged_and_nothing_else(tmp_path: Path) -> None:
    first, second = (load_bundle(make_tiny_bundle(tmp_path / str(seed), seed)) for seed in (1, 2))
    mean = interpolate(first, second, 0.25)
    for name in ("heads.gender.weight", "backbone.stem.0.weight"):
        assert torch.allclose(mean.weights[name], 0.75 * first.weights[name] + 0.25 * second.weights[name])
    head = f"heads.{PHOTO_HEAD}.weight"
    assert torch.equal(mean.weights[head], first.weights[head])


def test_a_bundle_that_makes_the_mean_worse_is_left_out(smoke_run: Path) -> None:
    trained = load_bundle(smoke_run / "bundle")
    val, _ = validation_splits(trained, load_options(smoke_run), None)
    found = greedy_soup([with_random_heads(trained), trained], val)
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in trained.weights.items())


def test_bundles_that_miss_on_either_side_are_both_averaged_in(smoke_run: Path) -> None:
    trained = load_bundle(smoke_run / "bundle")
    val, _ = validation_splits(trained, load_options(smoke_run), None)
    rng = torch.Generator().manual_seed(0)
    steps = [torch.randn(tensor.shape, generator=rng) for tensor in trained.weights.values()]
    either = [
        dataclasses.replace(
            trained,
            weights={
                name: tensor + sign * step if name.startswith("heads.") else tensor
                for (name, tensor), step in zip(trained.weights.items(), steps, strict=True)
            },
        )
        for sign in (1, -1)
    ]
    found = greedy_soup(either, val)
    assert log_loss(found, val) < min(log_loss(each, val) for each in either)


def test_bundles_that_do_not_fit_together_have_no_mean(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path))
    with pytest.raises(ValueError, match="architectures"):
        interpolate(bundle, dataclasses.replace(bundle, architecture="test_resnet"), 0.5)
    with pytest.raises(ValueError, match="normalise"):
        interpolate(bundle, dataclasses.replace(bundle, mean=(0.5, 0.5, 0.5)), 0.5)
    attributes = bundle.taxonomy.attributes | {"gender": ("Somebody",)}
    other = dataclasses.replace(bundle, taxonomy=dataclasses.replace(bundle.taxonomy, attributes=attributes))
    with pytest.raises(ValueError, match="taxonomies"):
        interpolate(bundle, other, 0.5)
