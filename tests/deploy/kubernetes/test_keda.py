"""The ScaledObjects: valid by KEDA's own definitions, and true of the queue they count."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from core.jobs.queue import queue_name, unacked_key
from core.states import Lane
from tests.deploy.kubernetes.manifests import (
    K8S,
    OVERLAYS,
    Manifest,
    container_of,
    find,
    lane_of,
    of_kind,
    render,
    settings_of,
)
from tests.processes import ROOT
from worker.main import BULK_MESSAGES

DEFINITIONS = ROOT.parent / "shared" / "schemas"
"""KEDA's custom resource definitions, which are no part of this repository."""

KINDS = {"ScaledObject": "keda.sh_scaledobjects.yaml", "TriggerAuthentication": "keda.sh_triggerauthentications.yaml"}
PAGE = K8S.parents[1] / "docs" / "operate" / "capacity.md"


def closed(schema: Any) -> Any:
    """The schema with every unknown field refused; Kubernetes would drop it without a word."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


def definition(kind: str) -> Draft7Validator:
    path = DEFINITIONS / KINDS[kind]
    if not path.exists():
        pytest.skip(
            f"KEDA's definitions are not here: put config/crd/bases/{path.name} of KEDA's source into {DEFINITIONS}"
        )
    (version,) = (each for each in yaml.safe_load(path.read_text())["spec"]["versions"] if each["name"] == "v1alpha1")
    return Draft7Validator(closed(version["schema"]["openAPIV3Schema"]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_keda_s_own_definitions_accept_them(overlay: str, kind: str) -> None:
    validator = definition(kind)
    found = of_kind(render(overlay), kind)
    for each in found:
        validator.validate(each)
    assert len(found) == (2 if kind == "ScaledObject" else 1)
    found[0]["spec"]["coolDownPeriod"] = 1
    assert not validator.is_valid(found[0]), "a misspelt field would be seen"


def scaled_objects() -> list[Any]:
    return [pytest.param(overlay, lane, id=f"{overlay}-{lane}") for overlay in OVERLAYS for lane in Lane]


def of_lane(overlay: str, lane: Lane) -> Manifest:
    return find(render(overlay), "ScaledObject", f"worker-{lane}")


@pytest.mark.parametrize(("overlay", "lane"), scaled_objects())
def test_it_counts_the_lane_s_list_and_hash_and_scales_the_lane_s_worker(overlay: str, lane: Lane) -> None:
    spec = of_lane(overlay, lane)["spec"]
    counted = {each["name"]: each["metadata"]["listName"] for each in spec["triggers"]}
    assert counted == {"queued": queue_name(lane), "in_flight": unacked_key(lane)}
    assert {each["type"] for each in spec["triggers"]} == {"redis"}
    worker = find(render(overlay), "Deployment", spec["scaleTargetRef"]["name"])
    assert lane_of(worker) == lane
    assert container_of(worker)["args"][-1] == lane


@pytest.mark.parametrize(("overlay", "lane"), scaled_objects())
def test_the_formula_counts_images(overlay: str, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = render(overlay)
    settings = settings_of(find(objects, "Deployment", f"worker-{lane}"), objects, monkeypatch)
    formula = of_lane(overlay, lane)["spec"]["advanced"]["scalingModifiers"]["formula"]
    assert re.fullmatch(r"[a-z_+*() \d]+", formula)
    images = eval(formula, {"__builtins__": {}}, {"queued": 3, "in_flight": 2})
    assert images == 5 * (settings.queue.chunk_size if lane is Lane.BULK else 1)


@pytest.mark.parametrize(("overlay", "lane"), scaled_objects())
def test_an_unreachable_redis_takes_no_worker_away(overlay: str, lane: Lane) -> None:
    """What KEDA's source asks for: a whole number as target, and fallback replicas that are not 0."""
    spec = of_lane(overlay, lane)["spec"]
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 1, "behavior": "currentReplicas"}
    assert int(spec["advanced"]["scalingModifiers"]["target"]) > 0
    assert spec["advanced"]["scalingModifiers"]["metricType"] == "AverageValue"


@pytest.mark.parametrize(("overlay", "lane"), scaled_objects())
def test_it_goes_to_zero_and_not_before_a_worker_could_have_started(overlay: str, lane: Lane) -> None:
    objects, spec = render(overlay), of_lane(overlay, lane)["spec"]
    assert spec["minReplicaCount"] == 0
    assert spec["advanced"]["scalingModifiers"]["activationTarget"] == "0"
    probe = container_of(find(objects, "Deployment", f"worker-{lane}"))["startupProbe"]
    assert spec["cooldownPeriod"] > probe["failureThreshold"] * probe["periodSeconds"]
    assert "replicas" not in find(objects, "Deployment", f"worker-{lane}")["spec"], (
        "an apply must not undo KEDA's number"
    )


@pytest.mark.parametrize(("overlay", "lane"), scaled_objects())
def test_one_busy_worker_does_not_ask_for_another(overlay: str, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker holds by itself, its pool and as much prefetched, stays below the target."""
    objects = render(overlay)
    settings = settings_of(find(objects, "Deployment", f"worker-{lane}"), objects, monkeypatch)
    held = 2 * (BULK_MESSAGES * settings.queue.chunk_size if lane is Lane.BULK else settings.worker.threads)
    assert int(of_lane(overlay, lane)["spec"]["advanced"]["scalingModifiers"]["target"]) > held


@pytest.mark.parametrize(("overlay", "lane"), scaled_objects())
def test_up_fast_and_down_slowly(overlay: str, lane: Lane) -> None:
    behavior = of_lane(overlay, lane)["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up, down = behavior["scaleUp"], behavior["scaleDown"]
    assert up["stabilizationWindowSeconds"] < down["stabilizationWindowSeconds"]

    def fastest(rules: Manifest) -> float:
        return max(each["value"] / each["periodSeconds"] for each in rules["policies"] if each["type"] == "Percent")

    assert fastest(up) > 10 * fastest(down)


def test_the_targets_match_the_documented_arithmetic() -> None:
    """Each row there reads: images/s × tolerated wait = target."""
    rows = re.findall(
        r"^\| (CPU|GPU) \| (interactive|bulk) \| ([\d,.]+) .*?\| ([\d,]+) s \| ([\d,]+) \|$",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    told = {(kind, lane): _number(rate) * _number(wait) for kind, lane, rate, wait, _ in rows}
    assert {key: int(value) for key, value in told.items()} == {(k, lane): int(_number(t)) for k, lane, _, _, t in rows}
    shipped = {
        (kind, lane.value): int(of_lane(overlay, lane)["spec"]["advanced"]["scalingModifiers"]["target"])
        for kind, overlay in (("CPU", "dev"), ("GPU", "prod"))
        for lane in Lane
    }
    assert shipped == {key: int(value) for key, value in told.items()}


def _number(text: str) -> float:
    return float(text.replace(",", ""))
