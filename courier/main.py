"""The courier's process: one loop, ended by SIGTERM or SIGINT, that outlives Redis's and Postgres's absences."""

from __future__ import annotations

import signal
import threading

from sqlalchemy.exc import DBAPIError

from courier.sweeper import Sweeper
from jobs.database import make_engine, make_sessions
from jobs.logs import configure_logs, get_logger
from jobs.queue import Publisher, QueueUnavailable
from jobs.settings import Settings

log = get_logger(__name__)


def run(settings: Settings) -> int:
    """Runs until told to stop; answers the exit status."""
    configure_logs(settings, "courier")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    engine = make_engine(settings)
    publisher = Publisher(settings)
    log.info("courier_started", sweep_every_s=settings.courier.sweep_every_s)
    try:
        loop(Sweeper(settings, make_sessions(engine), publisher), stopping, settings.courier.sweep_every_s)
    finally:
        publisher.close()
        engine.dispose()
    log.info("courier_stopped")
    return 0


def loop(sweeper: Sweeper, stopping: threading.Event, every_s: float) -> None:
    """Sweeps until `stopping` is set. A server that is away is told once, and tried again at the next round."""
    was_well = True
    while not stopping.is_set():
        try:
            sweeper.sweep()
            is_well, why = True, ""
        except (DBAPIError, QueueUnavailable, TimeoutError) as error:
            is_well, why = False, str(error)
        if is_well != was_well:
            log.warning("sweep_recovered" if is_well else "sweep_failed", why=why)
        was_well = is_well
        stopping.wait(every_s)
