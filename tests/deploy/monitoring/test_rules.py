"""Dashboard, alerts and runbook, held against the metrics that the code has, against each other, and by promtool."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.settings import Settings
from core.telemetry.metrics import (
    ENDINGS,
    LANES,
    Registry,
    definitions,
    job_error_codes,
)
from deploy.monitoring import dashboard
from docs._ext import reference
from tests.deploy.monitoring import promql
from tests.processes import ROOT, environment

MONITORING = ROOT / "deploy" / "monitoring"
RULES = MONITORING / "alerts.yml"
UNIT_TESTS = (MONITORING / "alerts_test.yml", MONITORING / "alerts_day_test.yml")
CONFIGS = (MONITORING / "prometheus.yml", MONITORING / "prometheus-local.yml")
RUNBOOK = ROOT / "docs" / "operate" / "runbook.md"
SOURCES = ("api", "cli", "core", "dispatcher", "model", "worker")

# What Prometheus itself adds.
TARGET_LABELS = {"job", "instance"}
OWN_OF_PROMETHEUS = {"up": TARGET_LABELS, "ALERTS": {"alertname", "alertstate"}}
# In logs under a name that is put together: f"{name}_failed".
COMPOSED_EVENTS = {"sweep_failed"}


def all_queries() -> list[str]:
    """Every query of the dashboard and of the rules."""
    return [expr for _, expr in dashboard_queries()] + [rule["expr"] for rule in rules()]


def dashboard_queries() -> list[tuple[str, str]]:
    """(panel's title, query)."""
    panels = dashboard.build()["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]


@functools.cache
def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@functools.cache
def unit_tests() -> list[dict[str, Any]]:
    return [test for path in UNIT_TESTS for test in yaml.safe_load(path.read_text())["tests"]]


@functools.cache
def known() -> dict[str, set[str]]:
    """Each series that a process of ours has, with its labels."""
    series: dict[str, set[str]] = dict(OWN_OF_PROMETHEUS)
    for each in definitions():
        labels = {*each.labels, *TARGET_LABELS}
        if each.kind == "histogram":
            series |= {f"{each.name}_{part}": labels for part in ("sum", "count")}
            series[f"{each.name}_bucket"] = labels | {"le"}
        else:
            series[each.name] = labels
    for metric in Registry("api").collectors.collect():
        series |= {s.name: {*s.labels, *TARGET_LABELS} for s in metric.samples if s.name not in series}
    # What a rule records has the labels it was grouped by.
    for rule in rules():
        if "record" in rule:
            series[rule["record"]] = promql.read(rule["expr"]).groupings or {"attribute"}
    return series


def test_the_reader_of_queries_finds_what_a_query_names() -> None:
    named = promql.read('sum by (le, a) (rate(x_bucket{b=~"c d"}[5m] offset 1d)) / on () group_left (e) y:z > 2 * 1e3')
    assert named.metrics == {"x_bucket", "y:z"}
    assert named.matchers == [("x_bucket", "b", "=~", "c d")]
    assert named.groupings == {"le", "a", "e"}


def test_the_committed_dashboard_is_the_one_the_code_writes() -> None:
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text(), "run python -m deploy.monitoring.dashboard"


def test_every_panel_says_in_words_what_it_shows() -> None:
    panels = [panel for panel in dashboard.build()["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in panels if len(panel["description"]) < 10] == []
    assert len({panel["title"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("query", all_queries())
def test_a_query_names_only_metrics_and_labels_that_the_code_has(query: str) -> None:
    named = promql.read(query)
    assert named.metrics, query
    assert named.metrics - set(known()) == set()
    wrong = [(metric, label) for metric, label, _, _ in named.matchers if label not in known()[metric]]
    assert wrong == []
    assert named.groupings - set().union(*(known()[metric] for metric in named.metrics)) == set()


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    shown = set().union(*(promql.read(query).metrics for _, query in dashboard_queries()))
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} | shown
    assert {each.name for each in definitions()} - stems == set()


def test_queries_ask_for_values_that_there_are() -> None:
    """A lane, a job's ending or a code that was renamed would make a query silently empty."""
    allowed = {
        "lane": {*LANES, "$lane"},
        "code": set(job_error_codes()),
        "process": {"api", "worker", "dispatcher"},
    }
    jobs_status = set(ENDINGS)
    for query in all_queries():
        for metric, label, _, value in promql.read(query).matchers:
            values = jobs_status if (metric, label) == ("enrich_jobs_finished_total", "status") else allowed.get(label)
            assert values is None or set(value.split("|")) <= values, query


def test_a_light_turns_red_where_its_alert_fires() -> None:
    limits = {panel["title"]: panel["fieldConfig"] for panel in dashboard.build()["panels"] if panel["type"] == "stat"}

    def red(title: str) -> float:
        return float(limits[title]["defaults"]["thresholds"]["steps"][-1]["value"])

    def limit(alert: str) -> float:
        expr = next(rule["expr"] for rule in alerts() if rule["alert"] == alert)
        return float(re.findall(r"> ([\d.]+)", expr)[0])

    assert red("Oldest queued, interactive") == limit("EnrichInteractiveQueueOld")
    assert red("Oldest queued, bulk") == limit("EnrichBulkQueueOld")
    assert red("Failed jobs") == limit("EnrichFailureShareHigh")
    assert red("Time to answer, p95") == limit("EnrichAnswersSlow")
    assert red("Webhook lag") == limit("EnrichWebhookLag")


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_to_do_and_is_tested_both_ways(alert: dict[str, Any]) -> None:
    name, notes = alert["alert"], alert["annotations"]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert notes["summary"]
    assert notes["description"]
    assert notes["runbook_url"] == f"docs/operate/runbook.md#{name.lower()}"
    assert f"\n## {name}\n" in RUNBOOK.read_text(encoding="utf-8")
    tested = [test for test in unit_tests() if test["name"].split()[0] == name]
    firing = [sample for test in tested for case in test["promql_expr_test"] for sample in case["exp_samples"]]
    assert any(" fires " in test["name"] for test in tested)
    assert any(" does not fire " in test["name"] for test in tested)
    assert firing
    # The labels that its sentences speak of are those it fires with.
    spoken = set(re.findall(r"\$labels\.(\w+)", notes["description"]))
    assert all(spoken <= set(re.findall(r'(\w+)="', sample["labels"])) for sample in firing)


def test_the_runbook_has_no_entry_without_an_alert() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(alert["alert"] for alert in alerts())


def test_the_runbook_names_settings_panels_codes_and_events_that_there_are() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    source = "".join(path.read_text() for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
    settings = set(environment(Settings())) | set(re.findall(r"`(ENRICH_\w+)`", reference.settings()))
    assert set(re.findall(r"ENRICH_[A-Z_]+", text)) - settings == set()
    titles = {title.replace("$attribute", "…") for title, _ in dashboard_queries()}
    assert set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", text)) - titles - {"italics"} == set()
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text)) - COMPOSED_EVENTS
    missing = {word for word in words if not re.search(rf"\b{word}\b", source)}
    # The last is the database's own view of its sessions.
    assert missing - {"pg_stat_activity"} == set()


def test_who_is_told_to_run_jobs_again_is_told_whose() -> None:
    """Without an owner the command means the one of `enrich up`, which no other installation has."""
    for path in (RULES, RUNBOOK):
        commands = re.findall(r"enrich jobs retry[^.`]*", " ".join(path.read_text(encoding="utf-8").split()))
        assert commands
        assert [command for command in commands if "--owner OWNER" not in command] == []


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool on this machine: run tests/prepare.sh as root, or install Prometheus")
    return found


def run(*arguments: str | Path) -> None:
    done = subprocess.run(list(map(str, arguments)), cwd=MONITORING, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules_and_the_configurations(promtool: str) -> None:
    run(promtool, "check", "rules", RULES)
    for path in CONFIGS:
        run(promtool, "check", "config", path)


def test_each_alert_fires_when_it_should_and_only_then(promtool: str) -> None:
    run(promtool, "test", "rules", *UNIT_TESTS)
