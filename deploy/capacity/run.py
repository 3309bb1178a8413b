"""The simulation: runs a load through both lanes in steps of one second."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from core.states import Lane
from deploy.capacity.assumptions import Assumptions
from deploy.capacity.cluster import Cluster
from deploy.capacity.flow import Flow
from deploy.capacity.hpa import SYNC_PERIOD_S, Autoscaler
from deploy.capacity.keda import Keda
from deploy.capacity.load import Load
from deploy.capacity.scaled_object import ScaledObject

SAMPLE_S = 10
"""Seconds between two points in the plots."""
MAX_OVERTIME_S = 6 * 3600
"""Time limit after the end of the load. Images that are not finished by then are reported as unfinished."""


@dataclasses.dataclass
class Series:
    """The data of the plots, with one value every SAMPLE_S seconds."""

    at_s: list[int] = dataclasses.field(default_factory=list)
    desired: list[int] = dataclasses.field(default_factory=list)
    ready: list[int] = dataclasses.field(default_factory=list)
    waiting: list[int] = dataclasses.field(default_factory=list)


class Control:
    """The KEDA loop and the HPA of one lane, and the replicas that they request."""

    def __init__(self, scaled_object: ScaledObject, phase_s: int) -> None:
        self.scaled_object = scaled_object
        self.keda = Keda(scaled_object)
        self.hpa = Autoscaler(scaled_object.hpa)
        self.replicas = scaled_object.min_replicas
        self.changes: list[int] = []
        self.most = self.replicas
        self.zero_s = 0
        self.series = Series()
        self._phase_s = phase_s

    def decide(self, now: int, flow: Flow, ready: int, *, is_redis_there: bool) -> None:
        """Runs KEDA's poll and the HPA's sync if they are due."""
        is_poll = (now + self._phase_s) % self.scaled_object.polling_s == 0
        is_sync = (now + 2 * self._phase_s) % SYNC_PERIOD_S == 0 and self.replicas > 0
        if not is_poll and not is_sync:
            return
        counted = flow.counted(now, ready) if is_redis_there else None
        if is_poll:
            self._set(self.keda.poll(now, counted, self.replicas))
        if is_sync and self.replicas > 0:
            metric = self.keda.metric(counted, self.replicas)
            self._set(self.hpa.sync(now, metric, self.replicas, ready))

    def _set(self, replicas: int) -> None:
        if replicas != self.replicas:
            self.changes.append(replicas - self.replicas)
            self.replicas = replicas
            self.most = max(self.most, replicas)

    def sample(self, now: int, flow: Flow, ready: int) -> None:
        """Adds a point to the plots."""
        series = self.series
        series.at_s.append(now)
        series.desired.append(self.replicas)
        series.ready.append(ready)
        series.waiting.append(flow.waiting)


@dataclasses.dataclass
class Run:
    """A finished simulation."""

    load: Load
    assumptions: Assumptions
    duration_s: int
    controls: dict[Lane, Control]
    flows: dict[Lane, Flow]
    cluster: Cluster


def simulate(load: Load, scaled_objects: Sequence[ScaledObject], assumptions: Assumptions, seed: int) -> Run:
    """Replays the load until all images are finished. The same arguments give the same run."""
    return _Simulation(load, scaled_objects, assumptions, seed).run()


class _Simulation:
    def __init__(self, load: Load, objects: Sequence[ScaledObject], assumptions: Assumptions, seed: int) -> None:
        self._load = load
        self._assumptions = assumptions
        self._now = 0
        random = np.random.default_rng([seed, 1])
        # The phases of KEDA and of the HPA are independent of each other and of the load.
        self._controls = {each.lane: Control(each, int(random.integers(0, 60))) for each in objects}
        self._flows = {
            lane: Flow(assumptions, lane, np.random.default_rng([seed, 2, index]))
            for index, lane in enumerate(self._controls)
        }
        self._cluster = Cluster(assumptions, random, self._killed, self._drained)
        for lane, control in self._controls.items():
            self._cluster.scale(0, lane, control.replicas)

    def _killed(self, lane: Lane, ready: int) -> None:
        self._flows[lane].kill(self._now, ready)

    def _drained(self, lane: Lane, ready: int) -> None:
        self._flows[lane].drain(self._now, ready)

    def run(self) -> Run:
        duration_s = self._load.duration_s
        while self._now < duration_s or (self._is_busy() and self._now < duration_s + MAX_OVERTIME_S):
            self._second()
            self._now += 1
        self._cluster.close(self._now)
        return Run(self._load, self._assumptions, self._now, self._controls, self._flows, self._cluster)

    def _is_busy(self) -> bool:
        return any(flow.waiting for flow in self._flows.values())

    def _second(self) -> None:
        now, load, cluster = self._now, self._load, self._cluster
        cluster.advance(now)
        is_redis_there = not load.redis_away[0] <= now < load.redis_away[1]
        comes_back = now == load.redis_away[1] and now > 0
        is_sweep = is_redis_there and now % self._assumptions.sweep_every_s == 0
        is_sample = now % SAMPLE_S == 0
        for lane, control in self._controls.items():
            flow = self._flows[lane]
            if comes_back:
                flow.forget()
            if now < load.duration_s and (images := load.arrivals[lane][now]):
                flow.submit(now, images, is_published=is_redis_there)
            if is_sweep:
                flow.sweep(now)
            flow.work(now, cluster.ready[lane], may_take=is_redis_there)
            before = control.replicas
            control.decide(now, flow, cluster.ready[lane], is_redis_there=is_redis_there)
            if control.replicas != before:
                cluster.scale(now, lane, control.replicas)
            control.zero_s += control.replicas == 0
            if is_sample:
                control.sample(now, flow, cluster.ready[lane])
