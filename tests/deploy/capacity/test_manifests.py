"""Reading ScaledObjects: the values, defaults, and what is refused with a sentence."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.states import Lane
from deploy.capacity.hpa import (
    DOWN_BY_DEFAULT,
    UP_BY_DEFAULT,
    Policy,
    Rules,
)
from deploy.capacity.scaled_object import (
    Counts,
    Fallback,
    ManifestError,
    find,
    read,
)
from deploy.capacity.simulate import MANIFESTS

DATA = Path(__file__).parents[1] / "data" / "scaled_objects.yaml"


@pytest.fixture
def manifest() -> dict[str, Any]:
    first, _ = yaml.safe_load_all(DATA.read_text(encoding="utf-8"))
    document: dict[str, Any] = copy.deepcopy(first)
    return document


def test_every_value_is_read() -> None:
    interactive, bulk = find([DATA])
    assert (interactive.lane, bulk.lane) == (Lane.INTERACTIVE, Lane.BULK)
    assert interactive.triggers == {"queued": Counts.QUEUED, "in_flight": Counts.UNACKED}
    assert (interactive.polling_s, interactive.cooldown_s, interactive.min_replicas) == (5, 600, 0)
    assert interactive.fallback == Fallback(3, 2)
    hpa = interactive.hpa
    assert (hpa.min_replicas, hpa.max_replicas, hpa.target, hpa.is_average) == (1, 20, 330, True)
    assert hpa.up == Rules((Policy(True, 100, 15), Policy(False, 4, 15)), 0)
    assert hpa.down == Rules((Policy(True, 50, 60),), 300)
    assert bulk.formula.evaluate({"queued": 3, "in_flight": 1}) == 256
    assert (bulk.hpa.up, bulk.hpa.down) == (UP_BY_DEFAULT, DOWN_BY_DEFAULT), "nothing said: the API server's defaults"


def test_what_a_manifest_leaves_out_has_keda_s_defaults(manifest: dict[str, Any]) -> None:
    for field in ("pollingInterval", "cooldownPeriod", "maxReplicaCount", "fallback"):
        del manifest["spec"][field]
    found = read(manifest, DATA)
    assert (found.polling_s, found.cooldown_s, found.hpa.max_replicas, found.fallback) == (30, 300, 100, None)


def refuse(manifest: dict[str, Any]) -> str:
    with pytest.raises(ManifestError) as caught:
        read(manifest, DATA)
    return str(caught.value)


def test_what_cannot_be_followed_is_refused(manifest: dict[str, Any]) -> None:
    def changed(*path: str, value: object) -> dict[str, Any]:
        document = copy.deepcopy(manifest)
        at = document["spec"]
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        return document

    modifiers = ("advanced", "scalingModifiers")
    assert "idleReplicaCount is not simulated" in refuse(changed("idleReplicaCount", value=0))
    assert "formula is missing" in refuse(changed(*modifiers, "formula", value=""))
    assert "names ['bulk']" in refuse(changed(*modifiers, "formula", value="queued + bulk"))
    assert "does not know" in refuse(changed(*modifiers, "formula", value="count(queued)"))
    assert "KEDA ignores the fallback" in refuse(changed(*modifiers, "target", value="33.5"))
    assert "metricType is Utilization" in refuse(changed(*modifiers, "metricType", value="Utilization"))
    assert "fallback.behavior is triggerX" in refuse(
        changed("fallback", value={"failureThreshold": 1, "replicas": 1, "behavior": "triggerX"})
    )
    cron = {"type": "cron", "name": "queued", "metadata": {}}
    assert "a trigger of type cron" in refuse(changed("triggers", value=[cron]))
    assert "missing or malformed" in refuse(
        changed("triggers", value=[{"type": "redis", "metadata": {"listName": "enrich"}}])
    )


def test_a_folder_is_searched_but_not_its_overlays(tmp_path: Path) -> None:
    (tmp_path / "overlays").mkdir()
    (tmp_path / "keda").mkdir()
    shutil.copy(DATA, tmp_path / "keda" / "lanes.yaml")
    shutil.copy(DATA, tmp_path / "overlays" / "lanes.yaml")
    assert [each.lane for each in find([tmp_path])] == list(Lane)
    shutil.copy(DATA, tmp_path / "again.yaml")
    with pytest.raises(ManifestError, match="a second ScaledObject for the lane"):
        find([tmp_path])


def test_a_folder_without_any_and_a_file_that_is_no_yaml_are_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="name a file or a folder: --scaled-object"):
        find([tmp_path])
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ManifestError, match="cannot be read as YAML"):
        find([tmp_path])


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed: a kustomization cannot be rendered"
)
def test_a_kustomization_is_rendered(tmp_path: Path) -> None:
    shutil.copy(DATA, tmp_path / "lanes.yaml")
    patch = '[{"op": "replace", "path": "/spec/maxReplicaCount", "value": 7}]'
    kustomization = {"resources": ["lanes.yaml"], "patches": [{"target": {"kind": "ScaledObject"}, "patch": patch}]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    assert [each.hpa.max_replicas for each in find([tmp_path])] == [7, 7]
    (tmp_path / "lanes.yaml").unlink()
    with pytest.raises(ManifestError, match="kubectl kustomize"):
        find([tmp_path])


@pytest.mark.skipif(not MANIFESTS.is_dir(), reason="deploy/k8s is not here")
def test_the_shipped_scaled_objects_are_read() -> None:
    assert [each.lane for each in find([MANIFESTS])] == list(Lane)
