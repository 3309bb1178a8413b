"""Dashboard rows on webhooks, API requests and processes."""

from __future__ import annotations

from deploy.monitoring.panels import Panel, Query, Row
from deploy.monitoring.promql import CALLERS, OURS, RATE, per_second, quantile


def webhooks() -> Row:
    return Row(
        "Webhooks",
        [
            Panel(
                "Attempts per second",
                "Requests to webhook endpoints. Failed attempts are retried for about three days.",
                [Query(per_second("enrich_webhook_attempts_total", by="outcome"), "{{outcome}}")],
                unit="ops",
                is_stacked=True,
            ),
            Panel(
                "Pending",
                "Pending deliveries, including those that wait for their next attempt.",
                [Query("max(enrich_webhook_pending)", "pending")],
                width=4,
            ),
            Panel(
                "Lag",
                "Time since the oldest pending delivery to a healthy endpoint became due.",
                [Query("max(enrich_webhook_lag_seconds)", "lag")],
                unit="s",
                width=4,
            ),
            Panel(
                "Endpoints",
                "Registered endpoints by state. Failing endpoints are probed, and disabled after five days.",
                [Query("max by (state) (enrich_webhook_endpoints)", "{{state}}")],
                width=4,
                is_stacked=True,
            ),
            Panel(
                "Attempt duration",
                "Response time of endpoints. An attempt times out after ENRICH_WEBHOOKS__TIMEOUT_S.",
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
                "By route, without probes and scrapes.",
                [Query(per_second("enrich_http_requests_total", CALLERS, by="method, route"), "{{method}} {{route}}")],
                unit="reqps",
            ),
            Panel(
                "Requests by status",
                "4xx are errors of callers (429: rate limit), 5xx are errors of the service.",
                [Query(per_second("enrich_http_requests_total", CALLERS, by="status"), "{{status}}")],
                unit="reqps",
                is_stacked=True,
            ),
            Panel(
                "Request time, p95",
                "By route, including the time that requests wait for a job (?wait=, Prefer: wait).",
                [Query(quantile(0.95, "enrich_http_request_seconds", CALLERS, by="route"), "{{route}}")],
                unit="s",
            ),
            Panel(
                "Waiting requests",
                "Requests that wait for a job to finish, at most half of ENRICH_API__THREADS per process.",
                [Query("sum(enrich_waiting_requests)", "waiting")],
                width=6,
            ),
            Panel(
                "Memory",
                "Resident memory of each process. A steady rise indicates a leak.",
                [Query(f"process_resident_memory_bytes {OURS}", "{{process}} {{instance}}")],
                unit="bytes",
                width=6,
            ),
            Panel(
                "CPU",
                "CPU cores used by each process.",
                [Query(f"rate(process_cpu_seconds_total[{RATE}]) {OURS}", "{{process}} {{instance}}")],
                width=6,
            ),
            Panel(
                "GPU memory",
                "As reported by PyTorch. If reserved is near total, a larger batch may fail.",
                [Query("max by (instance, kind) (enrich_gpu_memory_bytes)", "{{instance}} {{kind}}")],
                unit="bytes",
                width=6,
            ),
            Panel(
                "Restarts in the last hour",
                "Restarts of the process at the same address. A new pod has a new address and is not counted.",
                [Query(f"changes(process_start_time_seconds[1h]) {OURS}", "{{process}} {{instance}}")],
                width=8,
            ),
            Panel(
                "Open files",
                "Open file descriptors, including sockets.",
                [Query(f"process_open_fds {OURS}", "{{process}} {{instance}}")],
                width=8,
            ),
            Panel(
                "Versions",
                "Processes by version of the service. Two versions are normal only during a rollout.",
                [Query("count by (process, version) (enrich_build_info)", "{{process}} {{version}}")],
                width=8,
                is_stacked=True,
            ),
        ],
    )
