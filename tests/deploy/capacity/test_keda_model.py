"""KEDA's part: activation, cooldown, what it does and says while Redis is away."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from deploy.capacity.keda import Keda
from deploy.capacity.scaled_object import (
    Counts,
    Fallback,
    ScaledObject,
    find,
)

DATA = Path(__file__).parents[1] / "data" / "scaled_objects.yaml"
EMPTY = {Counts.QUEUED: 0, Counts.UNACKED: 0}


def messages(queued: int = 0, unacked: int = 0) -> dict[Counts, int]:
    return {Counts.QUEUED: queued, Counts.UNACKED: unacked}


@pytest.fixture
def interactive() -> ScaledObject:
    return find([DATA])[0]


@pytest.fixture
def bulk() -> ScaledObject:
    return find([DATA])[1]


def test_one_message_wakes_one_worker(interactive: ScaledObject) -> None:
    assert Keda(interactive).poll(0, EMPTY, 0) == 0
    assert Keda(interactive).poll(0, messages(queued=1), 0) == 1
    assert Keda(interactive).poll(0, messages(unacked=1), 0) == 1, "what is in flight counts as much"
    assert Keda(interactive).poll(0, messages(queued=10_000), 0) == 1, "more is the HPA's affair"


def test_activity_is_the_formula_above_the_activation_target(interactive: ScaledObject) -> None:
    keda = Keda(dataclasses.replace(interactive, activation_target=10))
    assert keda.poll(0, messages(queued=6, unacked=4), 0) == 0
    assert keda.poll(5, messages(queued=7, unacked=4), 0) == 1


def test_zero_comes_only_after_the_cooldown_and_however_many_there_are(interactive: ScaledObject) -> None:
    keda = Keda(interactive)
    keda.poll(0, messages(unacked=1), 3)
    assert keda.poll(300, EMPTY, 3) == 3
    assert keda.poll(600, EMPTY, 3) == 3, "not at the cooldown's end, but after it"
    assert keda.poll(605, EMPTY, 3) == 0
    keda.poll(610, messages(queued=1), 1)
    assert keda.poll(615, EMPTY, 1) == 1, "activity starts the cooldown anew"


def test_workers_that_keda_never_saw_active_go_at_once(interactive: ScaledObject) -> None:
    assert Keda(interactive).poll(0, EMPTY, 2) == 0


def test_a_minimum_is_kept_and_restored(interactive: ScaledObject) -> None:
    keda = Keda(dataclasses.replace(interactive, min_replicas=2))
    assert keda.poll(0, EMPTY, 0) == 2
    assert keda.poll(10_000, EMPTY, 2) == 2
    assert Keda(dataclasses.replace(interactive, min_replicas=2)).poll(0, messages(queued=1), 0) == 2


def test_the_bulk_lane_is_counted_in_images(bulk: ScaledObject) -> None:
    assert Keda(bulk).metric(messages(queued=10, unacked=2), 1) == 12 * 64


def test_without_redis_nothing_goes_to_zero_and_after_the_threshold_the_fallback_is_told(
    interactive: ScaledObject,
) -> None:
    keda = Keda(interactive)
    assert [keda.metric(None, 5) for _ in range(3)] == [None, None, None]
    assert keda.metric(None, 5) == 330 * 2, "as much as asks for the fallback's two replicas"
    assert keda.poll(10_000, None, 5) == 5
    assert keda.metric(messages(queued=4), 5) == 4
    assert keda.metric(None, 5) is None, "one answer, and failures are counted from the beginning"


@pytest.mark.parametrize(
    ("behavior", "replicas"),
    [("static", 2), ("currentReplicas", 5), ("currentReplicasIfHigher", 5), ("currentReplicasIfLower", 2)],
)
def test_the_fallback_s_behaviors(interactive: ScaledObject, behavior: str, replicas: int) -> None:
    keda = Keda(dataclasses.replace(interactive, fallback=Fallback(0, 2, behavior)))
    assert keda.metric(None, 5) == 330 * replicas


def test_a_fallback_in_force_counts_as_activity(interactive: ScaledObject) -> None:
    """A static one even wakes a worker; `currentReplicas` leaves zero at zero."""
    keda = Keda(dataclasses.replace(interactive, fallback=Fallback(2, 1)))
    assert [keda.poll(now, None, 0) for now in (0, 5, 10)] == [0, 0, 1]
    keda = Keda(dataclasses.replace(interactive, fallback=Fallback(2, 1, "currentReplicas")))
    assert [keda.poll(now, None, 0) for now in (0, 5, 10)] == [0, 0, 0]
    assert [keda.poll(now, None, 4) for now in (10_000, 20_000)] == [4, 4]
    assert keda.poll(20_005, EMPTY, 4) == 4, "the cooldown begins with the last poll that was active"


def test_a_fallback_of_no_replicas_takes_no_answer_for_no_work(interactive: ScaledObject) -> None:
    """So does KEDA; a manifest should not say it."""
    keda = Keda(dataclasses.replace(interactive, fallback=Fallback(3, 0)))
    keda.poll(0, messages(queued=1), 1)
    assert keda.poll(300, None, 1) == 1
    assert keda.poll(700, None, 1) == 0
    assert Keda(dataclasses.replace(interactive, fallback=None)).poll(700, None, 1) == 1


def test_cached_metrics_are_those_of_the_last_poll(interactive: ScaledObject) -> None:
    keda = Keda(dataclasses.replace(interactive, uses_cached_metrics=True))
    keda.poll(0, messages(queued=7), 1)
    assert keda.metric(messages(queued=100), 1) == 7
