"""Dashboard rows on the queue, scaling, throughput and latency."""

from __future__ import annotations

from deploy.monitoring.panels import Panel, Query, Row
from deploy.monitoring.promql import LANE, RATE, mean, per_second, quantile, quantiles


def queue() -> Row:
    return Row(
        "Queue and scaling",
        [
            Panel(
                "Oldest queued job",
                "Time since the oldest queued job became due, from Postgres. 0 if no job is queued.",
                [Query(f"max by (lane) (enrich_queue_oldest_seconds{{{LANE}}})", "{{lane}}")],
                unit="s",
            ),
            Panel(
                "Messages queued and in flight",
                "The values that KEDA scales by: messages in the lane's list, and messages that workers hold. A bulk "
                "message contains up to 64 jobs.",
                [
                    Query(f"max by (lane) (enrich_queue_depth{{{LANE}}})", "{{lane}} queued"),
                    Query(f"max by (lane) (enrich_queue_in_flight{{{LANE}}})", "{{lane}} in flight"),
                ],
            ),
            Panel(
                "Unfinished jobs",
                "Queued and processing jobs in Postgres. The sweeper publishes queued jobs again that have no message.",
                [Query(f"max by (lane, status) (enrich_jobs{{{LANE}}})", "{{lane}} {{status}}")],
            ),
            Panel(
                "Workers",
                "Running workers per lane. Their number should follow the number of queued messages.",
                [Query(f"count by (lane) (enrich_jobs_in_progress{{{LANE}}})", "{{lane}}")],
            ),
            Panel(
                "Accepted and finished per second",
                "Jobs accepted by the API and jobs finished by workers. The queue grows while more are accepted.",
                [
                    Query(per_second("enrich_jobs_accepted_total", LANE, by="lane"), "{{lane}} accepted"),
                    Query(
                        per_second("enrich_jobs_finished_total", LANE, 'status=~"succeeded|failed"', by="lane"),
                        "{{lane}} finished",
                    ),
                ],
                unit="ops",
            ),
            Panel(
                "Repairs",
                "Recoveries in the last five minutes: expired leases of dead workers, jobs published again because "
                "Redis lost their message, leases lost during work, and failed publishing. Normally all are 0.",
                [
                    Query("sum(increase(enrich_jobs_expired_total[5m]))", "leases expired"),
                    Query("sum(increase(enrich_jobs_republished_total[5m]))", "published again"),
                    Query("sum(increase(enrich_leases_lost_total[5m]))", "leases lost"),
                    Query("sum(increase(enrich_publish_failed_total[5m]))", "publishing failed"),
                ],
            ),
            Panel(
                "Sweeps",
                "Sweeps by outcome. A sweep frees expired leases and publishes lost jobs again. With several "
                "dispatchers, one sweeps and the others skip.",
                [Query(per_second("enrich_sweeps_total", by="outcome"), "{{outcome}}")],
                unit="ops",
            ),
        ],
    )


def speed() -> Row:
    return Row(
        "Throughput and latency",
        [
            Panel(
                "Answers per second",
                "Succeeded jobs.",
                [Query(per_second("enrich_jobs_finished_total", LANE, 'status="succeeded"', by="lane"), "{{lane}}")],
                unit="ops",
            ),
            Panel(
                "Time to answer",
                "Time from the request to the answer, including the time in the queue, for jobs that succeeded.",
                quantiles("enrich_job_seconds", LANE, by="lane"),
                unit="s",
            ),
            Panel(
                "Jobs in progress",
                "Jobs that workers hold, per lane; at most ENRICH_WORKER__THREADS per worker.",
                [Query(f"sum by (lane) (enrich_jobs_in_progress{{{LANE}}})", "{{lane}}")],
            ),
            Panel(
                "Stages, mean",
                "Mean time per stage. A stage that grows alone shows the cause: fetch = image servers, model = GPU or "
                "CPU, finish = Postgres.",
                [Query(mean("enrich_stage_seconds", by="stage"), "{{stage}}")],
                unit="s",
                is_stacked=True,
            ),
            Panel(
                "Stages, p95",
                "95th percentile of the time per stage.",
                [Query(quantile(0.95, "enrich_stage_seconds", by="stage"), "{{stage}}")],
                unit="s",
            ),
            Panel(
                "Images per model call",
                "Mean and p95. Near ENRICH_WORKER__MAX_BATCH_SIZE under load, near 1 otherwise.",
                [
                    Query(mean("enrich_batch_size"), "mean"),
                    Query(quantile(0.95, "enrich_batch_size"), "p95"),
                ],
            ),
            Panel(
                "Model call duration",
                "Duration of one model call for a whole batch.",
                quantiles("enrich_batch_seconds"),
                unit="s",
            ),
            Panel(
                "Model busy",
                "Share of the time in which the model computes, averaged over the workers. Near 1, more workers help. "
                "If it is low while jobs are queued, a stage before the model is slow.",
                [Query(f"avg(rate(enrich_batch_seconds_sum[{RATE}]))", "busy")],
                unit="percentunit",
                top=1,
            ),
            Panel(
                "Cold start",
                "Time from a worker's start until it is ready. KEDA's cooldown must be longer.",
                [Query("max by (instance) (enrich_worker_ready_seconds)", "{{instance}}")],
                unit="s",
            ),
        ],
    )
