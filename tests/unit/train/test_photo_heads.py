"""Heads for customer photos: fitted near the catalogue's head, and answering only photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model.bundle import Calibration, load_bundle, save_bundle
from model.nets.network import PHOTO_HEAD, PHOTO_PREFIX, AttributeNetwork
from model.taxonomy import Taxonomy
from train.data.dataset import PhotoSplit
from train.data.photos import Photo, gender_masks, read_annotations
from train.heads.calibration import LabelledPhotos, own_photo_factor
from train.probe.logistic import LinearHead
from train.probe.photo_heads import allowed_values, fit_near

GENDERS = ("Boys", "Girls", "Men", "Unisex", "Women")
TAXONOMY = Taxonomy("1", {"gender": GENDERS}, {}, ())
PHOTOS = [Photo(str(n), "train", "s", "Shirt", n == 2) for n in range(3)]


def test_a_label_by_eye_counts_before_what_the_set_says(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("image,split,gender\n0,train,Women|Unisex\n1,train,\n")
    fitting = {"gender": gender_masks(PHOTOS, TAXONOMY)}
    photos = PhotoSplit(
        PHOTOS, np.zeros((3, 1, 1, 3), np.uint8), "gender", fitting, read_annotations(file, PHOTOS, TAXONOMY)
    )

    rows = [
        [value for value, fits in zip(GENDERS, row, strict=True) if fits] for row in allowed_values(photos, "gender")
    ]

    assert rows == [["Unisex", "Women"], ["Men", "Unisex", "Women"], ["Boys", "Girls"]]


def test_the_head_learns_what_the_catalogues_head_has_wrong() -> None:
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(600, 8, generator=random)
    truth = (inputs[:, 0] > 0).long()
    start = LinearHead(torch.zeros(2, 8), torch.tensor([5.0, 0.0]))  # always the first value
    allowed = torch.nn.functional.one_hot(truth, 2).bool().numpy()

    head, held = fit_near(start, inputs, allowed, torch.ones(600), np.arange(600) % 3)

    assert (head.logits(inputs).argmax(dim=1) == truth).float().mean() > 0.95
    assert (held.argmax(dim=1) == truth).float().mean() > 0.9


def test_rows_without_labels_change_nothing() -> None:
    start = LinearHead(torch.randn(2, 4), torch.randn(2))
    allowed = np.zeros((30, 2), dtype=bool)
    allowed[:3, 0] = True

    head, held = fit_near(start, torch.randn(30, 4), allowed, torch.ones(30), np.arange(30) % 3)

    assert held.shape == (30, 2)
    assert head.weight.shape == start.weight.shape
    assert torch.isfinite(head.weight).all()


def network(photo_bias: float) -> AttributeNetwork:
    made = AttributeNetwork(
        "convnext_atto_ols", {"color": 2, PHOTO_HEAD: 1}, companion="convnext_atto_ols", photo_heads=["color"]
    ).eval()
    for part, bias in ((made.heads, [9.0, 0.0]), (made.photo_heads, [0.0, 9.0])):
        torch.nn.init.zeros_(part["color"].weight)
        part["color"].bias.data = torch.tensor(bias)
    made.companion.load_state_dict({**made.companion.state_dict(), **companion_biases()})
    torch.nn.init.zeros_(made.heads[PHOTO_HEAD].weight)
    torch.nn.init.constant_(made.heads[PHOTO_HEAD].bias, photo_bias)
    return made


def companion_biases() -> dict[str, torch.Tensor]:
    width = 320
    weights = {f"{room}color.weight": torch.zeros(2, width) for room in ("heads.", PHOTO_PREFIX)}
    return weights | {
        "heads.color.bias": torch.tensor([9.0, 0.0]),
        f"{PHOTO_PREFIX}color.bias": torch.tensor([0.0, 9.0]),
    }


def test_an_image_is_answered_by_the_head_for_its_kind() -> None:
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        found = {bias: network(bias)(images) for bias in (-1.0, 1.0)}

    assert all(set(logits) == {"color", PHOTO_HEAD} for logits in found.values())
    chances = {bias: logits["color"].softmax(dim=1)[:, 1] for bias, logits in found.items()}
    assert (chances[-1.0] < 0.01).all()
    assert (chances[1.0] > 0.99).all()


def test_a_bundle_keeps_its_heads_for_photos(smoke_run: Path, tmp_path: Path) -> None:
    bundle = load_bundle(smoke_run / "bundle")
    name = next(iter(bundle.taxonomy.attributes))
    for part in ("weight", "bias"):
        bundle.weights[f"{PHOTO_PREFIX}{name}.{part}"] = bundle.weights[f"heads.{name}.{part}"].clone()
    save_bundle(bundle, tmp_path / "saved")

    assert list(load_bundle(tmp_path / "saved").network().photo_heads) == [name]


def labelled(confidence: float, share_right: float, rows: int = 600) -> LabelledPhotos:
    """Photos whose best value has the given logit, and is right for the given share of them."""
    logits = torch.zeros(rows, 3)
    logits[:, 0] = confidence
    fitting = np.zeros((rows, 3), dtype=bool)
    fitting[np.arange(rows), np.where(np.arange(rows) < share_right * rows, 0, 1)] = True
    return LabelledPhotos(logits, fitting, [str(row) for row in range(rows)])


def test_answers_that_keep_their_precision_stay_answered() -> None:
    own = Calibration(temperature=1.0, threshold=0.8, precision=0.9)

    factor = own_photo_factor(own, labelled(4.0, 0.97))

    assert (torch.tensor([4.0, 0.0, 0.0]) / factor).softmax(dim=0)[0] >= 0.8


def test_answers_that_miss_their_precision_are_withheld() -> None:
    own = Calibration(temperature=1.0, threshold=0.8, precision=0.9)

    factor = own_photo_factor(own, labelled(4.0, 0.7) + labelled(4.0, 0.8))

    assert (torch.tensor([4.0, 0.0, 0.0]) / factor).softmax(dim=0)[0] < 0.8
