"""Initial weights: of a bundle, of a backbone alone, and of another network (an error)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.bundle import load_bundle
from model.nets.network import AttributeNetwork
from train.engine.loop import load_start_weights
from train.synthetic.tiny import make_tiny_bundle


def tensors_of(bundle: Path) -> dict[str, torch.Tensor]:
    return load_bundle(bundle).weights


def test_a_bundle_gives_its_backbone_and_the_heads_that_fit(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "bundle")
    bundle = load_bundle(folder)
    outputs = {name: len(values) for name, values in bundle.taxonomy.attributes.items()}
    network = AttributeNetwork(bundle.architecture, outputs | {"gender": 99, "words": 7})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_start_weights(network, folder / "weights.safetensors")
    after, given = network.state_dict(), tensors_of(folder)
    assert all(torch.equal(after[name], given[name]) for name in after if name.startswith("backbone."))
    assert torch.equal(after["heads.articleType.weight"], given["heads.articleType.weight"])
    assert torch.equal(after["heads.gender.weight"], before["heads.gender.weight"])


def test_a_bare_backbone_under_timms_names(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "bundle")
    given = {name.removeprefix("backbone."): t for name, t in tensors_of(folder).items() if "backbone." in name}
    save_file(given, tmp_path / "backbone.safetensors")
    network = AttributeNetwork(load_bundle(folder).architecture, {"a": 2})
    load_start_weights(network, tmp_path / "backbone.safetensors")
    assert all(torch.equal(network.state_dict()[f"backbone.{name}"], tensor) for name, tensor in given.items())


def test_another_network_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "bundle")
    save_file({"stem.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    network = AttributeNetwork(load_bundle(folder).architecture, {"a": 2})
    with pytest.raises(ValueError, match=r"other\.safetensors lacks \d+ backbone weights"):
        load_start_weights(network, tmp_path / "other.safetensors")
