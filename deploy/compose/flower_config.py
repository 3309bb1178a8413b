"""Celery configuration of Flower in docker-compose.yml: the queues of both lanes, for its broker page.

The other pages stay empty, because workers answer no remote control and send no events, which would pile up in Redis.
"""

from kombu import Queue

task_default_queue = "enrich"
task_queues = [Queue("enrich"), Queue("enrich.bulk")]
