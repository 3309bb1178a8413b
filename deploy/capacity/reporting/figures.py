"""The results of a run, with one row per lane."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Sequence

from core.states import Lane
from deploy.capacity.run import Run


@dataclasses.dataclass(frozen=True)
class Row:
    """The results of one lane in one scenario. Waits are from the acceptance of an image to its answer."""

    scenario: str
    lane: str
    images: int
    wait_p50_s: float
    wait_p95_s: float
    wait_p99_s: float
    pods_max: int
    gpu_hours: float
    cost: float
    always_on_cost: float
    """The cost of running the maximum number of GPUs all the time."""
    scale_events: int
    turns_per_hour: float
    """Thrashing: how often the scaling direction changes per hour."""
    at_zero: float
    """Share of the time without any pod."""
    unfinished: int
    lost: int
    computed_twice: int


def rows(runs: Sequence[Run]) -> list[Row]:
    """Returns a row per lane, interactive first, for several runs of one scenario with different seeds.

    Waits are computed over all runs, losses are summed, the maximum number of pods is that of any run, and all other
    values are means.
    """
    return [_row(runs, lane) for lane in runs[0].controls]


def _row(runs: Sequence[Run], lane: Lane) -> Row:
    assumptions = runs[0].assumptions
    controls, flows = [run.controls[lane] for run in runs], [run.flows[lane] for run in runs]
    waits = sum((flow.waits for flow in flows), Counter[int]())
    hours = sum(run.duration_s for run in runs) / 3600
    pods_max = max(control.most for control in controls)
    gpu_hours = sum(run.cluster.node_s[lane] for run in runs) / 3600 * assumptions.gpus_per_node / len(runs)
    always_on = math.ceil(pods_max / assumptions.pods_per_node) * assumptions.gpus_per_node * hours / len(runs)
    message_s = assumptions.of(lane).message_s
    return Row(
        scenario=runs[0].load.name,
        lane=lane.value,
        images=round(sum(flow.arrived for flow in flows) / len(runs)),
        wait_p50_s=percentile(waits, 0.50) + message_s,
        wait_p95_s=percentile(waits, 0.95) + message_s,
        wait_p99_s=percentile(waits, 0.99) + message_s,
        pods_max=pods_max,
        gpu_hours=gpu_hours,
        cost=gpu_hours * assumptions.price_per_gpu_hour,
        always_on_cost=always_on * assumptions.price_per_gpu_hour,
        scale_events=round(sum(len(control.changes) for control in controls) / len(runs)),
        turns_per_hour=sum(turns(control.changes) for control in controls) / hours,
        at_zero=sum(control.zero_s for control in controls) / 3600 / hours,
        unfinished=sum(flow.count() for flow in flows),
        lost=sum(flow.arrived - flow.finished - flow.count() for flow in flows),
        computed_twice=sum(flow.computed_twice for flow in flows),
    )


def percentile(waits: Counter[int], share: float) -> int:
    """Returns the smallest wait that this share of all waits does not exceed, or 0 if there are none."""
    wanted = math.ceil(waits.total() * share)
    seen = 0
    for wait in sorted(waits):
        seen += waits[wait]
        if seen >= wanted:
            return wait
    return 0


def turns(changes: Sequence[int]) -> int:
    """Returns how often the direction changed."""
    return sum((one > 0) != (other > 0) for one, other in itertools.pairwise(changes))
