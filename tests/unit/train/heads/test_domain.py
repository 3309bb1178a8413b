"""Images without a product: their generation, and that a bundle leaves them unanswered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from model.bundle import load_bundle
from model.nets.domain import DomainHead, domain_features
from model.nets.network import AttributeNetwork
from model.predictor import Predictor
from model.scoring import predictions_from
from train.data.drawn import draw
from train.data.nonproducts import (
    TEST_KINDS,
    TRAINING_KINDS,
    Kind,
    draw_kind,
    noise,
)
from train.evaluate import main as evaluate
from train.heads.domain import read_folder
from train.synthetic.tiny import make_tiny_bundle


@pytest.mark.parametrize("kind", [*TRAINING_KINDS.values(), *TEST_KINDS.values()])
def test_a_kind_never_draws_the_same_twice_but_for_its_seed(kind: Kind) -> None:
    first, again, other = (draw_kind(kind, 4, (48, 36), seed) for seed in (1, 1, 2))
    assert first.shape == (4, 48, 36, 3)
    assert (first == again).all()
    assert len({picture.tobytes() for picture in [*first, *other]}) == 8


def test_no_kind_is_used_for_both_training_and_testing() -> None:
    assert not set(TRAINING_KINDS) & set(TEST_KINDS)


def test_stage_maps_do_not_change_the_features() -> None:
    network = AttributeNetwork("test_convnext", {"a": 2}).eval()
    images = torch.randn(3, 3, 48, 36)
    feature_map, maps = network.encode(images, has_maps=True)
    assert torch.allclose(feature_map, network.feature_map(images), atol=1e-5)
    assert len(maps) == 4
    assert domain_features(network.pool(feature_map), maps).shape[1] == network.features + 2 * sum(
        m.shape[1] for m in maps
    )


def test_far_features_saturate() -> None:
    head = DomainHead(3)
    assert torch.equal(head(torch.full((1, 3), 1e6)), head(torch.full((1, 3), 1e9)))


def test_images_without_a_product_are_not_answered(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path, threshold=0.0))
    scores = {name: torch.eye(len(values))[:1].repeat(2, 1) for name, values in bundle.taxonomy.values.items()}
    product, other = predictions_from(scores, bundle.taxonomy, bundle.calibration, torch.tensor([0.1, -0.1]))
    assert product["articleType"].value is not None
    assert {row.value for row in other.values()} == {None}
    assert other["articleType"].alternatives == product["articleType"].alternatives


def test_a_trained_bundle_separates_noise_from_products(smoke_run: Path) -> None:
    predictor = Predictor.load(smoke_run / "bundle", device="cpu", threads=1)
    dots = noise(np.random.default_rng(77), (120, 160))
    product, other = predictor.predict([predictor.preprocess(p) for p in (draw("Shirts", "Red", (180, 240), 5), dots)])
    assert product.in_domain is not None
    assert other.in_domain is not None
    assert product.in_domain > 0.5 > other.in_domain
    assert set(other.metadata.values()) == {None}


def test_a_bundle_without_the_head_takes_everything_for_a_product(tmp_path: Path) -> None:
    predictor = Predictor.load(make_tiny_bundle(tmp_path), device="cpu", threads=1)
    assert predictor.predict([predictor.preprocess(Image.new("RGB", (40, 40)))])[0].in_domain is None


def test_evaluating_on_images_without_a_product(
    smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.evaluate.PICTURES", 20)
    arguments = ["--bundle", str(smoke_run / "bundle"), "--non-products", "--json", str(tmp_path / "figures.json")]
    result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "figures.json").read_text())
    assert (report["rows"], set(report["kinds"])) == (20 * len(TEST_KINDS), set(TEST_KINDS))
    assert report["answered"] <= report["taken"] <= 1


def test_a_folder_of_other_pictures(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    Image.new("L", (30, 20)).save(tmp_path / "below" / "a.png")
    (tmp_path / "notes.txt").write_text("no picture")
    assert read_folder(tmp_path, (48, 36)).shape == (1, 48, 36, 3)
    (tmp_path / "below" / "a.png").unlink()
    with pytest.raises(ValueError, match="has no images"):
        read_folder(tmp_path, (48, 36))
