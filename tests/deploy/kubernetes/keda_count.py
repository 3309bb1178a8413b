"""KEDA's count, taken as KEDA takes it, beside what the record says is unfinished at that moment.

KEDA's redis scaler asks by one EVAL that looks at the key's type: LLEN for a list or for nothing, HLEN for a hash
(pkg/scalers/redis_scaler.go of KEDA). List names and formula are those of the shipped ScaledObjects, and the user is
the one that may do no more than count.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import yaml
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select

from core.db.engine import Sessions
from core.db.models import Job
from core.states import Lane
from tests.deploy.kubernetes.manifests import K8S

BY_TYPE = """
local kind = redis.call('type', KEYS[1]).ok
if kind == 'hash' then return redis.call('hlen', KEYS[1]) end
return redis.call('llen', KEYS[1])
"""
POLL_S = 0.05


def counted_keys(lane: Lane) -> tuple[dict[str, str], str]:
    """The Redis key behind each name of the lane's formula, and the formula."""
    spec = yaml.safe_load((K8S / "components" / "keda" / f"{lane}.yaml").read_text())["spec"]
    keys = {each["name"]: each["metadata"]["listName"] for each in spec["triggers"]}
    return keys, spec["advanced"]["scalingModifiers"]["formula"]


def evaluate(formula: str, **values: int) -> int:
    """The formula's value. It has the arithmetic that expr and Python share."""
    assert re.fullmatch(r"[a-z_+*() \d]+", formula)
    result: int = eval(formula, {"__builtins__": {}}, dict(values))
    return result


def counting_user(url: str) -> str:
    """Makes the manifests' Redis user on the server; answers the address as that user."""
    (line,) = re.findall(r"^user keda (.*)$", (K8S / "components/stores/valkey.conf").read_text(), re.MULTILINE)
    rules = line.split()
    with Redis.from_url(url) as redis:
        redis.execute_command("ACL", "SETUSER", "keda", "reset", *rules)
    (password,) = (rule[1:] for rule in rules if rule.startswith(">"))
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"keda:{password}@{parts.hostname}:{parts.port}"))


@dataclasses.dataclass(frozen=True)
class Poll:
    """One look at one lane. `count` is None when Redis did not answer, which KEDA takes for an error and not for 0."""

    at: float
    lane: Lane
    count: int | None
    unfinished: int

    @property
    def is_blind(self) -> bool:
        """Whether KEDA would see no work although there is some."""
        return self.count == 0 and self.unfinished > 0


class KedaCount:
    """Polls both lanes in a thread while the `with` block runs."""

    def __init__(self, url: str, sessions: Sessions) -> None:
        self.polls: list[Poll] = []
        self._sessions = sessions
        self._counted = {lane: counted_keys(lane) for lane in Lane}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keda")
        self._redis: Redis = Redis.from_url(counting_user(url), socket_timeout=2)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._redis.close()

    def gaps_s(self) -> list[float]:
        """The times between two looks, shortest first."""
        times = [each.at for each in self.polls if each.lane is Lane.BULK]
        return sorted(after - before for before, after in itertools.pairwise(times))

    def longest_blind_s(self, since: float) -> float:
        """The longest time without a look that saw work, while there was some; without an answer is without a look."""
        return max(self._longest_blind_s([each for each in self.polls if each.lane is lane], since) for lane in Lane)

    def _longest_blind_s(self, polls: list[Poll], since: float) -> float:
        longest, began = 0.0, since
        for each in polls:
            if each.at < since or each.count or not each.unfinished:
                began = max(since, each.at)
            longest = max(longest, each.at - began)
        return longest

    def blind_pairs(self) -> list[tuple[Poll, Poll]]:
        """Every two looks a second apart that both saw no work although there was some."""
        blind = [each for each in self.polls if each.is_blind]
        return [(a, b) for a in blind for b in blind if a.lane is b.lane and 0.95 <= b.at - a.at <= 1.15]

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + POLL_S
            before = self._unfinished()
            counts = {lane: self._count(lane) for lane in Lane}
            after = self._unfinished()
            now = time.monotonic()
            # The smaller of the two: what ended, or began, in between is nobody's mistake.
            self.polls += [Poll(now, lane, counts[lane], min(before[lane], after[lane])) for lane in Lane]

    def _unfinished(self) -> dict[Lane, int]:
        """Per lane, how many jobs were published and have not ended."""
        published = (Job.finished_at.is_(None), Job.published_at.is_not(None))
        with self._sessions() as session:
            rows = session.execute(select(Job.lane, func.count()).where(*published).group_by(Job.lane))
            found = {Lane(lane): number for lane, number in rows}
        return {lane: found.get(lane, 0) for lane in Lane}

    def _count(self, lane: Lane) -> int | None:
        keys, formula = self._counted[lane]
        with contextlib.suppress(RedisError, OSError):
            return evaluate(formula, **{name: int(self._redis.eval(BY_TYPE, 1, key)) for name, key in keys.items()})
        return None
