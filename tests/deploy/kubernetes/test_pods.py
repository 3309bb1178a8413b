"""What every pod has: our images, no rights, settings that exist, memory, probes that work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from tests.deploy.kubernetes.manifests import (
    OVERLAYS,
    container_of,
    find,
    is_ours,
    known_variables,
    mebibytes,
    of_kind,
    pod_of,
    render,
    settings_of,
    variables_of,
    workloads,
)
from tests.processes import ROOT
from worker.process.memory import MALLOC_DEFAULTS

IMAGES = {
    "dev": {"asset-enrichment-api", "asset-enrichment-worker:cpu"},
    "gpu": {"asset-enrichment-api", "asset-enrichment-worker:gpu"},
    "prod": {"asset-enrichment-api", "asset-enrichment-worker:gpu"},
}
ARGUMENTS = {
    "api": ["api"],
    "dispatcher": ["dispatcher"],
    "worker-interactive": ["worker", "--lane", "interactive"],
    "worker-bulk": ["worker", "--lane", "bulk"],
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_and_arguments(overlay: str) -> None:
    objects = render(overlay)
    assert {container_of(each)["image"] for each in workloads(objects) if is_ours(each)} == IMAGES[overlay]
    for name, arguments in ARGUMENTS.items():
        assert container_of(find(objects, "Deployment", name))["args"] == arguments


@pytest.mark.parametrize("name", ["api", "worker"])
def test_the_images_entry_point_takes_the_arguments(name: str) -> None:
    """Arguments and no command, so that the image's own init stays process 1."""
    dockerfile = ROOT / f"Dockerfile.{name}"
    if not dockerfile.exists():
        pytest.skip(f"there is no {dockerfile.name}")
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile.read_text(), re.MULTILINE)
    assert json.loads(entry)[-1] == "enrich"
    assert not any("command" in container_of(find(render("prod"), "Deployment", each)) for each in ARGUMENTS)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_keeps_to_the_restricted_standard(overlay: str) -> None:
    """Kubernetes' Pod Security Standards, "restricted", field by field; the namespace enforces it."""
    objects = render(overlay)
    (namespace,) = of_kind(objects, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in workloads(objects):
        pod, container = pod_of(workload), container_of(workload)
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert "initContainers" not in pod
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all(each.keys() & {"emptyDir", "secret"} for each in pod["volumes"])
        assert pod["automountServiceAccountToken"] is False
        assert not any("hostPort" in port for port in container.get("ports", []))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_our_pods_are_the_image_s_user_and_can_write_to_tmp_alone(overlay: str) -> None:
    for workload in filter(is_ours, workloads(render(overlay))):
        user = pod_of(workload)["securityContext"]
        assert (user["runAsUser"], user["runAsGroup"]) == (10001, 10001)
        assert [each["mountPath"] for each in container_of(workload)["volumeMounts"]] == ["/tmp"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting(overlay: str) -> None:
    objects, known = render(overlay), set(known_variables())
    for workload in filter(is_ours, workloads(objects)):
        names = set(variables_of(workload, objects)) - MALLOC_DEFAULTS.keys()
        assert names <= known, f"{workload['metadata']['name']} sets what no setting reads: {sorted(names - known)}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_are_the_ones_meant(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = render(overlay)
    for workload in filter(is_ours, workloads(objects)):
        settings = settings_of(workload, objects, monkeypatch)
        assert settings.storage.kind == "s3"
        assert settings.api.require_key, "nobody without a key"
        assert (settings.api.host, settings.api.port) == ("0.0.0.0", 8000)
        assert settings.fetch.allow_networks == ()
    workers = [find(objects, "Deployment", name) for name in ("worker-interactive", "worker-bulk")]
    devices = {settings_of(each, objects, monkeypatch).worker.device for each in workers}
    assert devices == ({"auto"} if overlay == "dev" else {"cuda"})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_those_who_need_a_secret_get_it(overlay: str) -> None:
    objects = render(overlay)

    def has(name: str, variable: str) -> bool:
        return variable in variables_of(find(objects, "Deployment", name), objects)

    assert has("worker-bulk", "ENRICH_S3__SECRET_ACCESS_KEY")
    assert has("api", "ENRICH_S3__SECRET_ACCESS_KEY")
    assert not has("dispatcher", "ENRICH_S3__SECRET_ACCESS_KEY")
    assert has("dispatcher", "ENRICH_QUEUE__URL")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_asks_for_what_it_needs(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = render(overlay)
    for workload in workloads(objects):
        resources = container_of(workload)["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert mebibytes(resources["requests"]["memory"]) <= mebibytes(resources["limits"]["memory"])
    for name in ("worker-interactive", "worker-bulk"):
        worker = find(objects, "Deployment", name)
        resources, settings = container_of(worker)["resources"], settings_of(worker, objects, monkeypatch)
        assert resources["limits"]["cpu"] == resources["requests"]["cpu"], "torch counts its threads by the limit"
        assert settings.worker.max_rss_mib is not None
        most, least = (mebibytes(resources[each]["memory"]) for each in ("limits", "requests"))
        assert settings.worker.max_rss_mib < 0.8 * most, "a worker that grows ends in order, and is not killed"
        assert settings.worker.max_rss_mib >= 0.7 * most, "a limit that is raised is meant to be used"
        assert settings.worker.max_rss_mib >= 1.5 * least, "a worker that holds what it asked for stays"
        assert resources["limits"].get("nvidia.com/gpu") == (None if overlay == "dev" else "1")


@pytest.mark.parametrize("overlay", ["gpu", "prod"])
def test_gpu_workers_go_to_gpu_nodes(overlay: str) -> None:
    for name in ("worker-interactive", "worker-bulk"):
        pod = pod_of(find(render(overlay), "Deployment", name))
        assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


@pytest.mark.parametrize("name", ["worker-interactive", "worker-bulk", "dispatcher"])
def test_probes_tell_a_fresh_heartbeat_from_an_old_one(name: str, tmp_path: Path) -> None:
    """The commands of the manifests, run by a real shell."""
    objects = render("dev")
    container = container_of(find(objects, "Deployment", name))
    variable = "ENRICH_DISPATCHER__HEARTBEAT_FILE" if name == "dispatcher" else "ENRICH_WORKER__HEARTBEAT_FILE"
    file = variables_of(find(objects, "Deployment", name), objects)[variable]
    heartbeat = tmp_path / "heartbeat"

    def answers() -> dict[str, bool]:
        return {
            kind: subprocess.run(
                [part.replace(file, str(heartbeat)) for part in container[f"{kind}Probe"]["exec"]["command"]],
                capture_output=True,
            ).returncode
            == 0
            for kind in ("startup", "readiness", "liveness")
        }

    assert file in " ".join(container["livenessProbe"]["exec"]["command"])
    assert answers() == {"startup": False, "readiness": False, "liveness": False}
    heartbeat.touch()
    assert answers() == {"startup": True, "readiness": True, "liveness": True}
    for age_s, is_alive in ((20, True), (120, False)):
        os.utime(heartbeat, (time.time() - age_s,) * 2)
        assert answers() == {"startup": True, "readiness": False, "liveness": is_alive}


def test_the_migration_is_named_after_the_release() -> None:
    """A Job cannot be changed: a new release needs a new one."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    job = find(render("prod"), "Job", f"migrate-{version.replace('.', '-')}")
    assert container_of(job)["args"] == ["migrate"]
    assert "ENRICH_DATABASE__DIRECT_URL" in variables_of(job, render("prod"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_first_phase_is_enough_to_migrate(overlay: str) -> None:
    """`kubectl apply -l asset-enrichment/phase=first` brings the Job and what it needs, and no process of ours."""
    first = [each for each in render(overlay) if each["metadata"]["labels"].get("asset-enrichment/phase") == "first"]
    kinds = {each["kind"] for each in first}
    assert {"Namespace", "ServiceAccount", "ConfigMap", "Job", "NetworkPolicy", "PriorityClass"} <= kinds
    names = {each["metadata"]["name"] for each in of_kind(first, "NetworkPolicy")}
    assert {"default-deny", "dns", "postgres"} <= names
    assert "Deployment" not in kinds
