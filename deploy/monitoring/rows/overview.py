"""The traffic lights: is all well?

Stats look back over fixed times and not over the chosen range: "is all well" means now. Their limits are those of
alerts.yml, with yellow before the alert.
"""

from __future__ import annotations

from functools import partial

from deploy.monitoring.panels import Limits, Panel, Query, Row
from deploy.monitoring.promql import quantile

# Eight of them fill the row.
light = partial(Panel, width=3, height=5)


def all_well() -> Row:
    """Eight lights side by side."""
    # What the dispatcher failed as poison had no worker left to count it.
    poisoned = "(sum(increase(enrich_jobs_poisoned_total[15m])) or vector(0))"
    ended, failed = (
        f'((sum(increase(enrich_jobs_finished_total{{status=~"{status}"}}[15m])) or vector(0)) + {poisoned})'
        for status in ("succeeded|failed", "failed")
    )
    return Row(
        "Is all well?",
        [
            light(
                "Oldest waiting, interactive",
                "How long the oldest interactive job has waited for a worker. Seconds are normal; minutes while the "
                "first worker starts after a quiet time.",
                [Query('max(enrich_queue_oldest_seconds{lane="interactive"})')],
                unit="s",
                limits=Limits(60, 300),
            ),
            light(
                "Oldest waiting, bulk",
                "How long the oldest bulk job has waited for a worker. Minutes to hours are normal while much is "
                "handed in at once.",
                [Query('max(enrich_queue_oldest_seconds{lane="bulk"})')],
                unit="s",
                limits=Limits(3600, 7200),
            ),
            light(
                "Failed jobs",
                "Share of the jobs that ended in the last 15 minutes and failed, whoever is to blame. What they failed "
                "of is shown under Failures.",
                [Query(f"{failed} / ({ended} > 0)")],
                unit="percentunit",
                limits=Limits(0.05, 0.25),
                idle_text="no jobs",
                decimals=1,
            ),
            light(
                "Time to the answer, p95",
                "From the request to the answer, of the interactive jobs of the last 15 minutes: 19 of 20 were faster.",
                [Query(quantile(0.95, "enrich_job_seconds", 'lane="interactive"', over="15m"))],
                unit="s",
                limits=Limits(10, 30),
                idle_text="no jobs",
            ),
            light(
                "Webhook lag",
                "How late the oldest webhook is that should have been sent by now, of endpoints that are well.",
                [Query("max(enrich_webhook_lag_seconds)")],
                unit="s",
                limits=Limits(60, 300),
            ),
            light(
                "Workers up",
                "Workers that answer, both lanes. None is right while nothing waits and they are scaled to zero; it is "
                "wrong while something waits.",
                [Query("count(count by (job, instance) (enrich_jobs_in_progress)) or vector(0)")],
                limits=Limits(1, 0, rises=False),
            ),
            light(
                "Bundle",
                "The model the workers answer with. Two names are right during a roll-out only.",
                [Query("max by (bundle, version) (enrich_bundle_info)", "{{bundle}} {{version}}")],
                is_stat=True,
                shows_name=True,
                idle_text="no workers",
            ),
            light(
                "Alerts",
                "Alerts that fire now. Each has an entry in docs/operate/runbook.md that says what to do.",
                [Query('count(ALERTS{alertname=~"Enrich.+", alertstate="firing"}) or vector(0)')],
                limits=Limits(1, 3),
            ),
        ],
    )
