"""One run: jobs flow, a seeded schedule kills, and each kill's recovery is timed."""

from __future__ import annotations

import random
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from core.db.engine import make_engine, make_sessions
from core.db.models import Job
from core.settings import JobSettings
from tests.chaos.fleet import KINDS, Fleet
from tests.chaos.load import Load, orders
from tests.chaos.verdict import Verdict, judge
from tests.image_server import ImageServer

AHEAD = 300
STUCK_AFTER_S = 120.0
OUTAGE_S = (0.0, 4.0)


def run(folder: Path, *, seed: int, jobs: int, kills: int, settings: JobSettings) -> Verdict:
    """`jobs` jobs and `kills` kills; the figures and every broken promise."""
    with ImageServer() as images, Fleet(folder, settings) as fleet:
        load = Load(fleet.base, images, seed, AHEAD)
        sending = threading.Thread(target=load.send_all, args=(orders(seed, jobs),))
        sending.start()
        recoveries = []
        with closing(_Watch(fleet, load)) as watch:
            for number, kind in enumerate(schedule(seed, kills)):
                watch.until(int(jobs * (number + 0.5) / kills))
                recoveries.append(_strike(fleet, watch, kind, random.Random(f"{seed}/{number}")))
            watch.until(jobs)
            load.stop()
            sending.join()
            verdict = judge(watch.sessions, load.accepted)
    verdict.kills, verdict.recovery_max_s = kills, round(max(recoveries, default=0.0), 1)
    verdict.notes += load.wrong
    return verdict


def schedule(seed: int, kills: int) -> list[str]:
    """Each kind in turn, shuffled round by round."""
    dice, planned = random.Random(seed), []
    while len(planned) < kills:
        planned += dice.sample(KINDS, len(KINDS))
    return planned[:kills]


def _strike(fleet: Fleet, watch: _Watch, kind: str, dice: random.Random) -> float:
    """Kill, leave it dead for a while, bring it back; seconds from the kill until jobs end again."""
    ended = watch.ended
    began = time.monotonic()
    name = fleet.kill(kind, dice)
    time.sleep(dice.uniform(*OUTAGE_S))
    fleet.revive(name)
    watch.until(ended + 1 + watch.slack)
    took = time.monotonic() - began
    print(f"{kind} ({name}) killed after {ended} jobs, back after {took:.1f} s", file=sys.stderr, flush=True)
    return took


class _Watch:
    """Counts ended jobs in the record, over all outages, and lets the load go on as they end."""

    slack = 32
    """Answers in flight at a kill may still end; recovery is more than those."""

    def __init__(self, fleet: Fleet, load: Load) -> None:
        self.ended = 0
        self._fleet, self._load = fleet, load
        self._engine = make_engine(fleet.settings)
        self.sessions = make_sessions(self._engine)

    def until(self, count: int) -> None:
        """Wait for so many ended jobs; gives up (and the verdict tells) when none ends for two minutes."""
        last, now = self.ended, time.monotonic()
        while self.ended < count and time.monotonic() - now < STUCK_AFTER_S:
            time.sleep(0.1)
            self._count()
            if self.ended > last:
                last, now = self.ended, time.monotonic()
            elif self.ended >= len(self._load.accepted) and self._load.is_done:
                return

    def _count(self) -> None:
        try:
            with self.sessions() as session:
                found = session.scalar(select(func.count()).where(Job.finished_at.is_not(None))) or 0
        except (DBAPIError, TimeoutError):
            return  # Postgres is what was killed
        self._load.ended(found - self.ended)
        self.ended = found

    def close(self) -> None:
        self._engine.dispose()
