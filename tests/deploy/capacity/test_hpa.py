"""The HPA's arithmetic against the documented algorithm: its formula, its examples, and its source's corners.

https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/ (called "the page" below) and
`pkg/controller/podautoscaler/{horizontal,replica_calculator}.go`.
"""

from __future__ import annotations

import dataclasses

import pytest

from deploy.capacity.hpa import (
    DOWN_BY_DEFAULT,
    UP_BY_DEFAULT,
    Autoscaler,
    Policy,
    Rules,
    Select,
    Spec,
    recommend,
)

AT_ONCE = dataclasses.replace(DOWN_BY_DEFAULT, stabilization_s=0)
UNLIMITED = Rules((Policy(True, 1_000_000, 15),), 0)


def spec(**changes: object) -> Spec:
    return dataclasses.replace(Spec(min_replicas=1, max_replicas=1000, target=100.0), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "replicas", "wanted"),
    [
        (200, 1, 2),  # the page: 200m against 100m doubles the replicas
        (50, 2, 1),  # the page: 50m against 100m halves them (ceil(2 × 0.25) of the total of 50)
        (301, 1, 4),  # rounded up
        (110, 1, 1),  # the page: no action within a tolerance of 0.1; its edge is within
        (110.2, 1, 2),
        (90, 1, 1),
        (180, 2, 2),  # 180 of 2 × 100 is 0.9
        (179, 2, 2),  # below the tolerance, and ceil(1.79) is still 2
        (1099, 10, 10),
        (1101, 10, 12),
        (0, 5, 0),  # what no limit has lifted yet
    ],
)
def test_an_average_value_asks_for_the_total_over_the_target_rounded_up(
    metric: float, replicas: int, wanted: int
) -> None:
    assert recommend(spec(), metric, replicas, ready=replicas) == wanted


def test_pods_that_still_start_do_not_make_an_average_value_ask_for_more() -> None:
    assert recommend(spec(), 1000, 10, ready=0) == 10
    assert recommend(spec(), 1000, 10, ready=10) == 10


@pytest.mark.parametrize(
    ("metric", "replicas", "ready", "wanted"),
    [(200, 3, 3, 6), (50, 4, 4, 2), (105, 4, 4, 4), (200, 4, 2, 4), (200, 4, 0, 0)],
)
def test_a_value_multiplies_the_ready_pods_by_the_ratio(metric: float, replicas: int, ready: int, wanted: int) -> None:
    assert recommend(spec(is_average=False), metric, replicas, ready) == wanted


def test_a_tolerance_of_one_direction_holds_for_that_direction_alone() -> None:
    careful = spec(up=dataclasses.replace(UP_BY_DEFAULT, tolerance=0.5))
    assert recommend(careful, 149, 1, 1) == 1
    assert recommend(careful, 151, 1, 1) == 2
    assert recommend(careful, 800, 10, 10) == 8


def test_down_by_a_tenth_or_four_pods_a_minute_goes_as_the_page_says() -> None:
    """80 pods, 10 wanted: a tenth of them is the larger change above 40 pods, and is rounded up (7.2 of 72 is 8)."""
    down = Rules((Policy(False, 4, 60), Policy(True, 10, 60)), 0)
    hpa = Autoscaler(spec(down=down))
    replicas, steps = 80, []
    for minute in range(20):
        after = hpa.sync(minute * 60.0 + 1, 1000, replicas, replicas)
        steps.append(replicas - after)
        replicas = after
    assert steps[:5] == [8, 8, 7, 6, 6]
    assert steps[5:7] == [5, 4]
    assert set(steps[7:13]) <= {4, 2}
    assert replicas == 10


def test_several_passes_within_one_period_share_its_allowance() -> None:
    hpa = Autoscaler(spec(up=Rules((Policy(False, 4, 60),), 0)))
    passes = ((0.0, 1), (15.0, 5), (45.0, 5), (61.0, 5))
    assert [hpa.sync(now, 10_000, replicas, replicas) for now, replicas in passes] == [5, 5, 5, 9]


