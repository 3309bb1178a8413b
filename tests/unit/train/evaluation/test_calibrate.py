"""Metrics compared with small cases computed by hand, and the precision kept by thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from model.bundle import ALWAYS_ABSTAIN, Calibration
from model.taxonomy import TREE_LEVELS
from train.evaluation.calibrate import (
    choose_threshold,
    clopper_pearson_lower,
    effective_rows,
    fit_photo_factor,
    fit_temperature,
    order_tree_thresholds,
)
from train.evaluation.measure import answered, expected_calibration_error, macro_f1


@pytest.mark.parametrize(
    ("correct", "rows", "bound"),
    [(10, 10, 0.7411), (59, 59, 0.9505), (95, 100, 0.8977), (0, 5, 0.0), (8, 10, 0.4931), (1900, 2000, 0.9412)],
)
def test_clopper_pearson_against_the_tables(correct: int, rows: int, bound: float) -> None:
    """Values of scipy.stats.beta.ppf(.05, k, n - k + 1)."""
    assert clopper_pearson_lower(correct, rows) == pytest.approx(bound, abs=2e-4)


def test_the_bound_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = rng.binomial(200, 0.9, size=400)
    broken = np.mean([clopper_pearson_lower(int(hit), 200) > 0.9 for hit in hits])
    assert broken <= 0.09


def test_a_threshold_keeps_its_precision_on_new_rows() -> None:
    rng = np.random.default_rng(1)

    def rows(
        count: int,
    ) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
        confidence = rng.uniform(0.3, 1.0, count)
        return rng.uniform(size=count) < confidence, confidence

    missed = 0
    for _ in range(20):
        threshold = choose_threshold(*rows(1500), np.arange(1500), precision=0.9)
        precision = answered(*rows(20_000), threshold)[1]
        missed += precision is not None and precision < 0.9
    assert missed <= 3


def test_an_unreachable_precision_means_always_abstaining() -> None:
    correct, confidence = np.zeros(500, dtype=bool), np.linspace(0, 1, 500)
    assert choose_threshold(correct, confidence, np.arange(500), 0.9) == ALWAYS_ABSTAIN
    assert choose_threshold(correct[:0], confidence[:0], np.arange(0), 0.9) == ALWAYS_ABSTAIN


def test_too_few_rows_are_no_proof() -> None:
    assert choose_threshold(np.ones(20, dtype=bool), np.full(20, 0.99), np.arange(20), 0.95) == ALWAYS_ABSTAIN


def test_rows_that_fail_together_tell_less() -> None:
    correct = np.repeat(np.arange(100) % 10 > 0, 5)
    assert effective_rows(correct, np.ones(500), np.arange(500)) == pytest.approx(500)
    assert effective_rows(correct, np.ones(500), np.repeat(np.arange(100), 5)) == pytest.approx(100)
    assert choose_threshold(correct, np.full(500, 0.9), np.arange(500), 0.86) < ALWAYS_ABSTAIN
    assert choose_threshold(correct, np.full(500, 0.9), np.repeat(np.arange(100), 5), 0.86) == ALWAYS_ABSTAIN


def test_own_photos_get_the_factor_that_fits_them() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 6)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    allowed = np.eye(6, dtype=bool)[[rng.choice(6, p=row) for row in chances]]
    overconfident, head = (logits * 3 * 0.8).astype(np.float32), Calibration(0.8, 0.5, 0.9)
    assert fit_photo_factor(overconfident, np.ones(4000), allowed, head) == pytest.approx(3, rel=0.08)
    assert fit_photo_factor(overconfident, np.ones(4000), np.ones((4000, 6), dtype=bool), head) == 1.0


def test_an_easy_attribute_is_always_answered_down_to_its_floor() -> None:
    correct, confidence = np.ones(500, dtype=bool), np.linspace(0.2, 1, 500)
    assert choose_threshold(correct, confidence, np.arange(500), 0.95) == 0
    assert choose_threshold(correct, confidence, np.arange(500), 0.95, floor=0.5001) == 0.5001


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_again(true_temperature: float) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(4000, 6)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([rng.choice(6, p=row) for row in chances])
    found = fit_temperature((logits * true_temperature).astype(np.float32), targets, np.arange(4000))
    assert found.temperature == pytest.approx(true_temperature, rel=0.12)
    assert found.softness == pytest.approx(1, abs=0.25)


def test_middling_scores_that_are_too_high_are_softened() -> None:
    """Best scores near 1 are calibrated; scores of .7 are overconfident."""
    rng = np.random.default_rng(4)
    margin = rng.choice([0.85, 5.0], 4000)
    correct = rng.uniform(size=4000) < np.where(margin == 5.0, 0.993, 0.6)
    logits = np.stack([margin, np.zeros(4000)], axis=1).astype(np.float32)
    found = fit_temperature(logits, np.where(correct, 0, 1), np.arange(4000))
    scaled = logits.astype(float) / found.temperature
    best = 1 / (1 + np.exp(-scaled[:, 0]))
    best = 1 / (1 + np.exp(-scaled[:, 0] / found.softness ** (1 - best)))
    assert best[margin == 0.85].mean() == pytest.approx(0.6, abs=0.04)
    assert best[margin == 5.0].mean() == pytest.approx(0.993, abs=0.012)


def test_a_huge_group_does_not_decide_alone() -> None:
    """A thousand rows of one easy product beside a thousand hard ones: the score follows the products."""
    logits = np.tile(np.array([[2.0, 0.0]], dtype=np.float32), (2000, 1))
    targets = np.where((np.arange(2000) < 1000) | (np.arange(2000) % 10 < 6), 0, 1)
    groups = np.where(np.arange(2000) < 1000, 0, np.arange(2000))
    found = fit_temperature(logits, targets, groups)
    unsure = 1 - 1 / (1 + np.exp(-2 / found.temperature))
    score = 1 / (1 + np.exp(-2 / found.temperature / found.softness**unsure))
    assert score == pytest.approx(0.61, abs=0.03)


def test_without_labels_the_scores_are_left_alone() -> None:
    found = fit_temperature(np.zeros((3, 2), dtype=np.float32), np.full(3, -1), np.arange(3))
    assert (found.temperature, found.softness) == (1.0, 1.0)


def test_tree_thresholds_rise_towards_the_leaf() -> None:
    found = order_tree_thresholds(
        {
            "articleType": Calibration(1, 0.55, 0.9),
            "subCategory": Calibration(1, 0.6, 0.95),
            "masterCategory": Calibration(1, 0.7, 0.95),
            "gender": Calibration(1, 0.1, 0.95),
        },
        TREE_LEVELS,
    )
    assert [found[name].threshold for name in ("articleType", "subCategory", "masterCategory")] == [0.7, 0.7, 0.7]
    assert found["gender"].threshold == 0.1


def test_macro_f1_counts_values_of_the_split_only() -> None:
    truth, guesses = ["a", "a", "b", "c"], ["a", "b", "b", "d"]
    assert macro_f1(truth, guesses, 1) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert macro_f1(truth, guesses, 2) == pytest.approx(2 / 3)
    assert macro_f1(truth, guesses, 5) == 0


def test_calibration_error() -> None:
    correct = np.array([True, False] * 50)
    assert expected_calibration_error(correct, np.full(100, 0.5), bins=1) == pytest.approx(0)
    assert expected_calibration_error(correct, np.full(100, 0.9), bins=1) == pytest.approx(0.4)


def test_coverage_and_precision_of_answered_rows() -> None:
    correct, confidence = np.array([True, False, True, True]), np.array([0.9, 0.8, 0.7, 0.1])
    coverage, precision = answered(correct, confidence, 0.7)
    assert coverage == 0.75
    assert precision == pytest.approx(2 / 3)
    assert answered(correct, confidence, 1.01) == (0.0, None)
