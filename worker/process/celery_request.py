"""An acknowledgement that fails ends the connection, so that it is made anew.

Celery 5.7 logs such a failure and goes on; the message then counts as unfinished for ever. Once as many are lost as the
worker may hold at a time (two in the bulk lane), it takes no further message and never learns that Redis was restarted:
it hangs, and looks well (measured with a kill of Redis under load).
"""

from __future__ import annotations

import logging

from celery.worker.request import Request

log = logging.getLogger(__name__)


class LoudRequest(Request):
    """A message in progress, whose failed ack goes up to Celery's loop, which reconnects on connection errors.

    What was not acked is delivered again one day, finds its jobs done, and is acked then.
    """

    def acknowledge(self) -> None:
        """Removes the message from the queue."""
        if not self.acknowledged:
            self.on_ack(log, ())  # no error is to be swallowed
            self.acknowledged = True
