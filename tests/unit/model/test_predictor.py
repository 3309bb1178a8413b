"""Answers: one per image with eight keys, consistent with tree and thresholds, independent of the batch."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from model.answer import METADATA_KEYS, Answer
from model.bundle import Calibration, load_bundle
from model.nets.cores import available_cores
from model.predictor import Predictor
from model.preprocessing import Pixels
from model.taxonomy import TREE_LEVELS
from train.data.drawn import COLOURS, TYPES, draw


@pytest.fixture(scope="module")
def pictures(predictor: Predictor) -> list[Pixels]:
    """Every drawn article in every colour, twice."""
    drawn = [draw(name, colour, (180, 240), seed) for seed in range(2) for name in TYPES for colour in COLOURS]
    noise = np.random.default_rng(0).integers(0, 256, (8, *predictor.bundle.size, 3), dtype=np.uint8)
    return [predictor.preprocess(picture) for picture in drawn] + list(noise)


def scores(answer: Answer) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([prediction.score for prediction in answer.predictions.values()])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 40])
def test_an_answer_does_not_depend_on_the_batch(predictor: Predictor, pictures: list[Pixels], size: int) -> None:
    whole = predictor.predict(pictures)
    parts = [answer for i in range(0, len(pictures), size) for answer in predictor.predict(pictures[i : i + size])]
    assert len(parts) == len(pictures)
    for one, other in zip(whole, parts, strict=True):
        assert np.abs(scores(one) - scores(other)).max() < 1e-3
        assert one.metadata == other.metadata


def test_the_keys_are_the_eight_in_their_order(predictor: Predictor, pictures: list[Pixels]) -> None:
    data = json.loads(json.dumps(predictor.predict(pictures[:1])[0].to_json()))
    assert tuple(data["metadata"]) == METADATA_KEYS
    assert set(data["predictions"]) == set(METADATA_KEYS[:-1])
    assert len(METADATA_KEYS) == 8


def test_a_value_is_null_exactly_below_its_threshold(predictor: Predictor, pictures: list[Pixels]) -> None:
    for answer in predictor.predict(pictures):
        for name, prediction in answer.predictions.items():
            best = prediction.alternatives[0]
            assert prediction.score == best.score
            assert prediction.value == (best.value if prediction.score >= prediction.threshold else None)
            assert answer.metadata[name] == prediction.value
            ordered = [other.score for other in prediction.alternatives]
            assert ordered == sorted(ordered, reverse=True)
            assert min(ordered) >= 0
            assert sum(ordered) < 1 + 1e-6


def test_season_always_abstains_in_the_tiny_bundle(predictor: Predictor, pictures: list[Pixels]) -> None:
    assert {answer.metadata["season"] for answer in predictor.predict(pictures)} == {None}


@pytest.mark.parametrize("sharpness", [0.02, 0.2, 1.0])
def test_answers_never_contradict_the_tree(tiny_bundle: Path, pictures: list[Pixels], sharpness: float) -> None:
    """Tree thresholds are above one half and rise towards articleType; the scores' sharpness does not matter."""
    bundle = load_bundle(tiny_bundle)
    thresholds = {"articleType": 0.7, "subCategory": 0.6, "masterCategory": 0.51}
    calibration = {name: Calibration(1 / sharpness, thresholds.get(name, 0.5), 0.9) for name in bundle.calibration}
    predictor = Predictor(dataclasses.replace(bundle, calibration=calibration), torch.device("cpu"))
    for answer in predictor.predict(pictures):
        chain = [answer.metadata[level] for level in TREE_LEVELS]
        answered = [value for value in chain if value is not None]
        assert chain == [None] * (len(chain) - len(answered)) + answered
        for (lower, _), (below, above) in zip(pairwise(TREE_LEVELS), pairwise(chain), strict=True):
            assert below is None or bundle.taxonomy.parents[lower][below] == above


def test_a_level_never_scores_lower_than_the_one_below(predictor: Predictor, pictures: list[Pixels]) -> None:
    for answer in predictor.predict(pictures):
        sure = [answer.predictions[level].score for level in TREE_LEVELS]
        assert sure[0] <= sure[1] + 1e-9
        assert sure[1] <= sure[2] + 1e-9


def test_preprocessing_may_run_in_many_threads(predictor: Predictor) -> None:
    drawn = [draw("Shirts", "Red", (90, 120), seed) for seed in range(32)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(predictor.preprocess, drawn))
    assert all(np.array_equal(a, predictor.preprocess(b)) for a, b in zip(together, drawn, strict=True))


def test_an_empty_batch_gives_no_answers(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


@pytest.mark.parametrize("array", [np.zeros((5, 5, 3), np.uint8), np.zeros((48, 36, 3), np.float32)])
def test_an_array_that_was_not_preprocessed_is_refused(predictor: Predictor, array: Pixels) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        predictor.predict([array])


def test_warming_up_runs_the_network(predictor: Predictor) -> None:
    predictor.warm_up()


def test_the_thread_count_never_exceeds_the_cores(tiny_bundle: Path) -> None:
    before = torch.get_num_threads()
    try:
        Predictor.load(tiny_bundle, device="cpu", threads=10_000)
        assert torch.get_num_threads() == available_cores()
    finally:
        torch.set_num_threads(before)
