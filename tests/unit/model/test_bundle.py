"""A bundle's round trip through its folder, and a clear error for every kind of damage."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model.bundle import SHIPPED, BundleError, load_bundle, save_bundle
from model.predictor import Predictor
from train.synthetic.tiny import make_tiny_bundle


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def test_a_saved_bundle_is_loaded_unchanged(folder: Path, tmp_path: Path) -> None:
    first = load_bundle(folder)
    save_bundle(first, tmp_path / "again")
    second = load_bundle(tmp_path / "again")
    plain = {field.name for field in dataclasses.fields(first)} - {"weights"}
    assert all(getattr(first, name) == getattr(second, name) for name in plain)
    assert all(torch.equal(tensor, second.weights[name]) for name, tensor in first.weights.items())


def test_the_same_seed_makes_the_same_weights(tmp_path: Path) -> None:
    files = [make_tiny_bundle(tmp_path / str(i), seed) / "weights.safetensors" for i, seed in enumerate((7, 7, 8))]
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()


@pytest.mark.parametrize("name", ["weights.safetensors", "bundle.json", "taxonomy.json", "MODEL_CARD.md"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "taxonomy.json"])
def test_a_changed_byte_is_noticed(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(folder)


def _drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda config: config.pop(key)


@pytest.mark.parametrize(
    "change",
    [
        _drop("version"),
        _drop("sha256"),
        _drop("calibration"),
        lambda config: config.update(format=99),
        lambda config: config.update(size=[96]),
        lambda config: config.update(mean="grey"),
        lambda config: config["calibration"].pop("gender"),
        lambda config: config["calibration"]["gender"].update(surprise=1),
        lambda config: config.update(companion={"architecture": "convnext_atto", "share": 1.5}),
        lambda config: config.update(companion={"share": 0.5}),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "bundle.json").read_text())
    change(config)
    (folder / "bundle.json").write_text(json.dumps(config))
    with pytest.raises(BundleError):
        load_bundle(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_configuration_that_is_no_object_is_refused(folder: Path, content: str) -> None:
    (folder / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(folder)


@pytest.mark.parametrize("architecture", ["convnext_atto_ols", "no_such_network"])
def test_weights_of_another_network_are_refused(folder: Path, architecture: str) -> None:
    config = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(config | {"architecture": architecture}))
    with pytest.raises(BundleError, match=architecture):
        Predictor.load(folder, device="cpu", threads=1)


def test_a_folder_that_is_not_there_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(tmp_path / "nowhere")


def test_no_pickle_is_shipped() -> None:
    assert not {file.suffix for file in SHIPPED.glob("*")} & {".pt", ".pth", ".pkl", ".bin"}
