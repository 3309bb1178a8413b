"""The record held against what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select

from core.db.engine import Sessions
from core.db.models import Job, Result
from core.states import Status
from tests.chaos.load import Order


@dataclass
class Verdict:
    """The promises as figures: all but the first three, `computed_twice` and the last two have to be 0."""

    accepted: int = 0
    succeeded: int = 0
    failed: int = 0
    unexpected_failed: int = 0
    lost: int = 0
    stuck: int = 0
    written_twice: int = 0
    computed_twice: int = 0
    kills: int = 0
    recovery_max_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def is_kept(self) -> bool:
        broken = (self.unexpected_failed, self.lost, self.stuck, self.written_twice, len(self.notes))
        return not any(broken)

    def line(self) -> str:
        shown = {name: value for name, value in vars(self).items() if name != "notes"}
        return " ".join(f"{name}={value}" for name, value in shown.items())


def judge(sessions: Sessions, accepted: Mapping[UUID, Order]) -> Verdict:
    """What became of every accepted job. A job that ended otherwise than ordered is an unexpected failure."""
    with sessions() as session:
        rows = {row.id: row for row in session.scalars(select(Job))}
        results = Counter(session.scalars(select(Result.job_id)))
    verdict = Verdict(accepted=len(accepted))
    for job_id, order in accepted.items():
        row = rows.get(job_id)
        if row is None:
            verdict.lost += 1
            continue
        ended = row.error["code"] if row.status == Status.FAILED and row.error else str(row.status)
        verdict.succeeded += row.status == Status.SUCCEEDED
        verdict.failed += row.status == Status.FAILED
        verdict.stuck += row.finished_at is None
        verdict.computed_twice += row.attempt > 1
        if row.finished_at is not None and ended != order.expected:
            verdict.unexpected_failed += 1
            verdict.notes.append(f"{order} ended as {ended}, crashes {row.crashes}")
        wanted = int(row.status == Status.SUCCEEDED)
        if results[job_id] != wanted or (wanted and row.current_result_id is None):
            verdict.written_twice += results[job_id] > 1
            verdict.notes.append(f"{order} has {results[job_id]} results")
    twins = len(rows) - len(accepted)
    if twins > 0:
        verdict.notes.append(f"{twins} jobs are in the record that nobody was told of")
    return verdict
