"""Sums that must come out: time to end, connections to Postgres, replicas that may be missing."""

from __future__ import annotations

import re

import pytest

from api.server import GRACEFUL_S
from tests.deploy.kubernetes.manifests import (
    K8S,
    OVERLAYS,
    Manifest,
    container_of,
    find,
    of_kind,
    pod_of,
    render,
    settings_of,
)

MARGIN_S = 10
"""For what comes after a grace: the interpreter's exit, closed connections, kubelet's own delay."""

RESERVED = 3
"""Connections that Postgres keeps for its superuser unless told otherwise."""

PAGE = K8S.parents[1] / "docs" / "operate" / "kubernetes.md"


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", ["worker-interactive", "worker-bulk", "dispatcher", "api"])
def test_kubernetes_waits_longer_than_the_longest_drain(
    overlay: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = render(overlay)
    workload = find(objects, "Deployment", name)
    settings = settings_of(workload, objects, monkeypatch)
    sleep = container_of(workload).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain_s = {"dispatcher": settings.webhooks.grace_s, "api": sleep + GRACEFUL_S}.get(name, settings.worker.grace_s)
    assert pod_of(workload)["terminationGracePeriodSeconds"] >= drain_s + MARGIN_S


@pytest.mark.parametrize("name", ["worker-interactive", "worker-bulk"])
def test_a_scale_down_lets_every_job_end_that_has_begun(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At half the grace what still runs is given back: by then a fetch has ended one way or the other."""
    objects = render("prod")
    settings = settings_of(find(objects, "Deployment", name), objects, monkeypatch)
    assert settings.worker.grace_s / 2 >= settings.fetch.total_timeout_s + MARGIN_S


@pytest.mark.parametrize("name", ["worker-interactive", "worker-bulk", "dispatcher"])
def test_a_single_missed_heartbeat_restarts_nobody(name: str) -> None:
    probe = container_of(find(render("prod"), "Deployment", name))["livenessProbe"]
    (limit,) = re.findall(r"-lt (\d+)$", probe["exec"]["command"][-1])
    assert int(limit) >= 10 * 2, "the file is touched every 2 s"
    assert probe["failureThreshold"] >= 3


def connections(objects: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> int:
    """The most that all processes together can hold open, in the middle of a rolling update at full scale."""
    settings = settings_of(find(objects, "Deployment", "api"), objects, monkeypatch)
    pool, suspect = settings.database.pool_size, min(2, settings.database.pool_size)
    total = 1  # the migration
    for name in ("api", "dispatcher"):  # each with a LISTEN of its own
        spec = find(objects, "Deployment", name)["spec"]
        total += (spec["replicas"] + spec["strategy"]["rollingUpdate"]["maxSurge"]) * (pool + 1)
    for scaled in of_kind(objects, "ScaledObject"):
        worker = find(objects, "Deployment", scaled["spec"]["scaleTargetRef"]["name"])["spec"]
        assert worker["strategy"]["rollingUpdate"]["maxSurge"] == 0
        # A worker may run one child process, for a job whose worker died before.
        total += scaled["spec"]["maxReplicaCount"] * (pool + suspect)
    return total


@pytest.mark.parametrize("overlay", ["dev", "gpu"])
def test_all_processes_together_stay_below_postgres_s_limit(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = render(overlay)
    arguments = container_of(find(objects, "StatefulSet", "postgres"))["args"]
    (limit,) = (int(each.partition("=")[2]) for each in arguments if each.startswith("max_connections="))
    assert connections(objects, monkeypatch) <= limit - RESERVED


def test_the_page_on_kubernetes_says_how_many_connections_production_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = connections(render("prod"), monkeypatch)
    assert f"{needed} connections" in PAGE.read_text(encoding="utf-8")


def test_there_is_always_a_dispatcher() -> None:
    for overlay in OVERLAYS:
        spec = find(render(overlay), "Deployment", "dispatcher")["spec"]
        assert spec["replicas"] >= 1
        assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert not [each for each in of_kind(render(overlay), "ScaledObject") if "dispatcher" in str(each["spec"])]


def test_bulk_gives_way_to_interactive() -> None:
    priorities = {each["metadata"]["name"]: each for each in of_kind(render("prod"), "PriorityClass")}
    values = [priorities[f"enrich-{name}"]["value"] for name in ("serving", "interactive", "bulk")]
    assert values == sorted(values, reverse=True)
    assert values[-1] > -10, "for less than that the cluster autoscaler adds no node"
    assert priorities["enrich-bulk"]["preemptionPolicy"] == "Never"
