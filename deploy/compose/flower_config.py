"""Celery's configuration for Flower in docker-compose.yml: the lanes' lists, so that its broker page counts them.

Our workers answer no remote control and send no events (they would pile up in Redis), so its other pages stay empty.
"""

from kombu import Queue

task_default_queue = "enrich"
task_queues = [Queue("enrich"), Queue("enrich.bulk")]
