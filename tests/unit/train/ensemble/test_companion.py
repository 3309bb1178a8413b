"""Companions: the average of two bundles, the companion's weight, and the parts kept from the first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from model.bundle import Bundle, load_bundle, save_bundle
from model.nets.network import PHOTO_HEAD
from model.predictor import Predictor
from train.companion import main
from train.engine.checkpoint import load_options
from train.ensemble.companion import (
    fit_share,
    join,
    validation_splits,
)
from train.synthetic.tiny import make_tiny_bundle
from train.synthetic.tiny_captioner import with_tiny_captioner


def with_random_heads(bundle: Bundle, seed: int = 1) -> Bundle:
    """The same bundle with random heads."""
    random = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(tensor.shape, generator=random) if name.startswith("heads.") else tensor
        for name, tensor in bundle.weights.items()
    }
    return dataclasses.replace(bundle, weights=weights)


def test_probabilities_are_the_weighted_average_of_both(tmp_path: Path) -> None:
    first, second = (load_bundle(make_tiny_bundle(tmp_path / str(seed), seed)) for seed in (1, 2))
    joined = join(first, second)
    assert joined.companion is not None
    joined = dataclasses.replace(joined, companion=dataclasses.replace(joined.companion, share=0.25))
    save_bundle(joined, tmp_path / "joined")
    images = torch.rand(3, 3, *first.size, generator=torch.Generator().manual_seed(3))
    ours, theirs = first.network()(images), second.network()(images)
    both = load_bundle(tmp_path / "joined").network()(images)
    for name in first.taxonomy.attributes:
        expected = 0.75 * ours[name].softmax(dim=1) + 0.25 * theirs[name].softmax(dim=1)
        assert torch.allclose(both[name].softmax(dim=1), expected, atol=1e-5)
    assert torch.equal(both[PHOTO_HEAD], ours[PHOTO_HEAD])


def test_bundles_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path))
    attributes = bundle.taxonomy.attributes | {"gender": ("Somebody",)}
    other = dataclasses.replace(bundle, taxonomy=dataclasses.replace(bundle.taxonomy, attributes=attributes))
    with pytest.raises(ValueError, match="different taxonomies"):
        join(bundle, other)
    with pytest.raises(ValueError, match="normalise"):
        join(bundle, dataclasses.replace(bundle, mean=(0.5, 0.5, 0.5)))
    with pytest.raises(ValueError, match="already has a companion"):
        join(join(bundle, bundle), bundle)


def test_the_share_goes_to_the_one_that_knows_more(smoke_run: Path) -> None:
    trained = load_bundle(smoke_run / "bundle")
    val, _ = validation_splits(trained, load_options(smoke_run), None)
    for first, second, is_right in (
        (trained, with_random_heads(trained), lambda share: share <= 0.2),
        (with_random_heads(trained), trained, lambda share: share >= 0.8),
    ):
        joined = fit_share(join(first, second), val)
        assert joined.companion is not None
        assert is_right(joined.companion.share)


def test_the_command_writes_a_bundle_that_serves(smoke_run: Path, tmp_path: Path) -> None:
    options = load_options(smoke_run)
    trained = load_bundle(smoke_run / "bundle")
    save_bundle(with_tiny_captioner(trained, 0), tmp_path / "first")
    save_bundle(with_random_heads(trained), tmp_path / "second")
    words = ["--bundle", str(tmp_path / "first"), "--companion", str(tmp_path / "second"), "--data", str(options.data)]
    words += [
        "--companion",
        str(smoke_run / "bundle"),
        "--photos",
        str(options.photos),
        "--out",
        str(tmp_path / "joined"),
        "--version",
        "3.2.1",
    ]
    result = CliRunner().invoke(main, [*words, "--pictures", "20"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "model soup: weight 0.1" in result.output
    assert "companion weight 0." in result.output
    bundle = load_bundle(tmp_path / "joined")
    assert (bundle.version, bundle.captioner is not None) == ("3.2.1", True)
    assert "A companion, `" in bundle.card
    assert {"catalogue/val", "photos/test", "captions/test"} <= bundle.metrics.keys()
    blank = np.full((*bundle.size, 3), 255, dtype=np.uint8)
    (answer,) = Predictor(bundle, torch.device("cpu")).predict([blank])
    assert set(answer.metadata) >= {"gender", "articleType", "masterCategory", "productDisplayName"}


def test_a_companion_of_another_taxonomy_is_an_error_without_a_traceback(smoke_run: Path, tmp_path: Path) -> None:
    trained = load_bundle(smoke_run / "bundle")
    attributes = trained.taxonomy.attributes | {"gender": ("Somebody",)}
    other = dataclasses.replace(trained, taxonomy=dataclasses.replace(trained.taxonomy, attributes=attributes))
    save_bundle(other, tmp_path / "other")
    words = [
        "--bundle",
        str(smoke_run / "bundle"),
        "--companion",
        str(tmp_path / "other"),
        "--out",
        str(tmp_path / "x"),
    ]
    result = CliRunner().invoke(main, [*words, "--data", str(load_options(smoke_run).data)])
    assert result.exit_code == 1
    assert "Error: the two bundles have different taxonomies" in result.output
