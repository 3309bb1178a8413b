"""KEDA's part: it polls, switches between 0 and 1, keeps workers for a cooldown, and answers the HPA's questions.

As in kedacore/keda 2.20, `pkg/scaling` and `pkg/fallback`. With a formula, activity is decided by its value against
`activationTarget` alone. While a trigger fails and no fallback is in force yet, nothing is active, but zero is not
gone to.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.capacity.scaled_object import Counts, ScaledObject

Counted = Mapping[Counts, int]
"""Messages by where they are; what Redis would answer."""


class Keda:
    """One ScaledObject's loop. Times are seconds since the beginning of the simulation."""

    def __init__(self, scaled_object: ScaledObject) -> None:
        self.scaled_object = scaled_object
        self._last_active: float | None = None
        self._failures = 0
        self._cached: float | None = None

    def poll(self, now: float, counted: Counted | None, replicas: int) -> int:
        """One poll: the replicas to have from now on. `counted` None: Redis does not answer."""
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
        # KEDA waits for its fallback to come into force, whose value then counts as any other (at zero replicas, a
        # static one wakes a worker); without a fallback it only complains.
        fallback = self.scaled_object.fallback
        if fallback is None or fallback.replicas > 0 or self.scaled_object.min_replicas > 0:
            return replicas
        return 0 if self._is_cold(now) else replicas

    def _is_cold(self, now: float) -> bool:
        return self._last_active is None or self._last_active + self.scaled_object.cooldown_s < now

    def metric(self, counted: Counted | None, replicas: int) -> float | None:
        """What the HPA is told when it asks: the value now, the fallback's, or nothing (None)."""
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
        # KEDA hands the result on in whole thousandths.
        return int(self.scaled_object.formula.evaluate(values) * 1000) / 1000
