"""What fails, and what the model answers."""

from __future__ import annotations

from deploy.monitoring.panels import Panel, Query, Row
from deploy.monitoring.promql import LANE, RATE, per_second


def failures() -> Row:
    finished = "enrich_jobs_finished_total"
    return Row(
        "Failures",
        [
            Panel(
                "Failed for good, by code",
                "Causes by code: fetch_…, not_found, access_denied and image_… are the address or the "
                "picture; the others are a fault on our side. Jobs that the dispatcher failed as poison, after their "
                "worker had died, are of both lanes.",
                [
                    Query(per_second(finished, LANE, 'status="failed"', by="code"), "{{code}}"),
                    Query(f"sum(rate(enrich_jobs_poisoned_total[{RATE}]))", "poison, worker dead"),
                ],
                unit="ops",
                width=12,
                is_stacked=True,
            ),
            Panel(
                "Tried again and given back",
                "Attempts that failed and will be repeated, by code, and jobs that a stopping worker gave back.",
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
                "Not answered, per attribute",
                "Share of pictures for which the model was not sure enough. Steady in normal times: a jump means other "
                "pictures than before (a new shop, a broken camera) or another bundle.",
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
                "Share of each value, the twelve most frequent. Seasons move it over weeks; within an hour it should "
                "hold still.",
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
