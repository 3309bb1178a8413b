"""Webhooks, requests, and the processes themselves."""

from __future__ import annotations

from deploy.monitoring.panels import Panel, Query, Row
from deploy.monitoring.promql import CALLERS, OURS, RATE, per_second, quantile


def webhooks() -> Row:
    return Row(
        "Webhooks",
        [
            Panel(
                "Attempts per second",
                "Requests to the shops' endpoints. Failed ones are repeated for three days.",
                [Query(per_second("enrich_webhook_attempts_total", by="outcome"), "{{outcome}}")],
                unit="ops",
                is_stacked=True,
            ),
            Panel(
                "Pending",
                "Deliveries still to be made, those that wait for their next attempt included.",
                [Query("max(enrich_webhook_pending)", "pending")],
                width=4,
            ),
            Panel(
                "Lag",
                "How late the oldest is that is due, of endpoints that are well.",
                [Query("max(enrich_webhook_lag_seconds)", "lag")],
                unit="s",
                width=4,
            ),
            Panel(
                "Endpoints",
                "Registered endpoints by their state. Failing ones are probed; after five days they are disabled.",
                [Query("max by (state) (enrich_webhook_endpoints)", "{{state}}")],
                width=4,
                is_stacked=True,
            ),
            Panel(
                "One attempt",
                "How long endpoints take to answer; an attempt ends after ENRICH_WEBHOOKS__TIMEOUT_S.",
                [
                    Query(quantile(0.5, "enrich_webhook_attempt_seconds"), "p50"),
                    Query(quantile(0.95, "enrich_webhook_attempt_seconds"), "p95"),
                ],
                unit="s",
                width=4,
            ),
        ],
    )


def processes() -> Row:
    return Row(
        "API and processes",
        [
            Panel(
                "Requests per second",
                "By route; probes and scrapes are left out.",
                [Query(per_second("enrich_http_requests_total", CALLERS, by="method, route"), "{{method}} {{route}}")],
                unit="reqps",
            ),
            Panel(
                "Requests by status",
                "4xx are callers' mistakes (429 = too fast), 5xx are ours.",
                [Query(per_second("enrich_http_requests_total", CALLERS, by="status"), "{{status}}")],
                unit="reqps",
                is_stacked=True,
            ),
            Panel(
                "Request time, p95",
                "By route. Requests that wait on purpose (?wait=, Prefer: wait) are in it.",
                [Query(quantile(0.95, "enrich_http_request_seconds", CALLERS, by="route"), "{{route}}")],
                unit="s",
            ),
            Panel(
                "Waiting requests",
                "Requests that wait for a job on purpose. At most half of ENRICH_API__THREADS in each process.",
                [Query("sum(enrich_waiting_requests)", "waiting")],
                width=6,
            ),
            Panel(
                "Memory",
                "Resident memory of each process. A line that only rises is a leak.",
                [Query(f"process_resident_memory_bytes {OURS}", "{{process}} {{instance}}")],
                unit="bytes",
                width=6,
            ),
            Panel(
                "CPU",
                "Cores in use by each process.",
                [Query(f"rate(process_cpu_seconds_total[{RATE}]) {OURS}", "{{process}} {{instance}}")],
                width=6,
            ),
            Panel(
                "GPU memory",
                "As torch tells it. Reserved near total: the next larger batch fails.",
                [Query("max by (instance, kind) (enrich_gpu_memory_bytes)", "{{instance}} {{kind}}")],
                unit="bytes",
                width=6,
            ),
            Panel(
                "Restarts in the last hour",
                "Of the process at the same address. A new pod has a new address and is not counted.",
                [Query(f"changes(process_start_time_seconds[1h]) {OURS}", "{{process}} {{instance}}")],
                width=8,
            ),
            Panel(
                "Open files",
                "Sockets included.",
                [Query(f"process_open_fds {OURS}", "{{process}} {{instance}}")],
                width=8,
            ),
            Panel(
                "Versions",
                "Processes of each version of the service. Two versions are right during a roll-out only.",
                [Query("count by (process, version) (enrich_build_info)", "{{process}} {{version}}")],
                width=8,
                is_stacked=True,
            ),
        ],
    )
