"""Who may reach whom: the policies are evaluated, not only read."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from api.app import create_app
from api.services import services_of
from core.net import ssrf_guard
from core.settings import FetchSettings, Settings
from tests.deploy.kubernetes.manifests import (
    OVERLAYS,
    Manifest,
    find,
    of_kind,
    render,
    workloads,
)

OURS = {"api", "worker", "dispatcher", "migrate"}
INSIDE = (
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.20.0.10",
    "192.168.1.1",
    "168.63.129.16",
    "fd00:ec2::254",
    "fe80::1",
    "::1",
    "2002:a00:1::1",
    "64:ff9b::a00:1",
)
OUTSIDE = ("1.1.1.1", "151.101.1.1", "2606:4700::1111")


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector picks the labels."""
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


def egress(objects: list[Manifest], component: str) -> Iterator[Manifest]:
    """The egress rules that hold for pods of the component."""
    for policy in of_kind(objects, "NetworkPolicy"):
        if matches(policy["spec"]["podSelector"], {"app.kubernetes.io/component": component}):
            yield from policy["spec"].get("egress", [])


def may_reach(objects: list[Manifest], component: str, ip: str, port: int) -> bool:
    """Whether a pod of the component may open a TCP connection to the address."""
    return any(
        _holds(each["ipBlock"], ip)
        for rule in egress(objects, component)
        if {"protocol": "TCP", "port": port} in rule["ports"]
        for each in rule["to"]
        if "ipBlock" in each
    )


def _holds(block: Manifest, ip: str) -> bool:
    address, net = ip_address(ip), ip_network(block["cidr"])
    return address.version == net.version and address in net and not any(
        address in ip_network(each) for each in block.get("except", [])
    )  # fmt: skip


def may_reach_pod(objects: list[Manifest], source: str, target: str, port: int) -> bool:
    """Whether both ends let a pod of one component open a connection to a pod of another."""
    out = any(
        matches(each["podSelector"], {"app.kubernetes.io/component": target})
        for rule in egress(objects, source)
        if {"protocol": "TCP", "port": port} in rule["ports"]
        for each in rule["to"]
        if "podSelector" in each and "namespaceSelector" not in each
    )
    return out and any(
        matches(each["podSelector"], {"app.kubernetes.io/component": source})
        for policy in of_kind(objects, "NetworkPolicy")
        if matches(policy["spec"]["podSelector"], {"app.kubernetes.io/component": target})
        for rule in policy["spec"].get("ingress", [])
        if {"protocol": "TCP", "port": port} in rule["ports"]
        for each in rule["from"]
        if "podSelector" in each
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_open_that_no_policy_opens(overlay: str) -> None:
    spec = find(render(overlay), "NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("component", ["worker", "dispatcher"])
def test_workers_and_dispatcher_reach_the_internet_and_nothing_inside(overlay: str, component: str) -> None:
    objects = render(overlay)
    for port in FetchSettings().ports:
        assert [ip for ip in INSIDE if may_reach(objects, component, ip, port)] == []
        assert [ip for ip in OUTSIDE if not may_reach(objects, component, ip, port)] == []
    assert not may_reach(objects, component, OUTSIDE[0], 22)


def test_the_policy_and_the_guard_close_the_same_networks() -> None:
    (rule,) = find(render("prod"), "NetworkPolicy", "internet")["spec"]["egress"]
    v4, v6 = (each["ipBlock"] for each in rule["to"])
    assert v4["except"] == [str(net) for net in ssrf_guard._BLOCKED_V4]
    assert (v6["cidr"], v6["except"]) == (str(ssrf_guard._GLOBAL_V6), [str(net) for net in ssrf_guard._BLOCKED_V6])
    assert [each["port"] for each in rule["ports"]] == list(FetchSettings().ports)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("component", ["api", "migrate"])
def test_the_api_and_the_migration_reach_no_internet(overlay: str, component: str) -> None:
    objects = render(overlay)
    assert [ip for ip in OUTSIDE for port in (80, 443, 8080) if may_reach(objects, component, ip, port)] == []


@pytest.mark.parametrize("overlay", ["dev", "gpu"])
def test_each_process_reaches_the_stores_it_needs_and_no_other(overlay: str) -> None:
    objects = render(overlay)
    stores = {"postgres": 5432, "valkey": 6379, "s3": 8333}
    reached = {
        source: {target for target, port in stores.items() if may_reach_pod(objects, source, target, port)}
        for source in (*OURS, "bucket")
    }
    everything = set(stores)
    assert reached == {
        "api": everything,
        "worker": everything,
        "dispatcher": {"postgres", "valkey"},
        "migrate": {"postgres"},
        "bucket": {"s3"},
    }
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in workloads(objects)]
    assert {each["app.kubernetes.io/component"] for each in labels} == OURS | everything | {"bucket"}, "no other pods"


def test_keda_may_ask_valkey() -> None:
    (rule,) = find(render("dev"), "NetworkPolicy", "to-valkey")["spec"]["ingress"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}} in rule["from"]


def test_production_reaches_the_three_stores_once_their_networks_are_filled_in() -> None:
    objects = render("prod")
    stores = {"postgres": ("192.0.2.1", 5432), "queue": ("192.0.2.17", 6379), "s3": ("192.0.2.33", 443)}
    reached = {
        component: {name for name, (ip, port) in stores.items() if may_reach(objects, component, ip, port)}
        for component in OURS
    }
    assert reached == {
        "api": set(stores),
        "worker": set(stores),
        # It has no key to the bucket either. A bucket on the internet it can reach as it can any address there.
        "dispatcher": {"postgres", "queue"},
        "migrate": {"postgres"},
    }


def ingress_paths() -> list[tuple[str, str]]:
    (rule,) = find(render("prod"), "Ingress", "api")["spec"]["rules"]
    return [(each["path"], each["pathType"]) for each in rule["http"]["paths"]]


def is_served(path: str) -> bool:
    """Whether the Ingress hands the path on, by Kubernetes' rules for Exact and Prefix."""
    return any(path == each or (kind == "Prefix" and path.startswith(f"{each}/")) for each, kind in ingress_paths())


def test_the_ingress_serves_every_route_but_what_is_for_operators() -> None:
    app = create_app(Settings())
    try:
        rules = {str(rule) for rule in app.url_map.iter_rules()}
    finally:
        services_of(app).close()
    hidden = {path for path in rules if not is_served(path)}
    assert hidden <= {"/healthz", "/readyz", "/metrics"}
    assert not is_served("/metrics")


def test_the_ingress_lets_through_what_the_api_takes() -> None:
    notes: dict[str, Any] = find(render("prod"), "Ingress", "api")["metadata"]["annotations"]
    settings = Settings().api
    largest_mib = int(notes["nginx.ingress.kubernetes.io/proxy-body-size"].removesuffix("m"))
    assert largest_mib * 1024 * 1024 >= settings.max_request_bytes
    assert int(notes["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > settings.max_wait_s
