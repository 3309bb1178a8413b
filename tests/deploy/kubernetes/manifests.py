"""The rendered manifests, and short ways to look things up in them."""

from __future__ import annotations

import base64
import copy
import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from core.settings import Settings
from tests.deploy.kubernetes.kubectl_binary import OLDEST, find_kubectl
from tests.processes import ROOT

K8S = ROOT / "deploy" / "k8s"
OVERLAYS = ("dev", "gpu", "prod")

Manifest = dict[str, Any]


def render(overlay: str) -> list[Manifest]:
    """All objects of the overlay, as `kubectl apply -k` would send them. Skips the test where there is no kubectl."""
    kubectl = find_kubectl()
    if kubectl is None:
        pytest.skip(f"no kubectl {'.'.join(map(str, OLDEST))} or newer here: tests/prepare.sh fetches one")
    return copy.deepcopy(_rendered(overlay, str(kubectl)))


def render_with(component: str, overlay: str, folder: Path) -> list[Manifest]:
    """The same with an optional component, added to a copy in `folder` as docs/operate/monitoring.md describes."""
    kubectl = find_kubectl()
    if kubectl is None:
        pytest.skip(f"no kubectl {'.'.join(map(str, OLDEST))} or newer here: tests/prepare.sh fetches one")
    copied = folder / "deploy"
    shutil.copytree(K8S.parent, copied)
    file = copied / "k8s" / "overlays" / overlay / "kustomization.yaml"
    before, heading, after = file.read_text(encoding="utf-8").partition("components:\n")
    file.write_text(f"{before}{heading}  - ../../components/{component}\n{after}", encoding="utf-8")
    return _kustomized(file.parent, str(kubectl))


@functools.cache
def _rendered(overlay: str, kubectl: str) -> list[Manifest]:
    return _kustomized(K8S / "overlays" / overlay, kubectl)


def _kustomized(folder: Path, kubectl: str) -> list[Manifest]:
    told = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "warning" not in told.stderr.lower(), told.stderr
    return list(yaml.safe_load_all(told.stdout))


def find(objects: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of that kind and name."""
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in objects if each["kind"] == kind]


def workloads(objects: list[Manifest]) -> list[Manifest]:
    """Everything that makes pods."""
    return [each for each in objects if "template" in each.get("spec", {})]


def is_ours(workload: Manifest) -> bool:
    """Whether its pods run our images."""
    return all(each["image"].startswith("asset-enrichment-") for each in pod_of(workload)["containers"])


def pod_of(workload: Manifest) -> Manifest:
    """The pod's spec."""
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def container_of(workload: Manifest) -> Manifest:
    """Its only container."""
    (container,) = pod_of(workload)["containers"]
    return container


def variables_of(workload: Manifest, objects: list[Manifest]) -> dict[str, str]:
    """The container's environment as the process sees it; a secret that is not in the manifests has no value."""
    container = container_of(workload)
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        values |= find(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for each in container.get("env", []):
        values[each["name"]] = each["value"] if "value" in each else _secret(each["valueFrom"]["secretKeyRef"], objects)
    return values


def _secret(reference: dict[str, str], objects: list[Manifest]) -> str:
    for each in of_kind(objects, "Secret"):
        if each["metadata"]["name"] == reference["name"]:
            return base64.b64decode(each["data"][reference["key"]]).decode()
    return ""


def known_variables(group: type[BaseModel] = Settings, prefix: str = "ENRICH_") -> Iterator[str]:
    """The names of all settings' variables."""
    for name, field in group.model_fields.items():
        key = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from known_variables(field.annotation, f"{key}__")
        else:
            yield key


def settings_of(workload: Manifest, objects: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the process reads from its environment. Variables that no setting has are another test's finding."""
    known = set(known_variables())
    with monkeypatch.context() as patch:
        for name in known:
            patch.delenv(name, raising=False)
        for name, value in variables_of(workload, objects).items():
            if name in known and value:
                patch.setenv(name, value)
        return Settings()


def lane_of(workload: Manifest) -> str:
    lane: str = workload["metadata"]["labels"]["asset-enrichment/lane"]
    return lane


def mebibytes(quantity: str) -> float:
    """A quantity of memory such as 512Mi or 4Gi."""
    number, unit = re.fullmatch(r"([\d.]+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return float(number) * {"Mi": 1, "Gi": 1024}[unit]
