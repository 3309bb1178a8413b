"""Queue, scaling, throughput and latency."""

from __future__ import annotations

from deploy.monitoring.panels import Panel, Query, Row
from deploy.monitoring.promql import LANE, RATE, mean, per_second, quantile, quantiles


def queue() -> Row:
    return Row(
        "Queue and scaling",
        [
            Panel(
                "Oldest waiting job",
                "Age of the oldest job that waits and is due, from the record in Postgres: 0 = nothing waits.",
                [Query(f"max by (lane) (enrich_queue_oldest_seconds{{{LANE}}})", "{{lane}}")],
                unit="s",
            ),
            Panel(
                "Messages waiting and in work",
                "What KEDA scales on: messages in the lane's list, and those a worker holds. A bulk message is up to "
                "64 jobs.",
                [
                    Query(f"max by (lane) (enrich_queue_depth{{{LANE}}})", "{{lane}} waiting"),
                    Query(f"max by (lane) (enrich_queue_in_flight{{{LANE}}})", "{{lane}} in work"),
                ],
            ),
            Panel(
                "Jobs in the record",
                "Jobs that are queued or processing, as Postgres has them. Queued jobs without messages are published "
                "again by the sweeper.",
                [Query(f"max by (lane, status) (enrich_jobs{{{LANE}}})", "{{lane}} {{status}}")],
            ),
            Panel(
                "Workers",
                "Workers that answer, per lane. They should follow the waiting messages up, and go back later.",
                [Query(f"count by (lane) (enrich_jobs_in_progress{{{LANE}}})", "{{lane}}")],
            ),
            Panel(
                "Accepted and ended per second",
                "Jobs taken by the API, and jobs ended by workers. While more are taken than ended, the queue grows.",
                [
                    Query(per_second("enrich_jobs_accepted_total", LANE, by="lane"), "{{lane}} accepted"),
                    Query(
                        per_second("enrich_jobs_finished_total", LANE, 'status=~"succeeded|failed"', by="lane"),
                        "{{lane}} ended",
                    ),
                ],
                unit="ops",
            ),
            Panel(
                "Repairs",
                "Mended in the last five minutes: leases of workers that died, messages that Redis lost, leases that "
                "a worker lost while it worked, publishing that failed. All are 0 on a quiet day.",
                [
                    Query("sum(increase(enrich_jobs_expired_total[5m]))", "leases expired"),
                    Query("sum(increase(enrich_jobs_republished_total[5m]))", "published again"),
                    Query("sum(increase(enrich_leases_lost_total[5m]))", "leases lost"),
                    Query("sum(increase(enrich_publish_failed_total[5m]))", "publishing failed"),
                ],
            ),
            Panel(
                "Sweeps",
                "Rounds of the sweeper, which frees expired leases and publishes lost jobs again. With several "
                "dispatchers one sweeps and the others skip.",
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
                "Jobs that succeeded.",
                [Query(per_second("enrich_jobs_finished_total", LANE, 'status="succeeded"', by="lane"), "{{lane}}")],
                unit="ops",
            ),
            Panel(
                "Time to the answer",
                "From the request to the answer, waiting included, of jobs that succeeded.",
                quantiles("enrich_job_seconds", LANE, by="lane"),
                unit="s",
            ),
            Panel(
                "Jobs in work",
                "Jobs that workers have in hand, per lane; at most ENRICH_WORKER__THREADS for each worker.",
                [Query(f"sum by (lane) (enrich_jobs_in_progress{{{LANE}}})", "{{lane}}")],
            ),
            Panel(
                "Stages, mean",
                "Where the time goes, from fetching to writing the answer. A stage that grows alone is the one to look "
                "at: fetch = the shops' servers, model = the GPU or CPU, finish = Postgres.",
                [Query(mean("enrich_stage_seconds", by="stage"), "{{stage}}")],
                unit="s",
                is_stacked=True,
            ),
            Panel(
                "Stages, p95",
                "The same, of the slowest twentieth.",
                [Query(quantile(0.95, "enrich_stage_seconds", by="stage"), "{{stage}}")],
                unit="s",
            ),
            Panel(
                "Pictures per model call",
                "Mean and p95. Near ENRICH_WORKER__MAX_BATCH_SIZE under load, 1 when it is quiet.",
                [
                    Query(mean("enrich_batch_size"), "mean"),
                    Query(quantile(0.95, "enrich_batch_size"), "p95"),
                ],
            ),
            Panel(
                "One model call",
                "Seconds of one call of the model for a whole batch.",
                quantiles("enrich_batch_seconds"),
                unit="s",
            ),
            Panel(
                "Model busy",
                "Share of the time in which the model computes, mean of the workers. Near 1 the workers are full: more "
                "of them help. Far from 1 with a queue, something before the model is slow.",
                [Query(f"avg(rate(enrich_batch_seconds_sum[{RATE}]))", "busy")],
                unit="percentunit",
                top=1,
            ),
            Panel(
                "Cold start",
                "From a worker's start to its being ready: KEDA's cooldown has to be longer.",
                [Query("max by (instance) (enrich_worker_ready_seconds)", "{{instance}}")],
                unit="s",
            ),
        ],
    )
