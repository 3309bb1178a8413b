"""The queue: names, the Celery configuration both sides share, and publishing.

A message is a list of job ids, sent by name (`enrich`), so that the API never imports the worker. The record in
Postgres is the truth: a message may be lost or doubled at any moment without harm, since a job is claimed there.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any, cast

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from core.circuit_breaker import Breaker
from core.settings import Settings
from core.states import Lane

TASK_NAME = "enrich"
MESSAGE_VERSION = 1
PUBLISH_REST_S = 1.0
"""After a failure nobody publishes for this long: callers must not wait, one by one, for a Redis that is gone."""
PUBLISHED_AT_HEADER = "published_at"

PUBLISH_WITHIN_S = 1.0
"""How long a Redis that hangs is waited for at each wait on the socket; kombu's own limit is none at all.

A request may wait four times: kombu connects anew and tries again, and more threads than it has connections queue.
"""
CONSUME_WITHIN_S = 5.0
"""The same in a worker, where nobody waits for the answer.

The wait for a message is not meant: Celery's loop reads only when there is something to read. A worker whose Redis
hangs while it waits finds out by kombu's own check of an overdue BRPOP.
"""


class QueueUnavailable(Exception):
    """Redis did not take or give what was asked. The record is not touched by this; the sweeper makes up for it."""


def queue_name(lane: Lane) -> str:
    """The Redis list of a lane; KEDA scales on its length."""
    return "enrich" if lane is Lane.INTERACTIVE else "enrich.bulk"


def unacked_key(lane: Lane) -> str:
    """The Redis hash of messages a lane's workers hold; KEDA adds its length."""
    return f"{queue_name(lane)}.unacked"


def make_celery(settings: Settings, lane: Lane) -> Celery:
    """The Celery application of one lane. Connects to nothing yet.

    The lane decides the `unacked` keys: queues that share them would share the shortest visibility timeout, and
    could not be counted apart.
    """
    app = Celery("asset-enrichment", set_as_current=False)
    app.conf.update(
        broker_url=settings.queue.url.get_secret_value(),
        broker_connection_retry_on_startup=True,
        # For ever: a worker that gave up on Redis would have to be started by hand.
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": settings.queue.visibility_timeout_s,
            "unacked_key": unacked_key(lane),
            "unacked_index_key": f"{queue_name(lane)}.unacked_index",
            "unacked_mutex_key": f"{queue_name(lane)}.unacked_mutex",
            "socket_connect_timeout": 2,
            "socket_timeout": CONSUME_WITHIN_S,
            "socket_keepalive": True,
        },
        task_queues=[_queue(each) for each in Lane],
        task_default_queue=queue_name(lane),
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_ignore_result=True,
        result_backend=None,
        worker_prefetch_multiplier=1,
        # Reply keys of remote control pile up in Redis; probes look at a heartbeat file instead.
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    return app


def _queue(lane: Lane) -> Queue:
    # The anonymous exchange routes by name alone: a named one keeps its bindings in Redis, where a wipe loses them.
    return Queue(queue_name(lane), Exchange("", type="direct"), routing_key=queue_name(lane))


@dataclasses.dataclass(frozen=True)
class QueueState:
    """What one look at a lane's list saw: its length, and when its oldest message was published (None = empty)."""

    length: int
    oldest_published_at: dt.datetime | None


class Publisher:
    """Sends job ids to the lanes, and looks at their lists. Thread-safe.

    on_failure: called for each message that the queue did not take.
    """

    def __init__(self, settings: Settings, on_failure: Callable[[], None] = lambda: None) -> None:
        self._on_failure = on_failure
        self._celery = make_celery(settings, Lane.INTERACTIVE)
        # kombu would try to connect for six seconds, and a caller's request with it; the sweeper makes up for it.
        self._celery.conf.broker_transport_options |= {
            "max_retries": 1,
            "interval_start": 0,
            "socket_connect_timeout": PUBLISH_WITHIN_S,
            "socket_timeout": PUBLISH_WITHIN_S,
        }
        self._redis: Redis = Redis.from_url(
            settings.queue.url.get_secret_value(),
            socket_connect_timeout=PUBLISH_WITHIN_S,
            socket_timeout=PUBLISH_WITHIN_S,
            # redis-py would ask a server that hangs ten times more.
            retry=Retry(NoBackoff(), 0),
        )
        self._chunk_size = settings.queue.chunk_size
        self._breaker = Breaker(PUBLISH_REST_S)

    def publish(self, job_ids: Sequence[uuid.UUID], lane: Lane, published_at: dt.datetime) -> None:
        """Sends the ids, as many to a message as the lane allows. Raises QueueUnavailable; some may have been sent."""
        size = self._chunk_size if lane is Lane.BULK else 1
        try:
            for start in range(0, len(job_ids), size):
                self._send([str(job_id) for job_id in job_ids[start : start + size]], lane, published_at)
        except QueueUnavailable:
            self._on_failure()
            raise

    def _send(self, job_ids: list[str], lane: Lane, published_at: dt.datetime) -> None:
        if not self._breaker.may_try():
            raise QueueUnavailable("the queue did not answer a moment ago")
        try:
            self._celery.send_task(
                TASK_NAME,
                args=[job_ids],
                kwargs={"v": MESSAGE_VERSION, "published_at": published_at.isoformat()},
                queue=queue_name(lane),
                headers={PUBLISHED_AT_HEADER: published_at.isoformat()},
                ignore_result=True,
                retry=False,
            )
        except (OperationalError, RedisError, OSError) as error:
            self._breaker.failed()
            raise QueueUnavailable("the queue did not take the message") from error
        self._breaker.worked()

    def look(self, lane: Lane) -> QueueState:
        """Length and oldest message of the lane's list. Raises QueueUnavailable."""
        name = queue_name(lane)
        try:
            length = self._redis.llen(name)
            # First in, first out: kombu pushes at the head and pops at the tail.
            oldest = cast("bytes | None", self._redis.lindex(name, -1))
        except (RedisError, OSError) as error:
            raise QueueUnavailable("the queue cannot be read") from error
        return QueueState(length, _published_at(oldest) if oldest else None)

    def count_in_flight(self, lane: Lane) -> int:
        """Messages that the lane's workers hold. Raises QueueUnavailable."""
        try:
            return int(self._redis.hlen(unacked_key(lane)))
        except (RedisError, OSError) as error:
            raise QueueUnavailable("the queue cannot be read") from error

    def is_reachable(self) -> bool:
        """Whether Redis answers."""
        try:
            return bool(self._redis.ping())
        except (RedisError, OSError):
            return False

    def close(self) -> None:
        """Gives the connections back."""
        self._celery.close()
        self._redis.close()


def _published_at(message: bytes) -> dt.datetime:
    headers: dict[str, Any] = json.loads(message)["headers"]
    return dt.datetime.fromisoformat(headers[PUBLISHED_AT_HEADER])
