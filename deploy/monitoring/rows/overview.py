"""The dashboard's overview: the current health in eight stats.

The stats use fixed windows instead of the selected time range, because they show the present. Their red limits are
those of alerts.yml; yellow comes before the alert.
"""

from __future__ import annotations

from functools import partial

from deploy.monitoring.panels import Limits, Panel, Query, Row
from deploy.monitoring.promql import quantile

# Eight of them fill the row.
light = partial(Panel, width=3, height=5)


def overview() -> Row:
    # Jobs that the dispatcher failed as poison are missing in the workers' counters.
    poisoned = "(sum(increase(enrich_jobs_poisoned_total[15m])) or vector(0))"
    ended, failed = (
        f'((sum(increase(enrich_jobs_finished_total{{status=~"{status}"}}[15m])) or vector(0)) + {poisoned})'
        for status in ("succeeded|failed", "failed")
    )
    return Row(
        "Overview",
        [
            light(
                "Oldest queued, interactive",
                "Time that the oldest interactive job has waited for a worker. Seconds are normal, minutes while the "
                "first worker starts.",
                [Query('max(enrich_queue_oldest_seconds{lane="interactive"})')],
                unit="s",
                limits=Limits(60, 300),
            ),
            light(
                "Oldest queued, bulk",
                "Time that the oldest bulk job has waited for a worker. Minutes to hours are normal after a large "
                "submission.",
                [Query('max(enrich_queue_oldest_seconds{lane="bulk"})')],
                unit="s",
                limits=Limits(3600, 7200),
            ),
            light(
                "Failed jobs",
                "Share of failed jobs among those that finished in the last 15 minutes, whatever the cause. See the "
                "row Failures.",
                [Query(f"{failed} / ({ended} > 0)")],
                unit="percentunit",
                limits=Limits(0.05, 0.25),
                idle_text="no jobs",
                decimals=1,
            ),
            light(
                "Time to answer, p95",
                "Time from the request to the answer, for interactive jobs of the last 15 minutes. 19 of 20 were "
                "faster.",
                [Query(quantile(0.95, "enrich_job_seconds", 'lane="interactive"', over="15m"))],
                unit="s",
                limits=Limits(10, 30),
                idle_text="no jobs",
            ),
            light(
                "Webhook lag",
                "Time since the oldest pending webhook to a healthy endpoint became due.",
                [Query("max(enrich_webhook_lag_seconds)")],
                unit="s",
                limits=Limits(60, 300),
            ),
            light(
                "Workers up",
                "Running workers of both lanes. 0 is normal if the workers are scaled to zero and no job is queued.",
                [Query("count(count by (job, instance) (enrich_jobs_in_progress)) or vector(0)")],
                limits=Limits(1, 0, rises=False),
            ),
            light(
                "Bundle",
                "The model bundle of the workers. Two bundles are normal only during a rollout.",
                [Query("max by (bundle, version) (enrich_bundle_info)", "{{bundle}} {{version}}")],
                is_stat=True,
                shows_name=True,
                idle_text="no workers",
            ),
            light(
                "Alerts",
                "Firing alerts. docs/operate/runbook.md explains what to do for each.",
                [Query('count(ALERTS{alertname=~"Enrich.+", alertstate="firing"}) or vector(0)')],
                limits=Limits(1, 3),
            ),
        ],
    )
