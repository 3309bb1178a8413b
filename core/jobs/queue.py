"""The queue: its names, the Celery configuration that publishers and workers share, and publishing.

A message is a list of job ids for the task `enrich`. It is sent by name, so that the API does not import the worker.
Postgres is the source of truth, and workers claim jobs there. Messages may therefore be lost or duplicated.
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

from core.circuit_breaker import CircuitBreaker
from core.settings import Settings
from core.states import Lane

TASK_NAME = "enrich"
MESSAGE_VERSION = 1
PUBLISH_COOLDOWN_S = 1.0
"""How long publishing stops after a failure, so that callers do not each wait for a Redis that is down."""
PUBLISHED_AT_HEADER = "published_at"

PUBLISH_TIMEOUT_S = 1.0
"""Socket timeout for publishing. kombu has none by default.

A request may wait for it up to four times: kombu reconnects and retries, and threads queue for its connections.
"""
CONSUME_TIMEOUT_S = 5.0
"""Socket timeout of a worker, where no caller waits.

It does not limit the wait for a message: Celery's loop reads only when data has arrived. If Redis hangs during that
wait, kombu detects it by an overdue BRPOP.
"""


class QueueUnavailable(Exception):
    """Redis failed or timed out. Jobs are safe in Postgres, and the sweeper publishes them later."""


def queue_name(lane: Lane) -> str:
    """Returns the name of the lane's Redis list. KEDA scales by its length."""
    return "enrich" if lane is Lane.INTERACTIVE else "enrich.bulk"


def unacked_key(lane: Lane) -> str:
    """Returns the name of the Redis hash with the lane's unacknowledged messages. KEDA adds its length."""
    return f"{queue_name(lane)}.unacked"


def make_celery(settings: Settings, lane: Lane) -> Celery:
    """Returns the Celery application of one lane. Does not connect yet.

    Each lane has its own `unacked` keys. Queues that shared them would share the shortest visibility timeout and could
    not be counted separately.
    """
    app = Celery("asset-enrichment", set_as_current=False)
    app.conf.update(
        broker_url=settings.queue.url.get_secret_value(),
        broker_connection_retry_on_startup=True,
        # No limit: a worker that gave up on Redis would need a manual restart.
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": settings.queue.visibility_timeout_s,
            "unacked_key": unacked_key(lane),
            "unacked_index_key": f"{queue_name(lane)}.unacked_index",
            "unacked_mutex_key": f"{queue_name(lane)}.unacked_mutex",
            "socket_connect_timeout": 2,
            "socket_timeout": CONSUME_TIMEOUT_S,
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
        # Remote control leaves reply keys in Redis. Probes read a heartbeat file instead.
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    return app


def _queue(lane: Lane) -> Queue:
    # The default exchange routes by queue name. A named exchange would keep its bindings in Redis and lose them if
    # Redis is wiped.
    return Queue(queue_name(lane), Exchange("", type="direct"), routing_key=queue_name(lane))


@dataclasses.dataclass(frozen=True)
class QueueState:
    """The length of a lane's list, and when its oldest message was published (None if the list is empty)."""

    length: int
    oldest_published_at: dt.datetime | None


class Publisher:
    """Publishes job ids to the lanes and inspects their lists. Thread-safe.

    on_failure: called for each call of `publish` that fails.
    """

    def __init__(self, settings: Settings, on_failure: Callable[[], None] = lambda: None) -> None:
        self._on_failure = on_failure
        self._celery = make_celery(settings, Lane.INTERACTIVE)
        # By default kombu would try to connect for six seconds and delay the caller's request. The sweeper publishes
        # later what fails here.
        self._celery.conf.broker_transport_options |= {
            "max_retries": 1,
            "interval_start": 0,
            "socket_connect_timeout": PUBLISH_TIMEOUT_S,
            "socket_timeout": PUBLISH_TIMEOUT_S,
        }
        self._redis: Redis = Redis.from_url(
            settings.queue.url.get_secret_value(),
            socket_connect_timeout=PUBLISH_TIMEOUT_S,
            socket_timeout=PUBLISH_TIMEOUT_S,
            # By default redis-py would retry ten times if the server hangs.
            retry=Retry(NoBackoff(), 0),
        )
        self._chunk_size = settings.queue.chunk_size
        self._breaker = CircuitBreaker(PUBLISH_COOLDOWN_S)

    def publish(self, job_ids: Sequence[uuid.UUID], lane: Lane, published_at: dt.datetime) -> None:
        """Sends the ids in messages of the lane's chunk size. Raises QueueUnavailable, possibly after sending some."""
        size = self._chunk_size if lane is Lane.BULK else 1
        try:
            for start in range(0, len(job_ids), size):
                self._send([str(job_id) for job_id in job_ids[start : start + size]], lane, published_at)
        except QueueUnavailable:
            self._on_failure()
            raise

    def _send(self, job_ids: list[str], lane: Lane, published_at: dt.datetime) -> None:
        if not self._breaker.allows_call():
            raise QueueUnavailable("the queue has just failed; not tried again yet")
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
            self._breaker.record_failure()
            raise QueueUnavailable("the message could not be published") from error
        self._breaker.record_success()

    def inspect(self, lane: Lane) -> QueueState:
        """Returns the length and the oldest message of the lane's list. Raises QueueUnavailable."""
        name = queue_name(lane)
        try:
            length = self._redis.llen(name)
            # The oldest message is last: kombu pushes at the head and pops at the tail.
            oldest = cast("bytes | None", self._redis.lindex(name, -1))
        except (RedisError, OSError) as error:
            raise QueueUnavailable("the queue cannot be read") from error
        return QueueState(length, _published_at(oldest) if oldest else None)

    def count_in_flight(self, lane: Lane) -> int:
        """Returns the number of messages that the lane's workers hold. Raises QueueUnavailable."""
        try:
            return int(self._redis.hlen(unacked_key(lane)))
        except (RedisError, OSError) as error:
            raise QueueUnavailable("the queue cannot be read") from error

    def is_reachable(self) -> bool:
        """Whether Redis responds."""
        try:
            return bool(self._redis.ping())
        except (RedisError, OSError):
            return False

    def close(self) -> None:
        """Closes the connections."""
        self._celery.close()
        self._redis.close()


def _published_at(message: bytes) -> dt.datetime:
    headers: dict[str, Any] = json.loads(message)["headers"]
    return dt.datetime.fromisoformat(headers[PUBLISHED_AT_HEADER])
