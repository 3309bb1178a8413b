"""Nodes and pods: nodes that are provisioned, images that are pulled, and workers that load, crash and stop."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from collections.abc import Callable

import numpy as np

from core.states import Lane
from deploy.capacity.assumptions import Assumptions

_Z95 = 1.6449
"""Standard deviations of the normal distribution's 95th percentile."""


@dataclasses.dataclass(eq=False)
class Node:
    """A machine with a GPU, paid for from its request to its removal."""

    number: int
    ready_at: float
    image_at: float
    owner: Lane
    marked_at: float
    used: int = 0
    idle_since: float | None = None
    is_alive: bool = True


@dataclasses.dataclass(eq=False)
class Pod:
    """A worker. `node` is None while no node has room for it."""

    lane: Lane
    number: int
    node: Node | None = None
    is_ready: bool = False
    is_alive: bool = True
    starts: int = 0


class Cluster:
    """All nodes and pods. Calls `killed` or `drained` when a pod ends, with the number of ready pods before it."""

    def __init__(
        self,
        assumptions: Assumptions,
        random: np.random.Generator,
        killed: Callable[[Lane, int], None],
        drained: Callable[[Lane, int], None],
    ) -> None:
        self._assumptions = assumptions
        self._random = random
        self._killed = killed
        self._drained = drained
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._serial = itertools.count()
        self._nodes: list[Node] = []
        self._pods: dict[Lane, list[Pod]] = {lane: [] for lane in Lane}
        self.ready: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self.node_s: dict[Lane, float] = dict.fromkeys(Lane, 0.0)
        self.crashes = self.reclaims = self.nodes_max = 0

    def advance(self, now: float) -> None:
        """Runs all events that are due."""
        while self._events and self._events[0][0] <= now:
            at, _, action = heapq.heappop(self._events)
            action(at)

    def _at(self, when: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._serial), action))

    def scale(self, now: float, lane: Lane, replicas: int) -> None:
        """Creates or removes pods as a Deployment does when its number of replicas changes."""
        pods = self._pods[lane]
        while len(pods) < replicas:
            pod = Pod(lane, next(self._serial))
            pods.append(pod)
            self._place(now, pod)
        while len(pods) > replicas:
            # As a ReplicaSet does: first pods without a node, then pods that are not ready, then the youngest.
            victim = min(pods, key=lambda pod: (pod.node is not None, pod.is_ready, -pod.number))
            self._end(now, victim)

    def _end(self, now: float, pod: Pod) -> None:
        """Sends SIGTERM: the worker takes no more messages, and its node has room again after it has drained."""
        pods = self._pods[pod.lane]
        pods.remove(pod)
        pod.is_alive = False
        if pod.is_ready:
            self._drained(pod.lane, self.ready[pod.lane])
            self.ready[pod.lane] -= 1
            pod.is_ready = False
            self._at(now + self._assumptions.drain_s, lambda at: self._leave(at, pod))
        else:
            self._leave(now, pod)

    def _leave(self, now: float, pod: Pod) -> None:
        node, pod.node = pod.node, None
        if node is None or not node.is_alive:
            return
        self._mark(now, node, node.owner)
        node.used -= 1
        if not node.used:
            node.idle_since = now
            self._at(now + self._assumptions.node_idle_s, lambda at: self._remove_if_idle(at, node))
        self._place_pending(now)

    def _place_pending(self, now: float) -> None:
        for pod in [each for pods in self._pods.values() for each in pods if each.node is None]:
            self._place(now, pod)

    def _place(self, now: float, pod: Pod) -> None:
        free = [node for node in self._nodes if node.used < self._assumptions.pods_per_node]
        node = min(free, key=lambda each: (each.ready_at, each.number), default=None) or self._request(now, pod.lane)
        if node is None:
            return  # the limit of nodes is reached; placed later, when a node has room
        self._mark(now, node, pod.lane)
        node.used += 1
        node.idle_since = None
        pod.node = node
        self._start(max(now, node.image_at), pod)

    def _request(self, now: float, lane: Lane) -> Node | None:
        if len(self._nodes) >= self._assumptions.max_nodes:
            return None
        spread = math.log(self._assumptions.node_p95_s / self._assumptions.node_median_s) / _Z95
        boot = float(self._random.lognormal(math.log(self._assumptions.node_median_s), spread))
        ready_at = now + float(self._random.uniform(0, self._assumptions.node_scan_s)) + boot
        node = Node(next(self._serial), ready_at, ready_at + self._assumptions.image_pull_s, lane, now)
        self._nodes.append(node)
        self.nodes_max = max(self.nodes_max, len(self._nodes))
        if self._assumptions.reclaims_per_node_hour:
            alive_s = float(self._random.exponential(3600 / self._assumptions.reclaims_per_node_hour))
            self._at(ready_at + alive_s, lambda at: self._reclaim(at, node))
        return node

    def _start(self, now: float, pod: Pod) -> None:
        pod.starts += 1
        start = pod.starts
        seconds = self._assumptions.worker_start_s * float(self._random.uniform(0.9, 1.2))
        self._at(now + seconds, lambda at: self._become_ready(at, pod, start))

    def _become_ready(self, now: float, pod: Pod, start: int) -> None:
        if not pod.is_alive or pod.starts != start:
            return
        pod.is_ready = True
        self.ready[pod.lane] += 1
        if self._assumptions.crashes_per_pod_hour:
            alive_s = float(self._random.exponential(3600 / self._assumptions.crashes_per_pod_hour))
            self._at(now + alive_s, lambda at: self._crash(at, pod, start))

    def _crash(self, now: float, pod: Pod, start: int) -> None:
        """The process dies (out of memory, a driver fault), and the kubelet restarts it on the same node."""
        if not pod.is_alive or not pod.is_ready or pod.starts != start:
            return
        self.crashes += 1
        self._lose(pod)
        self._start(now, pod)

    def _lose(self, pod: Pod) -> None:
        if pod.is_ready:
            self._killed(pod.lane, self.ready[pod.lane])
            self.ready[pod.lane] -= 1
            pod.is_ready = False

    def _reclaim(self, now: float, node: Node) -> None:
        """Reclaims a spot node. Its pods drain if the notice is at least their grace period, and are replaced."""
        if not node.is_alive:
            return
        self.reclaims += 1
        can_drain = self._assumptions.reclaim_notice_s >= self._assumptions.grace_s
        victims = [pod for pods in self._pods.values() for pod in pods if pod.node is node]
        self._remove(now + (self._assumptions.reclaim_notice_s if can_drain else 0), node)
        for pod in victims:
            if can_drain:
                self._end(now, pod)
            else:
                self._lose(pod)
                self._pods[pod.lane].remove(pod)
                pod.is_alive = False
        for pod in victims:
            self.scale(now, pod.lane, len(self._pods[pod.lane]) + 1)

    def _remove_if_idle(self, now: float, node: Node) -> None:
        if node.is_alive and node.idle_since is not None and now - node.idle_since >= self._assumptions.node_idle_s:
            self._remove(now, node)
            self._place_pending(now)

    def _remove(self, now: float, node: Node) -> None:
        self._mark(now, node, node.owner)
        node.is_alive = False
        self._nodes.remove(node)

    def _mark(self, now: float, node: Node, owner: Lane) -> None:
        """Charges the node's time until now to the lane that used it."""
        self.node_s[node.owner] += now - node.marked_at
        node.marked_at, node.owner = now, owner

    def close(self, now: float) -> None:
        """Ends the simulation: charges the time of all running nodes until now."""
        for node in self._nodes:
            self._mark(now, node, node.owner)
