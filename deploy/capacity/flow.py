"""The images of one lane: queued, held by workers, lost with a killed pod and recovered, or finished.

Images of the same second form a cohort and are counted in whole numbers, so that rounding neither adds nor loses any.
The resolution is one second; processing within a second is added as the time for which a message is held.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter, deque

import numpy as np

from core.states import Lane
from deploy.capacity.assumptions import Assumptions
from deploy.capacity.scaled_object import Counts


@dataclasses.dataclass
class Cohort:
    """Images that arrived in the same second. `chunk` is the number of images per message."""

    arrived: int
    images: int
    chunk: int

    @property
    def messages(self) -> int:
        return -(-self.images // self.chunk)


class Flow:
    """A lane from publishing to the answer. KEDA counts messages; waits are measured per image."""

    def __init__(self, assumptions: Assumptions, lane: Lane, random: np.random.Generator) -> None:
        self._assumptions = assumptions
        self._worker = assumptions.of(lane)
        self._random = random
        self._queue: deque[Cohort] = deque()
        self._held: deque[Cohort] = deque()
        self._unpublished: deque[Cohort] = deque()
        self._lost: list[tuple[float, int, Cohort]] = []
        self._ghosts: list[tuple[float, int]] = []
        self._queued_messages = self._held_messages = self._messages_per_s = 0
        self._spare = 0.0
        self._serial = 0
        self._recent: list[Cohort] = []
        self._worked_at = 0
        self.arrived = self.finished = self.computed_twice = 0
        self.waits: Counter[int] = Counter()
        """The number of images by their time from arrival to finish, in whole seconds."""

    @property
    def waiting(self) -> int:
        """The number of images that have arrived and are not finished."""
        return self.arrived - self.finished

    def count(self) -> int:
        """Counts the waiting images in all queues. A test compares the result with `waiting`."""
        groups = (*self._queue, *self._held, *self._unpublished, *(cohort for _, _, cohort in self._lost))
        return sum(cohort.images for cohort in groups)

    def submit(self, now: int, images: int, *, is_published: bool) -> None:
        """Adds new jobs. While Redis is down they are not published, and the sweeper publishes them later."""
        self.arrived += images
        chunk = self._worker.chunk
        for part, size in ((images - images % chunk, chunk), (images % chunk, images % chunk)):
            if part and is_published:
                self._publish(Cohort(now, part, size))
            elif part:
                self._unpublished.append(Cohort(now, part, size))

    def _publish(self, cohort: Cohort) -> None:
        self._queue.append(cohort)
        self._queued_messages += cohort.messages

    def forget(self) -> None:
        """Empties the queue, as after a restart of Redis. The sweeper publishes the jobs again."""
        self._unpublished.extendleft(reversed(self._queue))
        self._queue.clear()
        self._queued_messages = 0
        self._ghosts.clear()

    def sweep(self, now: int) -> None:
        """Publishes lost jobs, and jobs of killed workers whose leases have expired."""
        while self._lost and self._lost[0][0] <= now:
            self._publish(heapq.heappop(self._lost)[2])
        room = self._assumptions.sweep_limit
        while self._unpublished and room > 0:
            cohort = self._unpublished[0]
            part = min(room, cohort.images)
            self._publish(Cohort(cohort.arrived, part, min(cohort.chunk, part)))
            room -= part
            cohort.images -= part
            if not cohort.images:
                self._unpublished.popleft()

    def work(self, now: int, ready: int, *, may_take: bool) -> None:
        """Simulates one second of work by the ready pods. Without Redis they only finish the images that they hold."""
        self._messages_per_s = 0
        self._recent.clear()
        self._worked_at = now
        if not ready or not (self._held or self._queue):
            self._spare = 0.0
            return
        self._spare += ready * self._worker.rate
        budget = int(self._spare)
        self._spare -= budget
        budget = self._finish_from(self._held, now, budget)
        if may_take:
            self._finish_from(self._queue, now, budget)
            self._take(ready * self._worker.slots - self._held_messages)

    def _finish_from(self, cohorts: deque[Cohort], now: int, budget: int) -> int:
        while cohorts and budget > 0:
            cohort = cohorts[0]
            before = cohort.messages
            part = min(budget, cohort.images)
            cohort.images -= part
            budget -= part
            done = before - cohort.messages
            self._messages_per_s += done
            if cohorts is self._held:
                self._held_messages -= done
            else:
                self._queued_messages -= done
            self._finish(now, cohort.arrived, part)
            self._recent.append(Cohort(cohort.arrived, part, cohort.chunk))
            if not cohort.images:
                cohorts.popleft()
        return budget

    def _finish(self, now: int, arrived: int, images: int) -> None:
        self.finished += images
        self.waits[now - arrived] += images

    def _take(self, room: int) -> None:
        while self._queue and room > 0:
            cohort = self._queue[0]
            messages = min(room, cohort.messages)
            images = min(cohort.images, messages * cohort.chunk)
            room -= messages
            self._queued_messages -= messages
            self._held_messages += messages
            self._held.append(Cohort(cohort.arrived, images, cohort.chunk))
            cohort.images -= images
            if not cohort.images:
                self._queue.popleft()

    def counted(self, now: int, ready: int) -> dict[Counts, int]:
        """Returns the counts in Redis. Messages of killed workers stay in `unacked` until the visibility timeout."""
        self._ghosts = [each for each in self._ghosts if each[0] > now]
        # Some of the messages processed within this second are in flight at the time of the count.
        share = min(1.0, self._worker.message_s)
        passing = int(self._random.binomial(self._messages_per_s, share)) if self._messages_per_s else 0
        room = max(0, ready * self._worker.slots - self._held_messages)
        ghosts = sum(messages for _, messages in self._ghosts)
        return {Counts.QUEUED: self._queued_messages, Counts.UNACKED: self._held_messages + min(passing, room) + ghosts}

    def kill(self, now: int, ready: int) -> None:
        """Kills one of the ready pods. Its images are recovered when its leases expire."""
        taken = [*self._take_share(ready), *self._take_recent(ready)]
        images = sum(cohort.images for cohort in taken)
        self.computed_twice += min(images, self._worker.max_batch)
        if taken:
            ghosts = sum(cohort.messages for cohort in taken)
            self._ghosts.append((now + self._assumptions.visibility_timeout_s, ghosts))
        for cohort in taken:
            lease = self._random.uniform(
                self._assumptions.lease_s - self._assumptions.renew_every_s, self._assumptions.lease_s
            )
            found = now + lease + self._random.uniform(0, self._assumptions.sweep_every_s)
            self._serial += 1
            heapq.heappush(self._lost, (found, self._serial, cohort))

    def _take_recent(self, ready: int) -> list[Cohort]:
        """Takes back some images that were counted as finished in the last second but were still held by the pod."""
        taken = []
        for cohort in self._recent:
            images = int(self._random.binomial(cohort.images, min(1.0, self._worker.image_s) / ready))
            if images:
                cohort.images -= images
                self.finished -= images
                self.waits[self._worked_at - cohort.arrived] -= images
                taken.append(Cohort(cohort.arrived, images, cohort.chunk))
        return taken

    def drain(self, now: int, ready: int) -> None:
        """Drains one of the ready pods: finishes one batch and publishes its other images again."""
        budget = self._worker.max_batch
        for cohort in self._take_share(ready):
            done = min(budget, cohort.images)
            budget -= done
            self._finish(now, cohort.arrived, done)
            cohort.images -= done
            if cohort.images:
                self._publish(cohort)

    def _take_share(self, ready: int) -> list[Cohort]:
        """Takes the images that one of the ready pods holds: a random number around its share."""
        taken, kept = [], deque[Cohort]()
        for cohort in self._held:
            mine = int(self._random.binomial(cohort.messages, 1 / ready))
            images = min(cohort.images, mine * cohort.chunk)
            if images:
                taken.append(Cohort(cohort.arrived, images, cohort.chunk))
                cohort.images -= images
            if cohort.images:
                kept.append(cohort)
        self._held = kept
        self._held_messages = sum(cohort.messages for cohort in kept)
        return taken
