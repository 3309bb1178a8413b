"""The algorithm of the HorizontalPodAutoscaler, as in Kubernetes' `pkg/controller/podautoscaler` (1.27 and later).

https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/ describes it. One call of
`Autoscaler.sync` is one pass of the controller over one HPA with one external metric.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

SYNC_PERIOD_S = 15
"""`--horizontal-pod-autoscaler-sync-period`."""
TOLERANCE = 0.1
"""`--horizontal-pod-autoscaler-tolerance`."""
_FAR = 2**31 - 1


class Select(enum.Enum):
    """Which of several policies applies. DISABLED forbids scaling in the direction."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclasses.dataclass(frozen=True)
class Policy:
    """Limits scaling to a number or a percentage of pods per period."""

    is_percent: bool
    value: int
    period_s: int


@dataclasses.dataclass(frozen=True)
class Rules:
    """The rules for scaling in one direction: its policies and its stabilization window."""

    policies: tuple[Policy, ...]
    stabilization_s: int
    select: Select = Select.MAX
    tolerance: float = TOLERANCE


# The API server's defaults.
UP_BY_DEFAULT = Rules((Policy(False, 4, 15), Policy(True, 100, 15)), stabilization_s=0)
DOWN_BY_DEFAULT = Rules((Policy(True, 100, 15),), stabilization_s=300)


@dataclasses.dataclass(frozen=True)
class Spec:
    """The HPA that KEDA creates for a ScaledObject. `target` is per pod for AverageValue, in total for Value."""

    min_replicas: int
    max_replicas: int
    target: float
    is_average: bool = True
    up: Rules = UP_BY_DEFAULT
    down: Rules = DOWN_BY_DEFAULT


def is_within_tolerance(ratio: float, up: Rules, down: Rules) -> bool:
    """Whether a ratio of usage to target is close enough to 1 to change nothing. The limits are included."""
    return (1 - down.tolerance) <= ratio <= (1 + up.tolerance)


def recommend(spec: Spec, metric: float, replicas: int, ready: int) -> int:
    """Returns the number of replicas that the metric requires, before limits.

    AverageValue counts all pods, ready or not, so that starting pods do not cause further scaling. Value counts only
    ready pods.
    """
    metric, target = _milli(metric), _milli(spec.target)
    if spec.is_average:
        ratio = metric / (target * replicas) if replicas else math.inf
        return replicas if is_within_tolerance(ratio, spec.up, spec.down) else math.ceil(metric / target)
    ratio = metric / target
    return replicas if is_within_tolerance(ratio, spec.up, spec.down) else math.ceil(ratio * ready)


def _milli(value: float) -> int:
    # The metrics API transfers quantities in thousandths.
    return int(value * 1000)


@dataclasses.dataclass(frozen=True)
class _Event:
    at: float
    change: int


class Autoscaler:
    """One HPA, with its recent recommendations and scale events."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._recommended: deque[tuple[float, int]] = deque()
        self._ups: deque[_Event] = deque()
        self._downs: deque[_Event] = deque()

    def sync(self, now: float, metric: float | None, replicas: int, ready: int) -> int:
        """Returns the new number of replicas. If `metric` is None, it could not be read and nothing changes."""
        spec = self.spec
        if not self._recommended:
            self._recommended.append((now, replicas))
        if replicas == 0:
            return 0  # an HPA is inactive at zero replicas
        if replicas > spec.max_replicas:
            wanted = spec.max_replicas
        elif replicas < spec.min_replicas:
            wanted = spec.min_replicas
        elif metric is None:
            return replicas
        else:
            raw = recommend(spec, metric, replicas, ready)
            wanted = self._limit(now, self._stabilize(now, raw, replicas), replicas)
        self._remember(now, replicas, wanted)
        return wanted

    def _stabilize(self, now: float, raw: int, replicas: int) -> int:
        """Scales up to the lowest and down to the highest recommendation within the direction's window."""
        up_since, down_since = now - self.spec.up.stabilization_s, now - self.spec.down.stabilization_s
        lowest = min([raw, *(value for at, value in self._recommended if at > up_since)])
        highest = max([raw, *(value for at, value in self._recommended if at > down_since)])
        while self._recommended and self._recommended[0][0] < min(up_since, down_since):
            self._recommended.popleft()
        self._recommended.append((now, raw))
        return min(max(replicas, lowest), highest)

    def _limit(self, now: float, wanted: int, replicas: int) -> int:
        if wanted > replicas:
            limit = max(self._bound(now, replicas, self.spec.up, is_up=True), replicas)
            return min(wanted, limit, self.spec.max_replicas)
        if wanted < replicas:
            limit = min(self._bound(now, replicas, self.spec.down, is_up=False), replicas)
            return max(wanted, limit, self.spec.min_replicas)
        return wanted

    def _bound(self, now: float, replicas: int, rules: Rules, *, is_up: bool) -> int:
        """Returns the limit that the policies of one direction allow."""
        if rules.select is Select.DISABLED:
            return replicas
        proposals = []
        for policy in rules.policies:
            since = now - policy.period_s
            start = replicas - _sum(self._ups, since) + _sum(self._downs, since)
            proposals.append(_propose(policy, start, is_up))
        pick: Callable[[Sequence[int]], int] = max if is_up == (rules.select is Select.MAX) else min
        return pick(proposals) if proposals else (-_FAR if is_up else _FAR)

    def _remember(self, now: float, before: int, after: int) -> None:
        if before == after:
            return
        events, rules = (self._ups, self.spec.up) if after > before else (self._downs, self.spec.down)
        longest = max([0, *(policy.period_s for policy in (*self.spec.up.policies, *self.spec.down.policies))])
        while events and events[0].at < now - longest:
            events.popleft()
        if rules.policies:
            events.append(_Event(now, abs(after - before)))


def _sum(events: Iterable[_Event], since: float) -> int:
    return sum(event.change for event in events if event.at > since)


def _propose(policy: Policy, start: int, is_up: bool) -> int:
    if not policy.is_percent:
        return start + policy.value if is_up else start - policy.value
    if is_up:
        return math.ceil(start * (1 + policy.value / 100))  # rounded up, otherwise one pod could never become two
    return int(start * (1 - policy.value / 100))
