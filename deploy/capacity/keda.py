"""The part of KEDA: it polls, scales between 0 and 1 replicas with a cooldown, and serves the metric for the HPA.

As in kedacore/keda 2.20, `pkg/scaling` and `pkg/fallback`. With a formula, only its value and `activationTarget` decide
whether the ScaledObject is active. While a trigger fails and the fallback does not apply yet, it is inactive, but it is
not scaled to zero.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.capacity.scaled_object import Counts, ScaledObject

Counted = Mapping[Counts, int]
"""The numbers of messages in Redis."""


class Keda:
    """The scaling loop of one ScaledObject. Times are seconds since the start of the simulation."""

    def __init__(self, scaled_object: ScaledObject) -> None:
        self.scaled_object = scaled_object
        self._last_active: float | None = None
        self._failures = 0
        self._cached: float | None = None

    def poll(self, now: float, counted: Counted | None, replicas: int) -> int:
        """Returns the number of replicas after one poll. `counted` is None if Redis is down."""
        self._cached = value = self._measure(counted, replicas)
        if value is None:
            return self._poll_failed(now, replicas)
        if value > self.scaled_object.activation_target:
            self._last_active = now
            return replicas if replicas > 0 else max(1, self.scaled_object.min_replicas)
        if self.scaled_object.min_replicas > 0:
            return max(replicas, self.scaled_object.min_replicas)
        return 0 if replicas > 0 and self._is_cold(now) else replicas

    def _poll_failed(self, now: float, replicas: int) -> int:
        # KEDA waits until its fallback applies. The fallback value is then treated like any other, so a static one
        # starts a worker at zero replicas. Without a fallback KEDA only logs the failure.
        fallback = self.scaled_object.fallback
        if fallback is None or fallback.replicas > 0 or self.scaled_object.min_replicas > 0:
            return replicas
        return 0 if self._is_cold(now) else replicas

    def _is_cold(self, now: float) -> bool:
        return self._last_active is None or self._last_active + self.scaled_object.cooldown_s < now

    def metric(self, counted: Counted | None, replicas: int) -> float | None:
        """Returns the metric for the HPA: the current value, the fallback value, or None."""
        return self._cached if self.scaled_object.uses_cached_metrics else self._measure(counted, replicas)

    def _measure(self, counted: Counted | None, replicas: int) -> float | None:
        if counted is not None:
            self._failures = 0
            return self._value(counted)
        self._failures += 1
        fallback = self.scaled_object.fallback
        if fallback is None or self._failures <= fallback.failure_threshold:
            return None
        pods = {
            "static": fallback.replicas,
            "currentReplicas": replicas,
            "currentReplicasIfHigher": max(replicas, fallback.replicas),
            "currentReplicasIfLower": min(replicas, fallback.replicas),
        }[fallback.behavior]
        return self.scaled_object.hpa.target * pods

    def _value(self, counted: Counted) -> float:
        values = {name: float(counted[what]) for name, what in self.scaled_object.triggers.items()}
        # KEDA truncates the result to thousandths.
        return int(self.scaled_object.formula.evaluate(values) * 1000) / 1000
