"""Each object of each overlay, held against Kubernetes' own schemas."""

from __future__ import annotations

import warnings

import pytest

from tests.deploy.kubernetes.manifests import (
    OVERLAYS,
    find,
    of_kind,
    render,
    workloads,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kubernetes_validate

VERSIONS = ("1.30", kubernetes_validate.latest_version())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_valid(overlay: str, version: str) -> None:
    objects = [each for each in render(overlay) if not each["apiVersion"].startswith("keda.sh/")]
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
    assert len(objects) > 20


def test_a_misspelt_field_would_be_seen() -> None:
    service = find(render("dev"), "Service", "api")
    service["spec"]["selektor"] = service["spec"].pop("selector")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[0], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_two_objects_are_one(overlay: str) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in render(overlay)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_the_pods_they_are_meant_for(overlay: str) -> None:
    objects = render(overlay)
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in workloads(objects)]
    selectors = {
        f"{each['kind']} {each['metadata']['name']}": each["spec"]["selector"]
        for each in objects
        if each["kind"] in ("Service", "PodDisruptionBudget", "Deployment", "StatefulSet")
    }
    for name, selector in selectors.items():
        labels = selector.get("matchLabels", selector)
        assert sum(labels.items() <= pod.items() for pod in pods) == 1, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_of_ours_but_the_jobs_have_a_disruption_budget_and_are_spread(overlay: str) -> None:
    objects = render(overlay)
    names = {"api", "dispatcher", "worker-interactive", "worker-bulk"}
    assert {each["metadata"]["name"] for each in of_kind(objects, "PodDisruptionBudget")} == names
    for name in names:
        pod = find(objects, "Deployment", name)["spec"]["template"]
        for constraint in pod["spec"]["topologySpreadConstraints"]:
            assert constraint["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_referred_to_exists(overlay: str) -> None:
    """Secrets of prod are the operator's; everything else is in the manifests."""
    objects = render(overlay)
    priorities = {each["metadata"]["name"] for each in of_kind(objects, "PriorityClass")}
    accounts = {each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")}
    secrets = {each["metadata"]["name"] for each in of_kind(objects, "Secret")}
    assert secrets == (set() if overlay == "prod" else {"enrich-secrets", "enrich-keda", "stores"})
    for workload in workloads(objects):
        pod = workload["spec"]["template"]["spec"]
        assert pod.get("priorityClassName", "enrich-bulk") in priorities
        assert pod.get("serviceAccountName", "enrich") in accounts