def test_pods_taken_away_within_the_period_may_be_added_again() -> None:
    """The source reckons from the replicas at the period's start: those now, less those added, plus those removed."""
    hpa = Autoscaler(spec(up=Rules((Policy(False, 2, 60),), 0), down=AT_ONCE))
    assert hpa.sync(0, 200, 10, 10) == 2
    assert hpa.sync(15, 2000, 2, 2) == 12


def test_by_default_up_is_the_larger_of_four_pods_and_double_every_15_s() -> None:
    hpa = Autoscaler(spec())
    counts = [1]
    for step in range(5):
        counts.append(hpa.sync(step * 15.0, 1_000_000, counts[-1], counts[-1]))
    assert counts == [1, 5, 10, 20, 40, 80]


@pytest.mark.parametrize(
    ("select", "up", "down"), [(Select.MAX, 20, 0), (Select.MIN, 14, 9), (Select.DISABLED, 10, 10)]
)
def test_the_policy_that_is_selected(select: Select, up: int, down: int) -> None:
    rules = Rules((Policy(False, 4, 60), Policy(True, 100, 60)), 0, select)
    assert Autoscaler(spec(up=rules, down=rules)).sync(0, 100_000, 10, 10) == up
    gentle = Rules((Policy(False, 1, 60), Policy(True, 100, 60)), 0, select)
    assert Autoscaler(spec(min_replicas=0, up=gentle, down=gentle)).sync(0, 0, 10, 10) == down


def test_a_percent_of_one_pod_still_adds_one() -> None:
    assert Autoscaler(spec(up=Rules((Policy(True, 10, 60),), 0))).sync(0, 10_000, 1, 1) == 2


def test_scaling_down_waits_for_the_highest_recommendation_of_the_window_to_pass() -> None:
    hpa = Autoscaler(spec())
    assert hpa.sync(0, 1000, 10, 10) == 10
    assert hpa.sync(15, 200, 10, 10) == 10
    assert hpa.sync(30, 500, 10, 10) == 10
    assert hpa.sync(299, 200, 10, 10) == 10
    assert hpa.sync(301, 200, 10, 10) == 5, "the 10 of the beginning is out of the window, the 5 of 30 s is not"
    assert hpa.sync(331, 200, 5, 5) == 2


def test_scaling_up_waits_for_the_lowest_recommendation_of_its_window() -> None:
    hpa = Autoscaler(spec(up=dataclasses.replace(UNLIMITED, stabilization_s=60)))
    assert hpa.sync(0, 100, 1, 1) == 1
    assert hpa.sync(15, 1000, 1, 1) == 1
    assert hpa.sync(59, 500, 1, 1) == 1
    assert hpa.sync(61, 900, 1, 1) == 5, "the least of 10, 5 and 9"


def test_a_new_hpa_counts_the_replicas_it_finds_as_a_recommendation() -> None:
    hpa = Autoscaler(spec())
    assert hpa.sync(0, 0, 7, 7) == 7
    assert hpa.sync(300, 0, 7, 7) == 1, "at the window's end exactly it no longer counts"


def test_the_limits_hold_and_are_restored() -> None:
    narrow = spec(min_replicas=2, max_replicas=8, down=AT_ONCE)
    assert Autoscaler(narrow).sync(0, 10_000, 7, 7) == 8
    assert Autoscaler(narrow).sync(0, 0, 7, 7) == 2
    assert Autoscaler(narrow).sync(0, 500, 20, 20) == 8, "above the maximum the metric is not even asked"
    assert Autoscaler(narrow).sync(0, 500, 1, 1) == 2


def test_at_zero_replicas_or_without_a_metric_nothing_is_done() -> None:
    assert Autoscaler(spec()).sync(0, 10_000, 0, 0) == 0
    assert Autoscaler(spec()).sync(0, None, 3, 3) == 3
