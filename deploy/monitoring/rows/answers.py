"""Dashboard rows on failures and on the model's answers."""

from __future__ import annotations

from deploy.monitoring.panels import Panel, Query, Row
from deploy.monitoring.promql import LANE, RATE, per_second


def failures() -> Row:
    finished = "enrich_jobs_finished_total"
    return Row(
        "Failures",
        [
            Panel(
                "Failed jobs by code",
                "fetch_…, not_found, access_denied and image_… are caused by the address or the image; all others are "
                "faults of the service. Jobs that the dispatcher failed as poison are counted for both lanes together.",
                [
                    Query(per_second(finished, LANE, 'status="failed"', by="code"), "{{code}}"),
                    Query(f"sum(rate(enrich_jobs_poisoned_total[{RATE}]))", "poison, by the dispatcher"),
                ],
                unit="ops",
                width=12,
                is_stacked=True,
            ),
            Panel(
                "Retried and released jobs",
                "Failed attempts that are retried, by code, and jobs that a worker released at shutdown.",
                [
                    Query(
                        per_second(finished, LANE, 'status=~"retried|released"', by="status, code"),
                        "{{status}} {{code}}",
                    )
                ],
                unit="ops",
                width=12,
                is_stacked=True,
            ),
        ],
    )


def model() -> Row:
    answers = "enrich_answers_total"
    chosen = 'attribute="$attribute"'
    return Row(
        "Model",
        [
            Panel(
                "Unanswered share by attribute",
                "Share of images for which the model was not confident enough. Normally steady; a jump means different "
                "images (a new shop, a broken camera) or another bundle.",
                [
                    Query(
                        f'sum by (attribute) (increase({answers}{{answer="null"}}[30m])) '
                        f"/ sum by (attribute) (increase({answers}[30m]))",
                        "{{attribute}}",
                    )
                ],
                unit="percentunit",
                width=12,
                top=1,
            ),
            Panel(
                "Answers of $attribute",
                "Shares of the twelve most frequent values. They change with the season over weeks, but not within "
                "hours.",
                [
                    Query(
                        f"topk(12, sum by (answer) (increase({answers}{{{chosen}}}[30m])) "
                        f"/ on () group_left () sum(increase({answers}{{{chosen}}}[30m])))",
                        "{{answer}}",
                    )
                ],
                unit="percentunit",
                width=12,
                top=1,
                is_stacked=True,
            ),
        ],
    )
