"""A Celery request whose failed acknowledgement closes the connection, so that Celery reconnects.

Celery 5.7 logs a failed ack and continues, but keeps counting the message as unfinished. Once as many acks are lost as
the worker may hold messages (two in the bulk lane), it takes no further message and never notices that Redis has
restarted: it hangs while it appears healthy (measured with a kill of Redis under load).
"""

from __future__ import annotations

import logging

from celery.worker.request import Request

log = logging.getLogger(__name__)


class StrictAckRequest(Request):
    """Raises a failed ack to Celery's consumer loop, which reconnects on connection errors.

    An unacknowledged message is redelivered later, finds its jobs finished, and is acknowledged then.
    """

    def acknowledge(self) -> None:
        """Removes the message from the queue. Raises what the broker raised."""
        if not self.acknowledged:
            self.on_ack(log, ())  # an empty tuple of errors to swallow
            self.acknowledged = True
