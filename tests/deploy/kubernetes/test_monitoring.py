"""The components that no overlay has by itself: what Prometheus asks and is told, and the way of traces."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from deploy.monitoring import dashboard, prometheus_rule
from tests.deploy.kubernetes.manifests import (
    OVERLAYS,
    Manifest,
    container_of,
    find,
    of_kind,
    render,
    render_with,
    settings_of,
)
from tests.deploy.kubernetes.test_network import egress
from tests.processes import ROOT

MONITORING = ROOT / "deploy" / "monitoring"
WORKLOADS = ("api", "dispatcher", "worker-interactive", "worker-bulk")


@pytest.fixture
def watched(tmp_path: Path) -> list[Manifest]:
    return render_with("monitoring", "prod", tmp_path)


def relabeled(endpoint: Manifest, labels: dict[str, str]) -> dict[str, str]:
    """What the endpoint's relabelings make of a target with these labels (`replace`, the only action in use)."""
    for rule in endpoint["relabelings"]:
        assert "action" not in rule
        value = ";".join(labels.get(name, "") for name in rule["sourceLabels"])
        if found := re.fullmatch(rule.get("regex", "(.*)"), value):
            template = re.sub(r"\$(\d)", r"\\\1", rule.get("replacement", "$1"))
            labels |= {rule["targetLabel"]: found.expand(template)}
    return labels


def targets(objects: list[Manifest], name: str) -> list[dict[str, str]]:
    """The labels of each target that a pod of the Deployment is."""
    spec = find(objects, "PodMonitor", "enrich")["spec"]
    template = find(objects, "Deployment", name)["spec"]["template"]
    (choice,) = spec["selector"]["matchExpressions"]
    if template["metadata"]["labels"][choice["key"]] not in choice["values"]:
        return []
    meta = {
        f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}": value
        for key, value in template["metadata"]["labels"].items()
    }
    ports = {port["name"] for port in container_of(find(objects, "Deployment", name))["ports"]}
    return [
        relabeled(endpoint, {**meta, "__meta_kubernetes_pod_name": f"{name}-abc"})
        for endpoint in spec["podMetricsEndpoints"]
        if endpoint["port"] in ports
    ]


def test_no_overlay_needs_the_operator() -> None:
    for overlay in OVERLAYS:
        assert [each for each in render(overlay) if "monitoring.coreos.com" in each["apiVersion"]] == []


def test_every_process_is_one_target_under_the_names_that_the_alerts_go_by(watched: list[Manifest]) -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    jobs = {each["job_name"] for each in config["scrape_configs"]}
    found = {name: targets(watched, name) for name in WORKLOADS}
    assert all(len(each) == 1 for each in found.values())
    assert {target["job"] for (target,) in found.values()} == jobs
    assert found["worker-bulk"][0]["job"] == "enrich-worker"
    assert found["worker-bulk"][0]["instance"] == "worker-bulk-abc"
    for endpoint in find(watched, "PodMonitor", "enrich")["spec"]["podMetricsEndpoints"]:
        assert (endpoint["path"], endpoint["interval"]) == ("/metrics", config["global"]["scrape_interval"])


def test_the_rules_are_those_of_alerts_yml(watched: list[Manifest], tmp_path: Path) -> None:
    assert prometheus_rule.FILE.read_text(encoding="utf-8") == prometheus_rule.text(), "run make dashboard"
    spec: dict[str, Any] = find(watched, "PrometheusRule", "enrich")["spec"]
    assert spec == yaml.safe_load((MONITORING / "alerts.yml").read_text())
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine: run tests/prepare.sh as root, or install Prometheus")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(spec))
    done = subprocess.run([promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_s_sidecar_finds_the_dashboard(watched: list[Manifest]) -> None:
    config = find(watched, "ConfigMap", "enrich-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["data"] == {"enrich.json": dashboard.text()}
    assert len(dashboard.text().encode()) < 256 * 1024, "`kubectl apply` writes it into an annotation once more"


def test_all_of_it_is_in_the_overlay_s_namespace(watched: list[Manifest]) -> None:
    kinds = {"PodMonitor": 1, "PrometheusRule": 1}
    assert {kind: len(of_kind(watched, kind)) for kind in kinds} == kinds
    for kind, name in (("PodMonitor", "enrich"), ("PrometheusRule", "enrich"), ("ConfigMap", "enrich-dashboard")):
        assert find(watched, kind, name)["metadata"]["namespace"] == "enrich"


def test_traces_have_a_way_to_the_collector_and_only_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, traced = render("prod"), render_with("traces", "prod", tmp_path)
    endpoint = settings_of(find(traced, "Deployment", "api"), traced, monkeypatch).tracing.endpoint
    address = urlsplit(str(endpoint))
    (rule,) = find(traced, "NetworkPolicy", "traces")["spec"]["egress"]
    (to,) = rule["to"]
    assert str(address.hostname).split(".")[1:] == [*to["namespaceSelector"]["matchLabels"].values(), "svc"]
    assert rule["ports"] == [{"protocol": "TCP", "port": address.port}]
    for component in ("api", "worker", "dispatcher"):
        assert rule in list(egress(traced, component))
        assert rule not in list(egress(plain, component))
    assert rule not in list(egress(traced, "migrate"))
    for name in WORKLOADS:
        assert settings_of(find(traced, "Deployment", name), traced, monkeypatch).tracing.endpoint == endpoint
    # What the overlay set is still set.
    assert (
        settings_of(find(traced, "Deployment", "api"), traced, monkeypatch).storage.bucket == "example-enrich-uploads"
    )
