"""Intervals by product group: as wide as groups that fail together make them, and no wider."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.train.evaluation.test_report import predictions
from train.evaluation.bootstrap import bootstrap_intervals
from train.evaluation.calibrate import clopper_pearson_lower, clopper_pearson_upper, cluster_numbers


def rows(correct: list[bool], scores: list[float]) -> tuple[list[str], list[str], list[float]]:
    return ["a"] * len(correct), ["a" if each else "b" for each in correct], scores


def test_groups_that_fail_together_make_the_interval_wide() -> None:
    correct = [number % 10 != 0 for number in range(1000)]
    each = predictions(*rows(sorted(correct), [0.9] * 1000))
    alone = bootstrap_intervals(each, np.arange(1000))
    together = bootstrap_intervals(each, np.arange(1000) // 50)
    assert alone.accuracy == pytest.approx((0.9 - 0.0186, 0.9 + 0.0186), abs=0.003)
    assert (together.groups, together.accuracy[1] - together.accuracy[0] > 0.2) == (20, True)


def test_alike_lets_a_group_of_many_rows_count_once() -> None:
    """Eight rows of one group are confidently wrong; the single rows of two other groups are correct."""
    correct, scores = [False] * 8 + [True, True], [0.9] * 8 + [1.0, 1.0]
    found = bootstrap_intervals(predictions(*rows(correct, scores)), cluster_numbers(["big"] * 8 + ["one", "two"]))
    assert found.groups == 3
    assert found.accuracy_alike == pytest.approx(2 / 3)
    assert found.ece_alike == pytest.approx(0.9 / 3)


def test_precision_is_bounded_for_answered_rows_only() -> None:
    correct = [True] * 90 + [False] * 10 + [False] * 100
    each = predictions(*rows(correct, [0.8] * 100 + [0.2] * 100))
    assert bootstrap_intervals(each, np.arange(200)).precision_upper == pytest.approx(clopper_pearson_upper(90, 100))
    nothing = predictions(*rows(correct, [0.2] * 200))
    assert bootstrap_intervals(nothing, np.arange(200)).precision_upper is None


def test_the_upper_bound_mirrors_the_lower() -> None:
    """scipy.stats.beta.ppf(.95, 96, 5) and the like."""
    assert clopper_pearson_upper(95, 100) == pytest.approx(0.9801, abs=2e-4)
    assert clopper_pearson_upper(10, 10) == pytest.approx(1.0)
    assert clopper_pearson_upper(5, 100) == pytest.approx(1 - clopper_pearson_lower(95, 100))
